"""The matrix (``matrix.py``): the place where the bytes lie fails in every way."""

from __future__ import annotations

import pytest
from drives import World
from faults.cells import FORMS, TRANSFERS, Form
from faults.matrix import run
from faults.rows import OF_TRANSFERS, Fault


@pytest.mark.parametrize("fault", OF_TRANSFERS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_transfers(world: World, caplog: pytest.LogCaptureFixture, form: Form, fault: Fault) -> None:
    """At readdir, open, and reads early and late."""
    run(world, form, fault, TRANSFERS, caplog, place="host")
