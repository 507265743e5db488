"""The bound, and what goes to hold it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from store.tools import MIB, Clock, MakeStore, address, disk_use, pattern

from mountfs.errors import CacheFull
from mountfs.model import Span
from mountfs.store import Store


def _keep(store: Store, session: str, size: int, *, name: str = "v1") -> None:
    """A session with a record and ``size`` bytes of archive."""
    with store.snapshot(address(session), name) as snapshot:
        for start in range(0, size, MIB // 4):
            snapshot.write(start, pattern(1, start, min(start + MIB // 4, size)))
    store.session(address(session)).save({"id": session}, snapshot=name)


def _cached(store: Store) -> set[str]:
    """The sessions that are listed, each of which must have its bytes."""
    listed = {session for session, _facts in store.sessions("https://api.example|zip", "a" * 64)}
    for session in listed:
        snapshot = store.find(address(session), "v1")
        assert snapshot is not None
        snapshot.close()
    return listed


def test_the_bound_holds_at_every_write(make_store: MakeStore, tmp_path: Path) -> None:
    """However much is written, du never exceeds max_size."""
    store = make_store(max_size=4 * MIB)
    for number in range(20):
        _keep(store, f"s{number}", MIB)
        assert disk_use(tmp_path / "cache") <= 4 * MIB
    assert "s19" in _cached(store)
    assert len(_cached(store)) >= 2


def test_evictions_are_counted(make_store: MakeStore) -> None:
    """What made room for others is counted, with its bytes."""
    with make_store(max_size=4 * MIB) as store:
        _keep(store, "s0", MIB)
        assert store.evictions == (0, 0)
        for number in range(1, 9):
            _keep(store, f"s{number}", MIB)
        gone = 9 - len(_cached(store))
        count, size = store.evictions
        assert count == gone > 0
        assert size >= gone * MIB


def test_least_recently_used_goes_first(make_store: MakeStore, clock: Clock) -> None:
    """Reading a session, in this run or an earlier one, saves it from eviction."""
    with make_store(max_size=5 * MIB) as store:
        for number in range(4):
            _keep(store, f"s{number}", MIB)
            clock.advance(10)
        with store.snapshot(address("s0"), "v1") as snapshot:
            clock.advance(10)
            snapshot.read(0, 10)
    clock.advance(10)
    with make_store(max_size=5 * MIB) as store:
        _keep(store, "new", MIB)
        assert _cached(store) == {"s0", "s2", "s3", "new"}


def test_use_is_recorded_while_a_snapshot_stays_open(make_store: MakeStore, clock: Clock, tmp_path: Path) -> None:
    """A crash forgets at most a minute of use."""
    store = make_store()
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, bytes(4096))
        store.maintain()
        clock.advance(61)
        snapshot.read(0, 1)
        store.maintain()
        meta = next((tmp_path / "cache/v1/snapshots").glob("*/meta"))
        assert meta.stat().st_mtime == clock.now


def test_what_is_in_use_never_goes(make_store: MakeStore, tmp_path: Path) -> None:
    """If everything is open, writing fails instead, and works again soon after something was closed."""
    clock_store = make_store(max_size=3 * MIB)
    with clock_store.snapshot(address("busy"), "v1") as busy:
        busy.write(0, pattern(1, 0, 2 * MIB))
        with pytest.raises(CacheFull, match="in use"):
            busy.write(2 * MIB, bytes(MIB))
        assert busy.read(0, 2 * MIB) == pattern(1, 0, 2 * MIB)
        assert disk_use(tmp_path / "cache") <= 3 * MIB


def test_a_full_cache_recovers_when_something_is_closed(make_store: MakeStore, clock: Clock) -> None:
    """The second after a vain search for room, there is another search."""
    store = make_store(max_size=3 * MIB)
    busy = store.snapshot(address("busy"), "v1")
    busy.write(0, bytes(2 * MIB))
    with store.snapshot(address("new"), "v1") as snapshot:
        with pytest.raises(CacheFull):
            snapshot.write(0, bytes(MIB))
        busy.close()
        clock.advance(1.1)
        snapshot.write(0, bytes(MIB))
    assert store.find(address("busy"), "v1") is None


def test_another_stores_open_snapshots_are_safe(make_store: MakeStore, clock: Clock) -> None:
    """In use is known across openings of the directory, not within one alone."""
    one, two = make_store(max_size=4 * MIB), make_store(max_size=4 * MIB)
    _keep(one, "theirs", MIB)
    with one.snapshot(address("theirs"), "v1") as theirs:
        clock.advance(10)
        for number in range(6):
            _keep(two, f"s{number}", MIB)
            clock.advance(1)
        assert theirs.attached()
        assert theirs.read(0, MIB) == pattern(1, 0, MIB)


def test_members_of_a_snapshot_in_use_go_unless_they_are_open(make_store: MakeStore, clock: Clock) -> None:
    """An inflated member can be had again from the archive's bytes; only its readers keep it."""
    store = make_store(max_size=8 * MIB)
    with store.snapshot(address(), "v1") as snapshot:
        for index in range(3):
            with snapshot.new_spool(index) as spool:
                spool.write(bytes(2 * MIB))
                spool.finish().close()
            clock.advance(10)
        kept = snapshot.member(0)
        assert kept is not None
        snapshot.write(0, bytes(4 * MIB))
        assert snapshot.member(1) is None
        assert kept.read(0, 2 * MIB) == bytes(2 * MIB)
        assert snapshot.has(Span(0, 4 * MIB))
        kept.close()


