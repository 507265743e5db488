"""The small parts: names, expiry, tolerant reading, the door."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mountfs.providers
from mountfs.errors import ConfigError
from mountfs.model import Phase
from mountfs.providers import available, door, load, options_of
from mountfs.providers.browserbase import BrowserbaseOptions
from mountfs.providers.expiry import MARGIN, UNKNOWN_LIFE, expiry, moment
from mountfs.providers.names import PROBED_NAMES, is_probe
from mountfs.providers.reading import Fields, records, session_of, sessions_of

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("query", "end"),
    [
        ("X-Amz-Date=20270115T080000Z&X-Amz-Expires=300", 1_800_000_000 + 300),
        ("x-goog-date=20270115T080000Z&x-goog-expires=300", 1_800_000_000 + 300),
        ("Expires=1800000300&Signature=x", 1_800_000_300),
        ("sp=r&se=2027-01-15T08%3A05%3A00Z&sig=x", 1_800_000_300),
        ("se=2027-01-15", 1_799_971_200),
        ("X-Amz-Date=nonsense&X-Amz-Expires=300", None),
        ("X-Amz-Date=20270115T080000Z&X-Amz-Expires=soon", None),
        ("Expires=never", None),
        ("token=abc", None),
        ("", None),
    ],
)
def test_a_url_says_how_long_it_is_good(query: str, end: int | None) -> None:
    """A margin before its end; a minute where it says nothing."""
    assert expiry(f"https://h/k?{query}", NOW) == (NOW + UNKNOWN_LIFE if end is None else end - MARGIN)


@given(st.text())
def test_no_url_breaks_the_reading(text: str) -> None:
    """Whatever a service gives."""
    assert isinstance(expiry(text, NOW), float)
    assert isinstance(moment(text), float | None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15T08:00:00.500+00:00", NOW + 0.5),
        ("2027-01-15T09:00:00+01:00", NOW),
        ("2027-01-15 08:00:00", NOW),
        (1_800_000_000, NOW),
        (1_800_000_000_000, NOW),
        (True, None),
        (None, None),
        (-5, None),
        ("0001-01-01T00:00:00Z", None),  # what Go writes where there is no time
        (float("nan"), None),
        (1e300, None),
        ("soon", None),
        ({}, None),
    ],
)
def test_times_are_read_in_every_form(value: object, seconds: float | None) -> None:
    """ISO 8601, seconds, milliseconds; UTC where no zone is given."""
    assert moment(value) == seconds


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(st.sampled_from(["id", "status", "sessions", "t"]) | st.text(), inner)
)))  # fmt: skip
def test_no_json_breaks_the_reading_of_sessions(data: object) -> None:
    """What is not understood is left out or live."""
    fields = Fields(created=("t",), terminal=frozenset({"done"}))
    for info in sessions_of(records(data, "sessions") or [], fields):
        assert info.id
        assert info.phase is (Phase.TERMINAL if info.status.lower() == "done" else Phase.LIVE)


def test_envelopes_are_looked_through_in_order() -> None:
    """A bare array needs none; without an array there is no list."""
    assert records([{"id": "a"}, 7], "x") == [{"id": "a"}]
    assert records({"y": [], "x": [{"id": "a"}]}, "x", "y") == [{"id": "a"}]
    assert records({"x": None, "y": []}, "x", "y") == []
    assert records({"x": {}}, "x") is None
    assert records(None, "x") is None


def test_an_id_that_is_known_wins_over_the_record() -> None:
    """The question was about it."""
    info = session_of({"id": "other", "status": "X" * 100}, Fields(), "mine")
    assert info is not None
    assert (info.id, len(info.status)) == ("mine", 64)
    assert session_of({"id": "no/slash"}, Fields()) is None


def test_probed_names_are_told_without_regard_to_case() -> None:
    """And editors' leftovers by their ends."""
    assert all(is_probe(name) and is_probe(name.upper()) for name in PROBED_NAMES)
    assert all(is_probe(name) for name in ("a.swp", "x.tmp", "file~", "libfoo.so"))
    assert not any(is_probe(name) for name in ("sess_123", "0a1b2c3d-0000-4000-8000-000000000001", "run.2026"))


# -- the door ----------------------------------------------------------------------------------------------------


def test_the_built_ins_are_found_like_plug_ins() -> None:
    """Sorted, each a class with its options."""
    assert {"browserbase", "dari", "kaizen"} <= set(available())
    assert options_of("browserbase") is BrowserbaseOptions


def test_an_unknown_type_is_met_with_the_nearest_and_all() -> None:
    """A person mistyped."""
    with pytest.raises(ConfigError, match=r"did you mean 'browserbase'.*accepted: .*dari") as caught:
        load("browserbse")
    assert "'browserbse'" in caught.value.message
    with pytest.raises(ConfigError, match=r"^unknown provider type 'zzz'; accepted: "):
        load("zzz")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("mountfs.no_such_module:Provider", "cannot be loaded"),
        ("mountfs.providers:NoSuchClass", "cannot be loaded"),
        ("mountfs.providers:available", "is not a provider"),
        ("mountfs.providers:Options", "is not a provider"),
    ],
)
def test_a_broken_plug_in_is_named(value: str, says: str) -> None:
    """Not a traceback."""
    with pytest.raises(ConfigError, match=says):
        door.open_point(EntryPoint("odd", value, door.GROUP))


def test_the_map_of_the_package_is_right() -> None:
    """Every name it promises is there."""
    assert sorted(mountfs.providers.__all__) == sorted(set(mountfs.providers.__all__))
    assert all(hasattr(mountfs.providers, name) for name in mountfs.providers.__all__)
