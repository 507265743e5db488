"""The pool of descriptors: bounded, never another file's bytes, and what is in use stays in use while it is closed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from store.tools import MIB, Clock, address, pattern

from mountfs.errors import CacheDamaged
from mountfs.model import Span
from mountfs.store import BLOCK, Store
from mountfs.store.descriptors import Descriptors, File, Gone

Open = Callable[[Path], File]


@pytest.fixture
def pool() -> Descriptors:
    """Two are kept open."""
    return Descriptors(lambda: 0, fewest=2)


@pytest.fixture
def opened(pool: Descriptors) -> Open:
    """Makes a file that says its name, and opens it."""

    def opened(path: Path) -> File:
        path.write_bytes(path.name.encode())
        return File(pool, os.open(path, os.O_RDWR), lambda: os.open(path, os.O_RDWR))

    return opened


@pytest.fixture
def few(tmp_path: Path, clock: Clock) -> Store:
    """A store that closes a file as soon as it opens another."""
    store = Store(
        str(tmp_path / "cache"),
        max_size=64 * MIB,
        min_free=0,
        wall=clock,
        clock=clock,
        boot_id=lambda: "boot-1",
        descriptors=Descriptors(lambda: 0, fewest=1),
    )
    return store.open()


def descriptors_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_more_are_open_than_there_may_be(pool: Descriptors, opened: Open, tmp_path: Path) -> None:
    """However many files there are, each of them is read when it is wanted."""
    before = descriptors_open()
    files = [opened(tmp_path / f"{number}") for number in range(50)]
    assert pool.open_count == 2
    for _round in range(2):
        for number, file in enumerate(files):
            with file.acquire() as fd:
                assert os.pread(fd, 10, 0) == str(number).encode()
            assert descriptors_open() <= before + 3
    for file in files:
        file.close()
    assert descriptors_open() == before


def test_what_is_used_stays_open(opened: Open, tmp_path: Path) -> None:
    """The one that is read all the time is not the one that is closed, though reading costs no look-up in the pool."""
    used = opened(tmp_path / "used")
    for number in range(20):
        opened(tmp_path / f"{number}").used = False
        assert used.handle is not None
        used.used = True


def test_a_handle_is_not_closed_under_its_holder(opened: Open, tmp_path: Path) -> None:
    """While somebody reads, the descriptor stays his, whatever the pool or the owner does."""
    file = opened(tmp_path / "held")
    held = file.acquire()
    others = [opened(tmp_path / f"{number}") for number in range(9)]
    assert file.handle is None
    assert file.acquire() is not held
    file.close()
    assert os.pread(held.fd, 10, 0) == b"held"
    number = held.fd
    del held
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    assert len(others) == 9


@pytest.mark.parametrize("replaced", [False, True])
def test_another_file_is_never_taken_for_it(opened: Open, tmp_path: Path, replaced: bool) -> None:
    """A file that was deleted while it was closed, or has another in its place, is gone for good."""
    file = opened(tmp_path / "file")
    others = [opened(tmp_path / f"{number}") for number in range(9)]
    (tmp_path / "other").write_bytes(b"other")
    if replaced:
        os.rename(tmp_path / "other", tmp_path / "file")
    else:
        os.unlink(tmp_path / "file")
    for _time in range(2):
        with pytest.raises(Gone):
            file.acquire()
    assert len(others) == 9


def test_a_pinned_file_stays_open(opened: Open, tmp_path: Path) -> None:
    """What has no name is not closed."""
    file = File.pinned(os.memfd_create("test"))
    others = [opened(tmp_path / f"{number}") for number in range(9)]
    assert file.handle is not None
    assert len(others) == 9


def test_a_process_without_descriptors_gets_some(tmp_path: Path) -> None:
    """When the kernel refuses one, half of the pool is closed and it is asked again."""
    pool = Descriptors(lambda: 1 << 20)
    for number in range(10):
        path = tmp_path / f"{number}"
        path.touch()
        File(pool, os.open(path, os.O_RDWR), lambda path=path: os.open(path, os.O_RDWR))  # type: ignore[misc]
    refusals = [OSError(errno.EMFILE, "too many"), None]

    def opener() -> str:
        if (refusal := refusals.pop(0)) is not None:
            raise refusal
        return "open"

    assert pool.attempt(opener) == "open"
    assert pool.open_count == 5


def test_many_threads_use_few_descriptors(opened: Open, tmp_path: Path) -> None:
    """Eight threads read 20 files through two descriptors, and each gets the bytes it asked for."""
    files = [opened(tmp_path / f"{number}") for number in range(20)]
    wrong: list[int] = []

    def read(seed: int) -> None:
        for step in range(500):
            number = (step * (seed + 3)) % 20
            with files[number].acquire() as fd:
                if os.pread(fd, 10, 0) != str(number).encode():
                    wrong.append(number)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_snapshots_and_members_keep_one_descriptor_each_session(few: Store) -> None:
    """40 sessions, four members open in each: their directories are open, and hardly anything else."""
    with few as store:
        before = descriptors_open()
        snapshots = [store.snapshot(address(f"s{number}"), "v1") for number in range(40)]
        members = []
        for number, snapshot in enumerate(snapshots):
            snapshot.write(0, pattern(number, 0, BLOCK))
            for index in range(4):
                with snapshot.new_spool(index) as spool:
                    spool.write(pattern(1000 + number * 4 + index, 0, BLOCK))
                    members.append(spool.finish())
        assert descriptors_open() <= before + 40 + 2
        for number, snapshot in enumerate(snapshots):
            assert snapshot.read(0, BLOCK) == pattern(number, 0, BLOCK)
            assert snapshot.try_read(0, BLOCK) == pattern(number, 0, BLOCK)
        for number, member in enumerate(members):
            assert member.read(0, BLOCK) == pattern(1000 + number, 0, BLOCK)
            assert member.try_read(0, BLOCK) == pattern(1000 + number, 0, BLOCK)
            member.close()
        assert descriptors_open() <= before + 40 + 2


def test_a_closed_file_is_not_opened_on_an_event_loop(few: Store) -> None:
    """``try_read`` must not wait for a disk: it says "not at once"."""
    with few as store, store.snapshot(address("a"), "v1") as first:
        first.write(0, b"a" * BLOCK)
        with store.snapshot(address("b"), "v1") as second:
            second.write(0, b"b" * BLOCK)
            assert second.read(0, 1) == b"b"
            assert first.try_read(0, 1) is None
            assert first.read(0, 1) == b"a"
            assert first.try_read(0, 1) == b"a"


@pytest.mark.parametrize("way", ["directory", "file", "replaced"])
def test_lost_bytes_are_missing_and_fetched_again(few: Store, tmp_path: Path, way: str) -> None:
    """The archive's file is deleted, or replaced, while it is closed: nothing is there any more, no zero is read for a
    byte, and what is written then is there as long as the snapshot is open."""
    with few as store, store.snapshot(address("a"), "v1") as first:
        first.set_length(4 * BLOCK)
        first.write(0, b"a" * 2 * BLOCK)
        with store.snapshot(address("b"), "v1") as second:
            second.write(0, b"b" * BLOCK)
        data = tmp_path / "cache/v1/snapshots" / first.key / "data"
        if way == "directory":
            shutil.rmtree(tmp_path / "cache")
        elif way == "file":
            data.unlink()
        else:
            (tmp_path / "other").write_bytes(b"z" * 4 * BLOCK)
            os.rename(tmp_path / "other", data)
        with pytest.raises(CacheDamaged):
            first.read(0, BLOCK)
        assert first.missing(Span(0, 4 * BLOCK)) == [Span(0, 4 * BLOCK)]
        first.write(BLOCK, b"c" * BLOCK)
        first.refresh()
        assert first.missing(Span(0, 4 * BLOCK)) == [Span(0, BLOCK), Span(2 * BLOCK, 4 * BLOCK)]
        assert first.read(BLOCK, BLOCK) == b"c" * BLOCK
        claim = first.claim(Span(0, BLOCK))
        assert claim is not None
        claim.release()


def test_a_member_in_use_is_not_evicted_while_it_is_closed(few: Store, make_store: Callable[..., Store]) -> None:
    """Neither by this process nor by another; once it is given up, it is."""
    with few as store, store.snapshot(address("a"), "v1") as snapshot:
        for index in range(2):
            with snapshot.new_spool(index) as spool:
                spool.write(pattern(index, 0, BLOCK))
                spool.finish().close()
        member, again = snapshot.member(0), snapshot.member(0)
        assert member is not None
        assert again is not None
        snapshot.write(0, b"a" * BLOCK)
        assert member.try_read(0, 1) is None
        for other in (store, make_store()):
            other.clear()
            other._budget.free(1 << 40)
        again.close()
        store._budget.free(1 << 40)
        assert member.read(0, BLOCK) == pattern(0, 0, BLOCK)
        assert snapshot.member(1) is None
        member.close()
        store._budget.free(1 << 40)
        assert snapshot.member(0) is None


def test_what_is_written_after_the_lock_was_given_up_is_unsynced(few: Store, make_store: Callable[..., Store]) -> None:
    """One process's map was closed as idle, and with it its lock; another declares all synced; the first writes on.
    After a power cut that is suspect."""
    with few as store, store.snapshot(address("a"), "v1") as mine:
        mine.write(0, b"a" * BLOCK)
        with store.snapshot(address("b"), "v1") as other:
            other.write(0, b"b" * BLOCK)
        with make_store() as elsewhere, elsewhere.snapshot(address("a"), "v1") as yours:
            assert yours.mark_synced()
        with make_store(boot="boot-2") as after, after.snapshot(address("a"), "v1") as believed:
            assert believed.trusted
        mine.write(BLOCK, b"a" * BLOCK)
    with make_store(boot="boot-3") as after, after.snapshot(address("a"), "v1") as suspect:
        assert not suspect.trusted


def test_a_spool_is_written_on_and_published_after_it_was_closed(few: Store) -> None:
    """An unfinished member whose descriptor went meanwhile grows on, and becomes the member's file."""
    with few as store, store.snapshot(address("a"), "v1") as snapshot, snapshot.new_spool(3) as spool:
        spool.write(pattern(3, 0, BLOCK))
        snapshot.write(0, b"a" * BLOCK)
        assert spool.try_read(0, 1) is None
        spool.write(pattern(3, BLOCK, 2 * BLOCK))
        snapshot.read(0, 1)
        with spool.finish() as member:
            snapshot.read(0, 1)
            assert member.read(0, 2 * BLOCK) == pattern(3, 0, 2 * BLOCK)
        with snapshot.member(3) or pytest.fail("it is not kept") as kept:
            assert kept.size == 2 * BLOCK


def test_locks_on_a_directory_are_known_here(tmp_path: Path) -> None:
    """What the store relies on: one opening's lock on a byte of a directory is seen through another."""
    from mountfs.store import disk

    mine, yours = (os.open(tmp_path, disk.DIRECTORY) for _ in range(2))
    try:
        assert disk.try_range_lock(mine, fcntl.F_RDLCK, 7, 1)
        assert disk.range_locked(yours, 7)
        assert not disk.range_locked(mine, 7)
        assert not disk.range_locked(yours, 8)
    finally:
        os.close(mine)
        os.close(yours)
