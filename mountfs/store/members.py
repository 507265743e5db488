"""Inflated members: the spool one grows in, and the finished file it becomes.

A ``Spool`` is a file in the process's tmp directory. Its readers may follow the writer: bytes below ``size`` never
change. ``finish``, called once size and CRC are right, renames it into its snapshot's directory, where every
process and every later run finds it. A finished member is in use while somebody holds it open (shared flock); only
then is it safe from eviction, even if its snapshot is in use.

Concurrency: one writer a spool, any number of reading threads. Closing while a thread reads is the caller's mistake.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mountfs.errors import CacheDamaged
from mountfs.store import disk
from mountfs.store.budget import Budget
from mountfs.store.place import Place


def read_exactly(fd: int, offset: int, size: int) -> bytes:
    """pread of exactly ``size`` bytes; ``CacheDamaged`` if the file has not got them or the disk fails."""
    try:
        data = os.pread(fd, size, offset)
        while len(data) < size:
            more = os.pread(fd, size - len(data), offset + len(data))
            if not more:
                raise CacheDamaged(f"a file in the cache ends at {offset + len(data)}, not at {offset + size}")
            data += more
    except OSError as error:
        raise CacheDamaged(f"the cache cannot be read: {error.strerror or error}") from error
    return data


def read_at_once(fd: int, offset: int, size: int) -> bytes | None:
    """The bytes if the page cache has them all, None otherwise (preadv2(2) RWF_NOWAIT); also where the disk fails: who
    goes the slow way then is told why."""
    buffer = bytearray(size)
    try:
        count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP and disk.in_memory(fd):
            return data if len(data := os.pread(fd, size, offset)) == size else None
        return None
    return bytes(buffer) if count == size else None


class MemberFile:
    """A finished member, open. ``size``: its bytes."""

    def __init__(self, fd: int, wall: Callable[[], float]) -> None:
        self._fd = fd
        self._wall = wall
        self.size = os.fstat(fd).st_size

    @classmethod
    def open(cls, dir_fd: int, name: str, wall: Callable[[], float]) -> MemberFile | None:
        """Open one by name; None if there is none, or it is just being evicted."""
        try:
            fd = os.open(name, disk.READ, dir_fd=dir_fd)
        except OSError:
            return None
        if disk.try_flock(fd, fcntl.LOCK_SH) and os.fstat(fd).st_nlink:
            return cls(fd, wall)
        os.close(fd)
        return None

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes; ``CacheDamaged`` otherwise."""
        return read_exactly(self._fd, offset, size)

    def try_read(self, offset: int, size: int) -> bytes | None:
        """The bytes if no disk has to be waited for."""
        return read_at_once(self._fd, offset, size)

    def close(self) -> None:
        """Give it up: from now on it may be evicted. Its mtime is its last use. May be called twice."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            now = self._wall()
            os.utime(self._fd, (now, now))
        disk.close_file(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Spool:
    """A member being inflated. ``size``: bytes written so far, all of them readable."""

    def __init__(
        self, place: Place, budget: Budget, *, publish: Callable[[str], bool], wall: Callable[[], float]
    ) -> None:
        self._budget = budget
        self._publish = publish
        self._wall = wall
        with disk.writing("an inflated member"):
            self._path, self._fd = budget.attempt(disk.PAGE, place.create)
        self.size = 0
        self._charged = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append; ``CacheFull`` if there is no room (then what was written before is still readable)."""
        self._budget.reserve(len(data))
        with disk.writing("an inflated member"):
            try:
                self._budget.attempt(len(data), lambda: disk.write_all(self._fd, data, self.size))
            finally:
                self._charge()
        self.size += len(data)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes of what was written; ``CacheDamaged`` otherwise."""
        return read_exactly(self._fd, offset, size)

    def try_read(self, offset: int, size: int) -> bytes | None:
        """The bytes if they were written and no disk has to be waited for."""
        return read_at_once(self._fd, offset, size)

    def punch(self, stop: int) -> None:
        """Give the bytes below ``stop`` back to the disk: for a member too large to be kept. They read as zeros, so
        the caller never asks for them again, and never calls ``finish``."""
        if disk.punch_hole(self._fd, 0, stop):
            self._charge()

    def finish(self) -> MemberFile:
        """Size and CRC are right: make it the member's file. Where that fails it stays readable, but is not kept."""
        fd, self._fd = self._fd, -1
        disk.try_flock(fd, fcntl.LOCK_SH)
        if not self._publish(self._path):
            self._budget.charge(-disk.remove_file(self._path))
        return MemberFile(fd, self._wall)

    def discard(self) -> None:
        """Forget it. May be called twice, or after ``finish``."""
        if self._fd < 0:
            return
        self._budget.charge(-disk.remove_file(self._path))
        disk.close_file(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()

    def _charge(self) -> None:
        status = os.fstat(self._fd)
        if status.st_nlink:
            now = disk.disk_size(status)
            self._budget.charge(now - self._charged)
            self._charged = now
