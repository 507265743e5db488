"""How much the cache may take, and how much it takes: one number shared by every process that uses the directory.

Walking 10,000 snapshots takes a good part of a second, so the total is kept in the file ``used`` (eight bytes,
little-endian) and every change of disk use is added to it under a flock held for microseconds. A crash can lose
one addition; ``correct``, after a walk, puts that right. Whoever is about to write asks ``reserve`` first, which
evicts in place: so the bound holds at the write itself, not some time after it.

Concurrency: thread-safe, shared between processes; ``reserve`` blocks while it evicts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from mountfs.errors import CacheFull
from mountfs.store import disk

T = TypeVar("T")

_SIZE = 8
_SLACK_SHARE = 20
_SLACK_MAX = 64 << 20
"""Eviction frees 5 % of what there is (at most 64 MiB) beyond what is needed, so that few writes look for victims."""

_FUTILE_SECONDS = 1.0
"""After a search that freed nothing, the next is this much later: a full cache in use must not cost a walk a write."""


class Ledger:
    """The shared number. Without a file to keep it in (a disk that refuses writes) it is this process's alone."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._pending = 0
        self._lock = threading.Lock()

    def open(self) -> bool:
        """Open or make the file; answers whether its number can be believed (False: walk and ``correct``)."""
        with self._lock:
            self._close()
            with contextlib.suppress(OSError):
                self._fd = os.open(self._path, disk.READ_WRITE | os.O_CREAT, 0o600)
                if len(os.pread(self._fd, _SIZE, 0)) == _SIZE:
                    return True
                self._write(0)
            return False

    def lost(self) -> bool:
        """Whether the file was deleted under us."""
        return self._fd < 0 or not disk.same_file(self._fd, self._path)

    def close(self) -> None:
        """Close the file. What could not be added is lost, as after a crash."""
        with self._lock:
            self._close()

    def total(self) -> int:
        """Bytes in use by all processes."""
        return self._read() + self._pending

    def add(self, delta: int) -> None:
        """Add ``delta`` bytes; kept for the next call while another process holds the lock or the disk refuses."""
        if not delta:
            return
        with self._lock:
            self._pending += delta
            if self._fd >= 0 and disk.try_flock(self._fd, fcntl.LOCK_EX):
                try:
                    with contextlib.suppress(OSError):
                        self._write(self._read() + self._pending)
                        self._pending = 0
                finally:
                    disk.try_flock(self._fd, fcntl.LOCK_UN)

    def correct(self, before: int, walked: int) -> None:
        """Set the number to ``walked``, plus what was added since ``before`` was read, when the walk began.

        Additions the walk has seen too are counted twice until the next one: too much is the safe side.
        """
        self.add(walked + max(0, self.total() - before) - self.total())

    def _read(self) -> int:
        if self._fd < 0:
            return 0
        try:
            data = os.pread(self._fd, _SIZE, 0)
        except OSError:
            return 0
        return int.from_bytes(data, "little") if len(data) == _SIZE else 0

    def _write(self, total: int) -> None:
        os.pwrite(self._fd, max(0, total).to_bytes(_SIZE, "little"), 0)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class Budget:
    """``max_size``: bytes all under ``directory`` may take; ``min_free``: bytes its file system must keep free.

    ``evict(size)`` frees at least ``size`` bytes if it can and answers how many it freed.
    """

    def __init__(
        self,
        ledger: Ledger,
        directory: str,
        *,
        max_size: int,
        min_free: int,
        evict: Callable[[int], int],
        clock: Callable[[], float],
    ) -> None:
        self.max_size = max_size
        self.min_free = min_free
        self._ledger = ledger
        self._directory = directory
        self._evict = evict
        self._clock = clock
        self._futile_until = float("-inf")
        self._evicting = threading.Lock()
        self.trouble = ""
        """Why the last bytes were refused; empty since some were taken."""

    @property
    def used(self) -> int:
        """Bytes in use."""
        return self._ledger.total()

    def charge(self, delta: int) -> None:
        """Note that the disk use changed by ``delta`` bytes."""
        self._ledger.add(delta)

    def reserve(self, size: int) -> None:
        """Make sure that ``size`` more bytes fit, evicting if need be; ``CacheFull`` if they cannot."""
        if self.excess(size) <= 0:
            return
        with self._evicting:
            excess = self.excess(size)
            if excess > 0 and self._clock() >= self._futile_until:
                excess -= self.free(excess)
        if excess > 0:
            self.trouble = f"it is full: {self.used} of {self.max_size} bytes, and what is left is in use"
            raise CacheFull(
                f"the cache takes no more: {self.trouble}",
                advice="raise cache.max_size, or lower cache.min_free if the disk has room",
            )

    def search_again(self) -> None:
        """Something that was in use is not any more: looking for what can go is not futile."""
        self._futile_until = float("-inf")

    def excess(self, size: int = 0) -> int:
        """How many bytes too many there would be after ``size`` more (≤ 0: it fits)."""
        over = self.used + size - self.max_size
        if self.min_free:
            with contextlib.suppress(OSError):
                disk_state = os.statvfs(self._directory)
                over = max(over, self.min_free + size - disk_state.f_bavail * disk_state.f_frsize)
        return over

    def free(self, size: int) -> int:
        """Evict at least ``size`` bytes and the slack; answers the bytes freed."""
        freed = self._evict(size + min(self.used // _SLACK_SHARE, _SLACK_MAX))
        self.charge(-freed)
        if freed < size:
            self._futile_until = self._clock() + _FUTILE_SECONDS
        return freed

    def attempt(self, size: int, write: Callable[[], T]) -> T:
        """Call ``write``; if the disk has no room for it, evict ``size`` bytes and call it once more."""
        try:
            done = self._attempt(size, write)
        except FileNotFoundError:
            raise  # deleted under us: the caller makes it again
        except OSError as error:
            self.trouble = error.strerror or str(error)
            raise
        self.trouble = ""
        return done

    def _attempt(self, size: int, write: Callable[[], T]) -> T:
        try:
            return write()
        except OSError as error:
            if error.errno not in disk.NO_ROOM:
                raise
            with self._evicting:
                if self._clock() < self._futile_until or self.free(size) <= 0:
                    raise
        return write()
