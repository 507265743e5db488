"""What is believed after a power cut: only what was synced, or what was verified since."""

from __future__ import annotations

from pathlib import Path

import pytest
from store.tools import MIB, Clock, MakeStore, address

from mountfs.model import Span
from mountfs.store import BLOCK, Snapshot, Store


def _fill(snapshot: Snapshot) -> None:
    snapshot.write(0, b"d" * (2 * BLOCK))
    with snapshot.new_spool(7) as spool:
        spool.write(b"member")
        spool.finish().close()


def test_the_same_boot_believes_what_was_never_synced(make_store: MakeStore) -> None:
    """A killed process takes nothing out of the page cache."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        _fill(snapshot)
        assert snapshot.trusted
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.trusted
        assert snapshot.member(7) is not None


def test_another_boot_suspects_what_was_never_synced(make_store: MakeStore) -> None:
    """Its bytes are kept for verification, its inflated members are gone, and nothing is verified yet."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        _fill(snapshot)
        assert snapshot.is_verified(3)
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        assert not snapshot.trusted
        assert snapshot.has(Span(0, 2 * BLOCK))
        assert snapshot.member(7) is None
        assert not snapshot.is_verified(3)


def test_another_boot_believes_what_was_synced(make_store: MakeStore) -> None:
    """mark_synced says so on the disk; members are synced with the archive."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        _fill(snapshot)
        assert snapshot.mark_synced()
        assert snapshot.mark_synced()
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.trusted
        assert snapshot.member(7) is not None


@pytest.mark.parametrize("change", ["write", "member", "length", "forget"])
def test_a_change_after_syncing_is_unsynced_again(make_store: MakeStore, change: str) -> None:
    """Every way to change a synced snapshot takes the mark back, before the change is made."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, b"d" * BLOCK)
        assert snapshot.mark_synced()
        if change == "write":
            snapshot.write(BLOCK, b"d")
        elif change == "member":
            _fill(snapshot)
        elif change == "length":
            snapshot.set_length(5 * BLOCK)
        else:
            snapshot.forget(Span(0, 1))
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        assert not snapshot.trusted


def test_verified_marks_last_over_restarts_but_not_over_the_next_power_cut(make_store: MakeStore) -> None:
    """A mark is about bytes as this boot read them."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        _fill(snapshot)
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        snapshot.mark_verified(3)
        assert snapshot.is_verified(3)
        assert not snapshot.is_verified(2)
        assert not snapshot.is_verified(4)
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.is_verified(3)
    with make_store(boot="boot-3") as store, store.snapshot(address(), "v1") as snapshot:
        assert not snapshot.is_verified(3)


def test_syncing_what_is_suspect_does_not_make_it_believed(make_store: MakeStore) -> None:
    """Only trust does, once everything has been checked."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        _fill(snapshot)
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.mark_synced()
        assert not snapshot.trusted
    with make_store(boot="boot-3") as store, store.snapshot(address(), "v1") as snapshot:
        assert not snapshot.trusted
        snapshot.trust()
        assert snapshot.trusted
        assert snapshot.is_verified(0)
        assert snapshot.mark_synced()
    with make_store(boot="boot-4") as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.trusted


def test_members_inflated_since_the_power_cut_are_kept(make_store: MakeStore) -> None:
    """A suspect snapshot's new members come from checked bytes."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        _fill(snapshot)
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        _fill(snapshot)
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        member = snapshot.member(7)
        assert member is not None
        member.close()


def test_nobody_declares_synced_what_another_is_writing(make_store: MakeStore) -> None:
    """Two stores on one directory: one with unsynced bytes keeps the other from clearing the mark."""
    with make_store() as one, make_store() as two:
        with one.snapshot(address(), "v1") as mine, two.snapshot(address(), "v1") as yours:
            mine.write(0, b"d" * BLOCK)
            yours.write(BLOCK, b"d" * BLOCK)
            assert not yours.mark_synced()
            assert not mine.mark_synced()
        with two.snapshot(address(), "v1") as yours:
            assert yours.mark_synced()
            with one.snapshot(address(), "v1") as mine:
                mine.write(2 * BLOCK, b"d" * BLOCK)
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        assert not snapshot.trusted


def test_a_machine_that_cannot_name_its_boot_believes_only_what_was_synced(tmp_path: Path) -> None:
    """Without a boot id every opening of the store is a boot of its own."""
    directory = str(tmp_path / "cache")
    for synced in (False, True):
        first = Store(directory, max_size=MIB, min_free=0, boot_id=str)
        with first as store, store.snapshot(address(str(synced)), "v1") as snapshot:
            snapshot.write(0, b"d" * BLOCK)
            assert not synced or snapshot.mark_synced()
        second = Store(directory, max_size=MIB, min_free=0, boot_id=str)
        with second as store, store.snapshot(address(str(synced)), "v1") as snapshot:
            assert snapshot.trusted == synced


def test_maintenance_syncs_what_is_written_no_more(make_store: MakeStore, clock: Clock) -> None:
    """Ten quiet seconds after the last write an open snapshot is brought to the disk, and not before."""
    store = make_store()
    with store.snapshot(address(), "v1") as snapshot:
        _fill(snapshot)
        store.maintain()
        clock.advance(9)
        snapshot.write(5 * BLOCK, b"more")
        store.maintain()
        clock.advance(9)
        store.maintain()
        assert snapshot.changes
        clock.advance(1)
        store.maintain()
        assert not snapshot.changes
    store.close()
    with make_store(boot="boot-2") as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.trusted
