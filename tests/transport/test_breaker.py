"""The breaker's rule, step by step on a clock of numbers."""

from __future__ import annotations

from mountfs.errors import Unreachable
from mountfs.transport.breaker import PROBE_EVERY, Breaker

DOWN = Unreachable("svc: cannot connect")


def opened(at: float = 10.0) -> Breaker:
    breaker = Breaker()
    for request in (1.0, 2.0, 3.0):
        breaker.failed(request, DOWN, at)
    return breaker


def test_one_request_that_fails_often_does_not_open_it() -> None:
    """A request is known by its deadline: its retries are one failure."""
    breaker = Breaker()
    for _ in range(20):
        breaker.failed(1.0, DOWN, 10.0)
    assert not breaker.open
    assert breaker.admit(10.0) is None


def test_three_requests_in_a_row_open_it() -> None:
    """From then on the last cause is answered at once, as a copy of its own."""
    breaker = opened()
    assert breaker.open
    first, second = breaker.admit(10.1), breaker.admit(10.1)
    assert isinstance(first, Unreachable)
    assert first.message == DOWN.message
    assert first is not second


def test_any_answer_closes_it() -> None:
    """Also between the second and the third failure: "in a row"."""
    breaker = opened()
    breaker.answered()
    assert not breaker.open
    breaker.failed(4.0, DOWN, 11.0)
    breaker.failed(5.0, DOWN, 11.0)
    breaker.answered()
    breaker.failed(6.0, DOWN, 11.0)
    assert not breaker.open
    assert breaker.admit(11.0) is None


def test_a_probe_goes_out_every_five_seconds() -> None:
    """One at a time; the others are answered at once meanwhile."""
    breaker = opened(at=10.0)
    assert breaker.admit(10.0 + PROBE_EVERY - 0.1) is not None
    assert breaker.admit(10.0 + PROBE_EVERY) is None
    assert breaker.admit(10.0 + PROBE_EVERY) is not None
    breaker.failed(9.0, DOWN, 16.0)
    assert breaker.admit(16.0) is not None
    assert breaker.admit(10.0 + 2 * PROBE_EVERY) is None
