"""Spools and finished members."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from store.tools import MIB, MakeStore, address, disk_use, pattern

from mountfs.errors import CacheDamaged
from mountfs.store import Store


def test_a_reader_follows_the_spool_and_never_overtakes_it(store: Store) -> None:
    """What was written is readable at once; what was not is an error, not zeros."""
    with store.snapshot(address(), "v1") as snapshot, snapshot.new_spool(0) as spool:
        spool.write(b"abc")
        spool.write(b"def")
        assert spool.size == 6
        assert spool.read(1, 4) == b"bcde"
        assert spool.try_read(4, 4) is None
        with pytest.raises(CacheDamaged):
            spool.read(4, 4)


def test_a_finished_member_is_found_again_after_a_restart(make_store: MakeStore) -> None:
    """finish makes it the member's file, for this process and for later ones."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.member(7) is None
        with snapshot.new_spool(7) as spool:
            spool.write(pattern(1, 0, 100_000))
            with spool.finish() as member:
                assert (member.size, member.read(5, 10)) == (100_000, pattern(1, 5, 15))
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        found = snapshot.member(7)
        assert found is not None
        with found:
            assert found.read(0, 100_000) == pattern(1, 0, 100_000)
            assert found.try_read(0, 100) in (pattern(1, 0, 100), None)
            assert found.try_read(99_999, 100) is None
        assert snapshot.member(8) is None


def test_an_unfinished_spool_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """Leaving the block without finish, or discarding twice, frees the disk and forgets the member."""
    with store.snapshot(address(), "v1") as snapshot:
        before = store.info().used
        with snapshot.new_spool(7) as spool:
            spool.write(bytes(MIB))
            assert store.info().used >= before + MIB
            spool.discard()
        assert snapshot.member(7) is None
        assert store._budget.used == store.info().used == disk_use(tmp_path / "cache")


def test_finishing_twice_over_keeps_the_newer_and_both_readers(store: Store, tmp_path: Path) -> None:
    """Two spools of one member may finish; whoever has the older one open keeps reading it."""
    with store.snapshot(address(), "v1") as snapshot:
        with snapshot.new_spool(7) as first, snapshot.new_spool(7) as second:
            first.write(b"same")
            second.write(b"same")
            old, new = first.finish(), second.finish()
        assert old.read(0, 4) == new.read(0, 4) == b"same"
        old.close()
        new.close()
        new.close()
        assert store._budget.used == disk_use(tmp_path / "cache")


def test_a_dropped_member_is_gone_for_everyone_but_its_readers(store: Store) -> None:
    """A member found damaged is removed; an open one still answers."""
    with store.snapshot(address(), "v1") as snapshot, snapshot.new_spool(7) as spool:
        spool.write(b"bytes")
        with spool.finish() as member:
            snapshot.drop_member(7)
            assert snapshot.member(7) is None
            assert member.read(0, 5) == b"bytes"


def test_a_punched_spool_gives_its_past_back_to_the_disk(store: Store, tmp_path: Path) -> None:
    """A member read through a window takes only the window."""
    with store.snapshot(address(), "v1") as snapshot, snapshot.new_spool(7) as spool:
        for step in range(8):
            spool.write(pattern(1, step * MIB, (step + 1) * MIB))
            spool.punch(step * MIB)
            assert spool.read(step * MIB, 100) == pattern(1, step * MIB, step * MIB + 100)
            assert disk_use(tmp_path / "cache") < 3 * MIB
        assert store._budget.used < 3 * MIB


def test_a_member_that_cannot_be_kept_is_still_readable(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the rename fails, the reader has its bytes and the disk gets its room back."""

    def refuse(*_args: object, **_keywords: object) -> None:
        raise OSError(28, "No space left on device")

    with store.snapshot(address(), "v1") as snapshot, snapshot.new_spool(7) as spool:
        spool.write(bytes(MIB))
        monkeypatch.setattr(os, "rename", refuse)
        member = spool.finish()
        monkeypatch.undo()
        with member:
            assert member.read(0, MIB) == bytes(MIB)
            assert snapshot.member(7) is None
            assert disk_use(tmp_path / "cache") < MIB
