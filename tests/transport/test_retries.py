"""When to try again: pure decisions."""

from __future__ import annotations

import random
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountfs.archive import Patience
from mountfs.transport.retries import LONGEST_PAUSE, GiveUp, Pause, decide, retry_after


@given(failures=st.integers(1, 30), retries=st.integers(0, 30), seed=st.integers(), left=st.floats(0.001, 1000))
def test_pauses_grow_are_jittered_and_never_reach_the_deadline(
    failures: int, retries: int, seed: int, left: float
) -> None:
    """Half to the whole of 0.5 · 2ⁿ, at most 8 s; none when the retries or the time are used up."""
    got = decide(
        failures=failures, retries=retries, retry_after=None, now=5.0, deadline=5.0 + left, rng=random.Random(seed)
    )
    whole = min(LONGEST_PAUSE, 0.5 * 2 ** (failures - 1))
    if isinstance(got, Pause):
        assert failures <= retries
        assert whole / 2 <= got.seconds <= whole
        assert got.seconds < left
    else:
        assert got == GiveUp()
        assert failures > retries or left <= whole


def test_no_two_pauses_are_alike() -> None:
    """Jitter spreads those whom a failure hit at once over the second half of a pause."""
    pauses = [decided(rng=random.Random(seed)) for seed in range(50)]
    seconds = sorted(pause.seconds for pause in pauses if isinstance(pause, Pause))
    assert len(set(seconds)) == 50
    assert seconds[0] < 0.3
    assert seconds[-1] > 0.45
    resumed = sorted(Patience(1, 1, 1, random.Random(seed)).pause(1) for seed in range(50))
    assert len(set(resumed)) == 50
    assert 0.05 <= resumed[0] < 0.06
    assert 0.09 < resumed[-1] <= 0.1
    assert all(1 <= Patience(1, 1, 1, random.Random(seed)).pause(30) <= 2 for seed in range(50))


def decided(**changes: object) -> Pause | GiveUp:
    facts: dict[str, object] = {
        "failures": 1,
        "retries": 4,
        "retry_after": None,
        "now": 0.0,
        "deadline": 100.0,
        "rng": random.Random(1),
    }
    return decide(**facts | changes)  # type: ignore[arg-type]


def test_what_the_service_asks_for_is_waited_for() -> None:
    """Retry-After counts instead of our own pause, and is never cut short."""
    got = decided(retry_after=30.0)
    assert isinstance(got, Pause)
    assert 30.0 <= got.seconds <= 30.1


def test_a_wait_beyond_the_deadline_ends_it_at_once_as_busy() -> None:
    """The caller hears "busy" now instead of the same after the deadline; even when no retry is left."""
    assert decided(retry_after=100.0) == GiveUp(busy=True)
    assert decided(retry_after=100.0, failures=9) == GiveUp(busy=True)


def test_a_stale_connection_is_replaced_without_a_pause_once() -> None:
    """The second time it is a failure like others."""
    assert decided(at_once=True) == Pause(0.0)
    again = decided(at_once=True, failures=2)
    assert isinstance(again, Pause)
    assert again.seconds > 0


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "-4"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e12"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Mon, 99 Foo 2026 00:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds or a date by the wall clock; what is none of these is not there."""
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=60))
def test_no_header_can_break_the_reading(text: str) -> None:
    """A number not below 0, or None."""
    got = retry_after({"retry-after": text, "retry-after-ms": text}, NOW)
    assert got is None or got >= 0
