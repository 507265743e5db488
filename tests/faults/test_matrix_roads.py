"""The matrix (``matrix.py``): the way to the service fails, or the service sends us astray."""

from __future__ import annotations

import pytest
from drives import World
from faults.cells import Form
from faults.matrix import run
from faults.roads import Road, Way
from faults.rows import ALL, OF_ROADS, Fault


@pytest.mark.parametrize(
    ("form", "fault"),
    [pytest.param(form, fault, id=f"{form.name}-{fault.name}") for fault in OF_ROADS for form in fault.forms],
)
def test_roads(world: World, caplog: pytest.LogCaptureFixture, road: Road, form: Form, fault: Fault) -> None:
    """At every question and transfer."""
    run(world, form, fault, ALL, caplog, place="both", road=None if fault.way is Way.PLAIN else road)
