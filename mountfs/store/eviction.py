"""What goes when there is no room: least recently used first, nothing that is in use.

Units, each with the time of its last use: a whole snapshot (the mtime of its ``meta``); in a snapshot that is in
use, each finished member (its own mtime) that nobody has open. When none are left, records of sessions that have
no snapshot. A snapshot takes the record that names it along: a session that is listed as cached is cached.

In use is what somebody holds a shared flock on, here or in any other process; a member also, whose byte of its
snapshot's directory somebody has locked (``members.InUse``). The evictor takes the exclusive flock without waiting,
and a snapshot leaves its place by one rename, so nobody ever opens half of one.

Concurrency: any number of evictors, in threads or processes, may run at once. Blocking.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
from collections.abc import Iterator
from typing import NamedTuple

from mountfs.errors import CacheDamaged
from mountfs.store import disk
from mountfs.store.about import About, record_name
from mountfs.store.place import Place
from mountfs.store.records import read_record, snapshot_of


class _Unit(NamedTuple):
    used: float
    key: str
    member: str
    """Empty: the whole snapshot."""


class Evictor:
    """Frees space under a ``Place``."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.evicted = 0
        """Snapshots and members that went, by this process."""
        self.evicted_bytes = 0

    def free(self, size: int) -> int:
        """Remove what was used longest ago until ``size`` bytes are free; answers how many really are."""
        freed = 0
        heap = list(self._snapshots())
        heapq.heapify(heap)
        while heap and freed < size:
            unit = heapq.heappop(heap)
            gone = self._remove_member(unit) if unit.member else self.remove_snapshot(unit.key)
            if gone is None:
                for member in self._members(unit.key):
                    heapq.heappush(heap, member)
            else:
                freed += gone
                self.evicted += gone > 0
        self.evicted_bytes += freed
        if freed < size:
            freed += self._remove_records(size - freed)
        return freed

    def remove_snapshot(self, key: str) -> int | None:
        """Remove one snapshot, and the record that names it; the bytes freed, or None if it is in use."""
        path = os.path.join(self._place.snapshots, key)
        try:
            fd = os.open(path, disk.DIRECTORY)
        except OSError:
            return 0
        try:
            if not disk.try_flock(fd, fcntl.LOCK_EX) or not disk.same_file(fd, path):
                return None
            freed = self._remove_record_of(fd, key)
            return freed + take_away(self._place, path)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _snapshots(self) -> Iterator[_Unit]:
        root = self._place.snapshots
        with contextlib.suppress(OSError), os.scandir(root) as items:
            for item in items:
                try:
                    used = os.stat(f"{root}/{item.name}/meta").st_mtime
                except OSError:
                    used = 0.0
                yield _Unit(used, item.name, "")

    def _members(self, key: str) -> Iterator[_Unit]:
        with contextlib.suppress(OSError), os.scandir(os.path.join(self._place.snapshots, key)) as items:
            for item in items:
                if item.name.startswith("m."):
                    with contextlib.suppress(OSError):
                        yield _Unit(item.stat().st_mtime, key, item.name)

    def _remove_member(self, unit: _Unit) -> int:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            directory = os.open(os.path.join(self._place.snapshots, unit.key), disk.DIRECTORY)
            stack.callback(os.close, directory)
            fd = os.open(unit.member, disk.READ, dir_fd=directory)
            stack.callback(os.close, fd)
            # In this order: who opens it locks the directory first and the file afterwards.
            if disk.try_flock(fd, fcntl.LOCK_EX) and not _in_use(directory, unit.member):
                return disk.remove_file(unit.member, dir_fd=directory)
        return 0

    def _remove_record_of(self, dir_fd: int, key: str) -> int:
        with contextlib.suppress(OSError, CacheDamaged):
            fd = os.open("meta", disk.READ, dir_fd=dir_fd)
            try:
                about = About.load(disk.read_all(fd))
            finally:
                os.close(fd)
            path = os.path.join(self._place.records, about.shelf, record_name(about.session_id))
            if snapshot_of(about.shelf, read_record(path)) == key:
                return disk.remove_file(path)
        return 0

    def _remove_records(self, size: int) -> int:
        """Records, oldest first, of sessions none of whose bytes are here."""
        found: list[tuple[float, str, str]] = []
        with contextlib.suppress(OSError), os.scandir(self._place.records) as shelves:
            for shelf in shelves:
                with contextlib.suppress(OSError), os.scandir(shelf.path) as items:
                    found.extend((item.stat().st_mtime, shelf.name, item.path) for item in items)
        freed = 0
        for _used, shelf_name, path in sorted(found):
            if freed >= size:
                break
            key = snapshot_of(shelf_name, read_record(path))
            if key is None or not os.path.exists(os.path.join(self._place.snapshots, key)):
                freed += disk.remove_file(path)
        return freed


def _in_use(directory: int, member: str) -> bool:
    index = member.removeprefix("m.")
    return index.isdecimal() and disk.range_locked(directory, int(index))


def take_away(place: Place, path: str) -> int:
    """Make ``path`` vanish in one step, then remove it piece by piece; answers the bytes freed.

    A disk so full that not even a rename works loses ``meta`` first: what has none is never believed.
    """
    try:
        fresh = place.fresh()
        os.rename(path, fresh)
    except FileNotFoundError:
        return 0
    except OSError:
        return disk.remove_file(os.path.join(path, "meta")) + disk.remove_tree(path)
    return disk.remove_tree(fresh)
