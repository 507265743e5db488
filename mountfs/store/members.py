"""Inflated members: the spool one grows in, and the finished file it becomes.

A ``Spool`` is a file in the process's tmp directory. Its readers may follow the writer: bytes below ``size`` never
change. ``finish``, called once size and CRC are right, renames it into its snapshot's directory, where every
process and every later run finds it. A finished member is in use while somebody has it open, whether its descriptor is
open or not (``InUse``); only then is it safe from eviction, even if its snapshot is in use.

Concurrency: one writer a spool, any number of reading threads.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mountfs.errors import CacheDamaged
from mountfs.store import disk
from mountfs.store.budget import Budget
from mountfs.store.descriptors import Descriptors, File, Handle
from mountfs.store.place import Place


def member_name(index: int) -> str:
    """The file name of a finished member in its snapshot's directory."""
    return f"m.{index}"


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


def read_at_once(fd: int, offset: int, size: int, into: memoryview | None = None) -> memoryview | None:
    """The bytes if the page cache has them all, None otherwise (preadv2(2) RWF_NOWAIT); also where the disk fails: who
    goes the slow way then is told why. A view, since a copy of 1 MiB takes 100 us more; of ``into``, if that is large
    enough, since a new buffer of 1 MiB takes 150 us more."""
    buffer = into[:size] if into is not None and len(into) >= size else memoryview(bytearray(size))
    try:
        count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP and disk.in_memory(fd):
            return memoryview(data) if len(data := os.pread(fd, size, offset)) == size else None
        return None
    return buffer if count == size else None


def _read_exactly(file: File | None, offset: int, size: int) -> bytes:
    try:
        if file is None:
            raise CacheDamaged("an inflated member was given up")
        held = file.acquire()
    except OSError as error:
        raise CacheDamaged(f"the cache cannot be read: {error.strerror or error}") from error
    return read_exactly(held.fd, offset, size)


def _read_at_once(file: File | None, offset: int, size: int, into: memoryview | None) -> memoryview | None:
    held = None if file is None else file.handle
    if file is None or held is None:
        return None
    file.used = True
    return read_at_once(held.fd, offset, size, into)


class InUse:
    """Which members of one snapshot this process has open. The lock is a shared one on the byte INDEX of the snapshot's
    directory: that stays open anyway, so a thousand open members cost no descriptor. Thread-safe."""

    def __init__(self, directory: Handle) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._users: Counter[int] = Counter()

    def enter(self, index: int) -> None:
        """One more user. OSError if it cannot be locked."""
        with self._lock:
            if not self._users[index]:
                disk.try_range_lock(self.directory.fd, fcntl.F_RDLCK, index, 1)
            self._users[index] += 1

    def leave(self, index: int) -> None:
        """One less."""
        with self._lock:
            self._users[index] -= 1
            if not self._users[index]:
                del self._users[index]
                with contextlib.suppress(OSError):  # the directory was closed, and its locks with it
                    disk.try_range_lock(self.directory.fd, fcntl.F_UNLCK, index, 1)


