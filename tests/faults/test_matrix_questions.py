"""The matrix (``matrix.py``): the API fails in every way."""

from __future__ import annotations

import pytest
from drives import World
from faults.cells import FORMS, QUESTIONS, QUIET, TRANSFERS, Form
from faults.matrix import run
from faults.rows import OF_QUESTIONS, OF_TRANSFERS, Fault


@pytest.mark.parametrize("fault", OF_QUESTIONS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_questions(world: World, caplog: pytest.LogCaptureFixture, form: Form, fault: Fault) -> None:
    """At list, lookup and entering."""
    run(world, form, fault, QUESTIONS, caplog, place="api")


@pytest.mark.parametrize("name", ["500", "403", "404", "hangs up"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_refresh_does_not_wait(world: World, caplog: pytest.LogCaptureFixture, form: Form, name: str) -> None:
    """What is believed of a failure is forgotten by ``mountfs refresh``, at every question and transfer."""
    (asked,) = (fault for fault in OF_QUESTIONS if fault.name == name)
    run(world, form, asked, QUESTIONS, caplog, place="api", refresh=True)
    (moved,) = (fault for fault in OF_TRANSFERS if fault.name == name)
    run(world, form, moved, TRANSFERS, caplog, place="host", refresh=True)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_machine_without_time(world: World, caplog: pytest.LogCaptureFixture, form: Form) -> None:
    """A thread that does not get its turn is no service that is silent: the clock waits for it."""
    (slow,) = (fault for fault in OF_QUESTIONS if fault.name == "a byte a second")
    run(world, form, slow, QUESTIONS, caplog, place="api", delay=3 * QUIET)
