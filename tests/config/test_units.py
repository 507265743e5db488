"""Sizes and durations, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountfs.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (5, 5),
        ("5", 5),
        ("10GiB", 10 << 30),
        ("10 gib", 10 << 30),
        ("1.5 MB", 1_500_000),
        ("1K", 1024),
        ("64KB", 64_000),
        ("2t", 2 << 40),
        ("1_000", 1000),
        ("7B", 7),
        (" 1KiB ", 1024),
    ],
)
def test_size(text: object, size: int) -> None:
    """A size is a number of bytes, with or without a unit."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["10 apples", "", "GiB", "-1", -1, True, None, 1.5, "1e3", "1.2.3K", "0x10", "99999999TiB", "٣K"]
)
def test_not_a_size(text: object) -> None:
    """What is not a size is refused with the accepted forms, and the value."""
    with pytest.raises(ValueError, match=r'is not a size; write .*"10GiB"'):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0.0),
        (30, 30.0),
        (0.5, 0.5),
        ("30", 30.0),
        ("30s", 30.0),
        ("0.5s", 0.5),
        ("250ms", 0.25),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1d 2h", 93600.0),
        ("1 H", 3600.0),
    ],
)
def test_duration(text: object, seconds: float) -> None:
    """A duration is a number of seconds, with or without units."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["soon", "", "s", "-1s", -1, True, None, float("inf"), float("nan"), "1w", "5s x", "1h 30"]
)
def test_not_a_duration(text: object) -> None:
    """What is not a duration is refused with the accepted forms, and the value."""
    with pytest.raises(ValueError, match=r'is not a duration; write .*"1h30m"'):
        parse_duration(text)


def test_long_value_is_cut_in_the_message() -> None:
    """A message stays one line, whatever was written."""
    with pytest.raises(ValueError, match=r"^\"x{50,}\.\.\. is not") as caught:
        parse_size("x" * 10_000)
    assert len(str(caught.value)) < 250


@given(st.integers(0, (1 << 63) - 1))
def test_size_round_trip(size: int) -> None:
    """What is shown is read back as the same size."""
    assert parse_size(format_size(size)) == size


@given(st.one_of(st.integers(0, 10**9).map(float), st.integers(0, 10**9).map(lambda n: n / 1000)))
def test_duration_round_trip(seconds: float) -> None:
    """What is shown is read back as the same duration, to the millisecond."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=0.0005)