def test_a_cache_too_small_for_anything_says_so(make_store: MakeStore, tmp_path: Path) -> None:
    """Any bound above 0 is valid: nothing is kept, what is read lives in memory, and nothing breaks."""
    store = make_store(max_size=1)
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, pattern(1, 0, MIB))
        assert snapshot.read(0, MIB) == pattern(1, 0, MIB)
        with pytest.raises(CacheFull):
            snapshot.new_spool(1).write(b"x")
    assert not store.session(address()).save({})
    assert store.find(address(), "v1") is None
    store.maintain()
    assert disk_use(tmp_path / "cache") < MIB


def test_lowering_the_bound_is_obeyed_at_the_next_maintenance(make_store: MakeStore, tmp_path: Path) -> None:
    """A restart with a smaller max_size shrinks what is there."""
    with make_store() as store:
        for number in range(8):
            _keep(store, f"s{number}", MIB)
    with make_store(max_size=3 * MIB) as store:
        store.maintain()
        assert disk_use(tmp_path / "cache") <= 3 * MIB
        assert _cached(store)


def test_min_free_keeps_the_disk_from_filling(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """When others fill the disk, the cache gives way, and takes nothing more."""
    store = make_store(min_free=100 * MIB)
    _keep(store, "old", 2 * MIB)
    real = os.statvfs(".")

    def nearly_full(_path: str) -> object:
        class State:
            f_bavail = 99 * MIB // real.f_frsize
            f_frsize = real.f_frsize

        return State

    monkeypatch.setattr(os, "statvfs", nearly_full)
    clock.advance(10)
    store.maintain()
    assert store.find(address("old"), "v1") is None
    clock.advance(10)
    with store.snapshot(address("new"), "v1") as snapshot:
        assert not snapshot.attached()


def test_a_new_snapshot_does_not_take_the_record_of_the_current_one_along(make_store: MakeStore, clock: Clock) -> None:
    """Evicting an outdated snapshot leaves the session listed."""
    store = make_store(max_size=6 * MIB)
    _keep(store, "s", MIB, name="v0")
    clock.advance(10)
    _keep(store, "s", MIB, name="v1")
    clock.advance(10)
    _keep(store, "other", 4 * MIB)
    assert store.find(address("s"), "v0") is None
    assert _cached(store) == {"s", "other"}


def test_records_without_bytes_go_last(make_store: MakeStore, clock: Clock) -> None:
    """What is known of sessions that were never fetched is given up when nothing else is left."""
    store = make_store(max_size=MIB // 2)
    for number in range(400):
        store.session(address(f"absent-{number:03}")).save({"phase": "absent"})
        clock.advance(1)
    assert 0 < len(store.sessions("https://api.example|zip", "a" * 64)) < 400
    assert store.session(address("absent-399")).load() == {"phase": "absent"}


def test_the_total_stays_right(make_store: MakeStore, tmp_path: Path, clock: Clock) -> None:
    """What the ledger says after writing, evicting, dropping and forgetting is near what du says."""
    store = make_store(max_size=8 * MIB)
    for number in range(30):
        _keep(store, f"s{number}", MIB // 2)
    with store.snapshot(address("s29"), "v1") as snapshot:
        with snapshot.new_spool(1) as spool:
            spool.write(bytes(MIB))
            spool.finish().close()
        snapshot.drop_member(1)
        store.drop(snapshot)
    assert abs(store._budget.used - disk_use(tmp_path / "cache")) <= 16384
    clock.advance(601)
    store.maintain()
    assert store._budget.used == disk_use(tmp_path / "cache")