class MemberFile:
    """A finished member. ``size``: its bytes. ``left``: called when it is closed."""

    def __init__(self, file: File, size: int, wall: Callable[[], float], left: Callable[[], None]) -> None:
        self.size = size
        self._file = file
        self._wall = wall
        self._left: Callable[[], None] | None = left

    @classmethod
    def open(cls, descriptors: Descriptors, in_use: InUse, index: int, wall: Callable[[], float]) -> MemberFile | None:
        """Open one by its number; None if there is none, or it is just being evicted."""

        def opener() -> int:
            return os.open(member_name(index), disk.READ, dir_fd=in_use.directory.fd)

        with contextlib.ExitStack() as undo, contextlib.suppress(OSError):
            in_use.enter(index)
            undo.callback(in_use.leave, index)
            fd = descriptors.attempt(opener)
            file = File(descriptors, fd, opener)
            undo.callback(file.close)
            # An evictor that came before our lock on the directory has its own on the file.
            status = os.fstat(fd)
            if disk.try_flock(fd, fcntl.LOCK_SH) and status.st_nlink:
                undo.pop_all()
                return cls(file, status.st_size, wall, lambda: in_use.leave(index))
        return None

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes; ``CacheDamaged`` otherwise."""
        return _read_exactly(self._file, offset, size)

    def try_read(self, offset: int, size: int, into: memoryview | None = None) -> memoryview | None:
        """The bytes if no disk has to be waited for."""
        return _read_at_once(self._file, offset, size, into)

    def close(self) -> None:
        """Give it up: from now on it may be evicted. Its mtime is its last use. May be called twice."""
        left, self._left = self._left, None
        if left is None:
            return
        with contextlib.suppress(OSError), self._file.acquire() as fd:
            now = self._wall()
            os.utime(fd, (now, now))
        self._file.close()
        left()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Spool:
    """A member being inflated. ``size``: bytes written so far, all of them readable."""

    def __init__(
        self,
        place: Place,
        budget: Budget,
        descriptors: Descriptors,
        *,
        publish: Callable[[str], bool],
        in_use: InUse | None,
        index: int,
        wall: Callable[[], float],
    ) -> None:
        self._budget = budget
        self._publish = publish
        self._in_use = in_use
        self._index = index
        self._wall = wall
        with disk.writing("an inflated member"):
            path, fd = budget.attempt(disk.PAGE, lambda: descriptors.attempt(place.create))
        self._path = path
        self._file: File | None = File(descriptors, fd, lambda: os.open(path, disk.READ_WRITE))
        self.size = 0
        self._charged = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append; ``CacheFull`` if there is no room (then what was written before is still readable)."""
        self._budget.reserve(len(data))
        with disk.writing("an inflated member"):
            try:
                held = self._opened()
                self._budget.attempt(len(data), lambda: disk.write_all(held.fd, data, self.size))
            finally:
                self._charge()
        self.size += len(data)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes of what was written; ``CacheDamaged`` otherwise."""
        return _read_exactly(self._file, offset, size)

    def try_read(self, offset: int, size: int, into: memoryview | None = None) -> memoryview | None:
        """The bytes if they were written and no disk has to be waited for."""
        return _read_at_once(self._file, offset, size, into)

    def punch(self, stop: int) -> None:
        """Give the bytes below ``stop`` back to the disk: for a member too large to be kept. They read as zeros, so
        the caller never asks for them again, and never calls ``finish``."""
        with disk.writing("an inflated member"), self._opened() as fd:
            if disk.punch_hole(fd, 0, stop):
                self._charge()

    def finish(self) -> MemberFile:
        """Size and CRC are right: make it the member's file. Where that fails it stays readable, but is not kept.
        ``CacheFull`` if it was deleted meanwhile."""
        file, index, in_use = self._kept(), self._index, self._in_use
        with disk.writing("an inflated member"), contextlib.ExitStack() as undo:
            held = file.acquire()  # and with it the lock on the file, until that on the directory is there too
            if in_use is not None:
                in_use.enter(index)
                undo.callback(in_use.leave, index)
            disk.try_flock(held.fd, fcntl.LOCK_SH)
            if in_use is not None and self._publish(self._path):
                directory = in_use.directory
                file.rename(held, lambda: os.open(member_name(index), disk.READ, dir_fd=directory.fd))
            else:
                file.rename(held, None)
                self._budget.charge(-disk.remove_file(self._path))
            self._file = None
            return MemberFile(file, self.size, self._wall, undo.pop_all().close)

    def discard(self) -> None:
        """Forget it. May be called twice, or after ``finish``."""
        file, self._file = self._file, None
        if file is not None:
            self._budget.charge(-disk.remove_file(self._path))
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()

    def _kept(self) -> File:
        if self._file is None:
            raise CacheDamaged("an inflated member was given up")
        return self._file

    def _opened(self) -> Handle:
        return self._kept().acquire()

    def _charge(self) -> None:
        with self._opened() as fd:
            status = os.fstat(fd)
        if status.st_nlink:
            now = disk.disk_size(status)
            self._budget.charge(now - self._charged)
            self._charged = now
