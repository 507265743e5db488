"""``meta`` of an open snapshot: how it is changed by several processes, and what it says about trust.

Within one boot, a byte marked in the map is believed: it reached the page cache before its mark did, and a killed
process takes nothing back. After a power cut that order means nothing. So ``meta`` names the boot in which bytes
were written that may not be on the disk, and says so on the disk before the first of them is marked;
``declare_synced`` clears it. A snapshot opened under another boot is *suspect* (see ``opening``): each member's CRC
is checked before it is believed, and the marks of those that passed are kept in ``checked``.

Locks, as OFD locks on bytes of ``map`` far beyond its end, released by the kernel when their holder dies:

- the dirty byte: held shared by every process that writes, exclusively by one that declares all synced. A writer
  that has given it up (its map file was closed as idle) takes it again, and looks at ``meta`` again, before it goes on;
- the meta byte: held exclusively while ``meta`` is read, changed and replaced.

Concurrency: thread-safe; blocking.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from mountfs.errors import CacheDamaged, CacheFull
from mountfs.store import disk
from mountfs.store.about import About
from mountfs.store.budget import Budget
from mountfs.store.descriptors import File, Gone, Handle
from mountfs.store.opening import read_about
from mountfs.store.place import Place

_DIRTY_BYTE = 1 << 61
_META_BYTE = _DIRTY_BYTE + 1

_LOCK_SECONDS = 5.0
"""How long we wait for another process to finish replacing ``meta``: it takes it microseconds, an fsync at most."""


class Trust:
    """The description of one open snapshot. ``directory`` and ``map_file`` (None in memory) stay the snapshot's."""

    def __init__(
        self,
        place: Place,
        budget: Budget,
        about: About,
        *,
        directory: Handle | None,
        map_file: File | None,
        boot_id: str,
        writable: bool,
    ) -> None:
        self.about = about
        self._place = place
        self._budget = budget
        self._directory = directory
        self._map_file = map_file
        self._boot_id = boot_id
        self._writable = writable
        self._path = os.path.join(place.snapshots, about.key)
        self._lock = threading.RLock()
        self._writing = 0
        self._generation = 0
        self._unsynced = False
        self._locked_by: Callable[[], Handle | None] = lambda: None

    @property
    def changes(self) -> int:
        """A number that changes with every change; 0 while all is synced, as far as this process knows."""
        return self._generation if self._unsynced else 0

    def attached(self) -> bool:
        """Whether our directory is still the one that later openings will find."""
        return self._dir_fd >= 0 and disk.same_file(self._dir_fd, self._path)

    @property
    def _dir_fd(self) -> int:
        return -1 if self._directory is None else self._directory.fd

    def detach(self) -> None:
        """Its bytes are in a file of its own from now on: nothing is marked or locked for others any more."""
        self._map_file = None

    def _map(self) -> Handle | None:
        """The map file; None if there is none, or it was deleted: then there is nobody to agree with."""
        try:
            return None if self._map_file is None else self._map_file.acquire()
        except Gone:
            return None

    def reload(self) -> About:
        """Learn what other processes changed."""
        with self._lock, contextlib.suppress(OSError, CacheDamaged):
            about = read_about(self._dir_fd)
            if about.dirty_boot not in (None, self._boot_id):
                # Only on a disk that refuses writing: elsewhere opening has put it right there.
                about = replace(about, suspect=True)
            self.about = about
        return self.about

    def update(self, *, sync: bool = False, **changes: Any) -> None:
        """Change ``meta``, keeping what other processes changed. Where it cannot be written for good (a read-only
        disk, a directory that was deleted) only in memory. ``CacheFull`` on any other failure."""
        with self._lock, disk.writing("a snapshot's description"):
            held = self._map() if self._writable else None
            if held is None:
                self.about = replace(self.about, **changes)
                return
            self._wait_for_lock(held, fcntl.F_WRLCK, _META_BYTE)
            try:
                # In memory first: what the disk refuses is still true here.
                self.about = replace(self.reload(), **changes)
                if self.attached():
                    with contextlib.suppress(FileNotFoundError):
                        self._budget.charge(self._budget.attempt(disk.PAGE, lambda: self._save(sync=sync)))
            finally:
                disk.try_range_lock(held.fd, fcntl.F_UNLCK, _META_BYTE, 1)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Around every change of data, map or members: it is known, on disk, that some of it may be unsynced."""
        with self._lock:
            self._writing += 1
            self._generation += 1
        try:
            if not self._writable:
                raise CacheFull(
                    "the cache's disk is read-only", advice="make it writable, or point cache.dir elsewhere"
                )
            with disk.writing("a snapshot's description"):
                held = self._map()  # and with it the lock, until this change is made
            if held is not None and self._locked_by() is not held:
                self._become_dirty(held)
            yield
        finally:
            with self._lock:
                self._writing -= 1

    def declare_synced(self, sync: Callable[[], None]) -> bool:
        """Call ``sync``, which brings all to the disk, and note that it is there; False if somebody wrote meanwhile.

        ``sync`` runs twice: once at leisure, and once, with little left to do, while nobody can write.
        """
        with self._lock:
            generation = self._generation
            if not self._unsynced and self.reload().dirty_boot is None:
                return True
            if self._writing or not self._writable:
                return False
        with disk.writing("a snapshot to the disk"):
            sync()
        with self._lock:
            if self._writing or self._generation != generation:
                return False
            with disk.writing("a snapshot to the disk"):
                held = self._map()
            if held is None or not disk.try_range_lock(held.fd, fcntl.F_WRLCK, _DIRTY_BYTE, 1):
                return False
            try:
                with disk.writing("a snapshot to the disk"):
                    sync()
                self.update(sync=True, dirty_boot=None)
                self._unsynced = False
            finally:
                self._locked_by = lambda: None  # the next change takes it anew
                disk.try_range_lock(held.fd, fcntl.F_UNLCK, _DIRTY_BYTE, 1)
        return True

    def mark_verified(self, index: int) -> None:
        """Remember, over restarts, that member ``index`` of a suspect snapshot passed its CRC."""
        if not self.about.suspect:
            return
        with self._lock, disk.writing("a member's mark"):
            fd = os.open("checked", disk.READ_WRITE | os.O_CREAT, 0o600, dir_fd=self._dir_fd)
            try:
                os.pwrite(fd, b"\1", index)
            finally:
                os.close(fd)

    def is_verified(self, index: int) -> bool:
        """Whether member ``index`` may be believed."""
        if not self.about.suspect:
            return True
        with self._lock, contextlib.suppress(OSError):
            fd = os.open("checked", disk.READ, dir_fd=self._dir_fd)
            try:
                return os.pread(fd, 1, index) == b"\1"
            finally:
                os.close(fd)
        return False

    def _save(self, *, sync: bool) -> int:
        return self._place.save(os.path.join(self._path, "meta"), self.about.dump(), sync=sync)

    def _become_dirty(self, held: Handle) -> None:
        with self._lock:
            if self._locked_by() is held:
                return
            with disk.writing("a snapshot's description"):
                self._wait_for_lock(held, fcntl.F_RDLCK, _DIRTY_BYTE)
            if self.reload().dirty_boot != self._boot_id:
                self.update(sync=True, dirty_boot=self._boot_id)
            self._unsynced = True
            self._locked_by = weakref.ref(held)

    def _wait_for_lock(self, held: Handle, kind: int, byte: int) -> None:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not disk.try_range_lock(held.fd, kind, byte, 1):
            if time.monotonic() > deadline:
                raise CacheFull("another process keeps a snapshot of the cache locked")
            time.sleep(0.002)
