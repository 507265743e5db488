"""The shared total and the bound."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from store.tools import Clock

from mountfs.errors import CacheFull
from mountfs.store.budget import Budget, Ledger


def test_every_opening_sees_the_same_total(tmp_path: Path) -> None:
    """Additions through any opening are everybody's, at once and over restarts."""
    one, two = Ledger(str(tmp_path / "used")), Ledger(str(tmp_path / "used"))
    assert not one.open(), "a new file cannot be believed"
    assert two.open()
    one.add(1000)
    two.add(234)
    two.add(-4)
    assert one.total() == two.total() == 1230
    one.close()
    two.close()
    assert one.open()
    assert one.total() == 1230
    one.close()


def test_a_busy_or_missing_file_delays_and_loses_nothing(tmp_path: Path) -> None:
    """While another process holds the lock, additions wait; they count here all the time."""
    ledger = Ledger(str(tmp_path / "used"))
    ledger.add(5)
    assert ledger.total() == 5
    ledger.open()
    fd = os.open(tmp_path / "used", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    ledger.add(10)
    assert ledger.total() == 15
    assert int.from_bytes((tmp_path / "used").read_bytes(), "little") == 0
    os.close(fd)
    ledger.add(1)
    assert int.from_bytes((tmp_path / "used").read_bytes(), "little") == 16
    ledger.close()


def test_a_total_never_goes_below_nothing(tmp_path: Path) -> None:
    """A crash may lose an addition whose removal is still subtracted."""
    ledger = Ledger(str(tmp_path / "used"))
    ledger.open()
    ledger.add(-100)
    assert ledger.total() == 0
    ledger.close()


def test_a_walk_corrects_the_total_and_errs_on_the_safe_side(tmp_path: Path) -> None:
    """What was added during the walk is counted on top; what was removed is not subtracted twice."""
    ledger = Ledger(str(tmp_path / "used"))
    ledger.open()
    ledger.add(10_000)
    before = ledger.total()
    ledger.add(500)
    ledger.correct(before, 700)
    assert ledger.total() == 1200
    before = ledger.total()
    ledger.add(-600)
    ledger.correct(before, 700)
    assert ledger.total() == 700
    ledger.close()


def test_a_deleted_file_is_noticed(tmp_path: Path) -> None:
    """lost says so, and opening again starts a new one."""
    ledger = Ledger(str(tmp_path / "used"))
    assert ledger.lost()
    ledger.open()
    assert not ledger.lost()
    os.unlink(tmp_path / "used")
    assert ledger.lost()
    assert not ledger.open()
    assert not ledger.lost()
    ledger.close()


def test_vain_searches_are_not_repeated_at_once(tmp_path: Path) -> None:
    """A cache full of what is in use looks for victims once a second, not once a write."""
    clock = Clock()
    searches: list[int] = []
    ledger = Ledger("")
    budget = Budget(
        ledger, str(tmp_path), max_size=100, min_free=0, evict=lambda size: searches.append(size) or 0, clock=clock
    )
    budget.reserve(100)
    budget.charge(100)
    for _ in range(5):
        with pytest.raises(CacheFull, match=r"cache\.max_size"):
            budget.reserve(1)
    assert len(searches) == 1
    clock.advance(1)
    with pytest.raises(CacheFull):
        budget.reserve(1)
    assert len(searches) == 2


def test_a_disk_without_room_is_tried_again_after_evicting(tmp_path: Path) -> None:
    """ENOSPC evicts as much and tries once more; other errors, and a vain eviction, pass on."""
    clock = Clock()
    room = [0]
    freeable = [50, 0]

    def evict(_size: int) -> int:
        freed = freeable.pop(0)
        room[0] += freed
        return freed

    def write() -> str:
        if not room[0]:
            raise OSError(28, "No space left on device")
        return "written"

    budget = Budget(Ledger(""), str(tmp_path), max_size=100, min_free=0, evict=evict, clock=clock)
    assert budget.attempt(10, write) == "written"
    room[0] = 0
    with pytest.raises(OSError, match="No space"):
        budget.attempt(10, write)
    assert freeable == []
    with pytest.raises(OSError, match="No space"):
        budget.attempt(10, write)

    def broken() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input"):
        budget.attempt(10, broken)
