"""Files of the cache that need not stay open: a bounded pool closes the idle ones, which are opened again by name.

A session in use has an archive file, its map, and the members made of it; hundreds of sessions with a thousand open
files would need thousands of descriptors. Here each is a ``File``, and at most a quarter of what the process may have
(RLIMIT_NOFILE) is open at a time: what was not used lately goes first, and if the kernel refuses one all the same,
half of them go and it is asked once more.

*Never another file's bytes.* A descriptor lives as long as somebody refers to its ``Handle``, so it is not closed,
nor its number given away, under a thread that reads. A file that is opened again must be the one that was open before
(device and inode), else it is ``Gone``, as one that is not there any more: its owner then knows that its bytes are
lost. What has no name that could be opened again (unlinked, memfd) is ``pinned`` and not counted.

*Locks* belong to a descriptor and go with it: nothing here may be locked for longer than its handle is held. What is
in use is locked through the snapshot's directory, which stays open.

Concurrency: thread-safe. Opening may block on the disk; ``File.handle`` never does.
"""

from __future__ import annotations

import errno
import math
import os
import resource
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from cachetools import LRUCache

from mountfs.store.disk import close_file

T = TypeVar("T")

FEWEST = 16
SHARE = 4
"""Of what the process may open, one part in so many is for files here."""
_FULL = frozenset({errno.EMFILE, errno.ENFILE})


class Gone(OSError):
    """The file was deleted, or another is in its place."""


class Handle:
    """A descriptor, closed with the last reference to it: so keep it in a variable, or in a ``with``, while its number
    is used. ``acquire().fd`` alone may be closed before the call it is handed to."""

    __slots__ = ("__weakref__", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Close it now. May be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            close_file(fd)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to do: the reference is what counts."""

    def __del__(self, close: Callable[[int], None] = close_file) -> None:
        if self.fd >= 0:
            close(self.fd)


class File:
    """One file, open at the moment or not. ``used``: since the pool looked at it last."""

    __slots__ = ("_identity", "_lock", "_open", "_pool", "handle", "used")

    def __init__(self, pool: Descriptors | None, fd: int, opener: Callable[[], int] | None) -> None:
        """Takes over ``fd``; ``opener`` opens the same file again."""
        status = os.fstat(fd)
        self.handle: Handle | None = Handle(fd)
        """None while it is closed. Whoever takes it keeps it open."""
        self.used = True
        self._identity = (status.st_dev, status.st_ino)
        self._open = opener
        self._pool = pool
        self._lock = threading.Lock()
        if pool is not None:
            pool.note(self)

    @classmethod
    def pinned(cls, fd: int) -> Self:
        """A file that stays open, since it could not be opened again."""
        return cls(None, fd, None)

    def acquire(self) -> Handle:
        """Its descriptor, opened if need be. ``Gone`` if it is lost; OSError if it cannot be opened now."""
        self.used = True
        return self.handle or self._reopen()

    def _reopen(self) -> Handle:
        with self._lock:
            if self.handle is not None:
                return self.handle
            if self._open is None or self._pool is None:
                raise OSError(errno.EBADF, "it was closed")
            try:
                handle = Handle(self._pool.attempt(self._open))
            except FileNotFoundError as error:
                raise Gone(errno.ESTALE, "a file of the cache was deleted") from error
            status = os.fstat(handle.fd)
            if (status.st_dev, status.st_ino) != self._identity or not status.st_nlink:
                raise Gone(errno.ESTALE, "a file of the cache was replaced")
            self.handle = handle
            self._pool.note(self)
            return handle

    def rename(self, held: Handle, opener: Callable[[], int] | None) -> None:
        """It has another name now; None: it has none, and stays open. ``held``: as ``acquire`` gave it before."""
        with self._lock:
            self.handle, self._open = held, opener
            if self._pool is not None:
                if opener is None:
                    self._pool.forget(self)
                else:
                    self._pool.note(self)

    def close(self) -> None:
        """Give it up for good. Those who hold its handle finish with it."""
        with self._lock:
            if self._pool is not None:
                self._pool.forget(self)
            self.handle = self._open = self._pool = None


class Descriptors:
    """The pool. ``limit``: how many descriptors the process may have, asked whenever one is opened. ``fewest``: kept
    open however few that are."""

    def __init__(
        self,
        limit: Callable[[], int] = lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        *,
        fewest: int = FEWEST,
    ) -> None:
        self._limit = limit
        self._fewest = fewest
        self._lock = threading.Lock()
        # Its bound changes with the process's limit, and who is used costs a flag, no look-up: see _close_idle.
        self._open: LRUCache[File, None] = LRUCache(math.inf)

    @property
    def open_count(self) -> int:
        """How many are open."""
        return len(self._open)

    def attempt(self, opener: Callable[[], T]) -> T:
        """``opener()``; where the process has too many descriptors, once more with half of these closed."""
        try:
            return opener()
        except OSError as error:
            if error.errno not in _FULL:
                raise
        with self._lock:
            self._close_idle(len(self._open) // 2)
        return opener()

    def note(self, file: File) -> None:
        """It was opened."""
        limit = self._limit()
        most = len(self._open) + 1 if limit < 0 else max(self._fewest, limit // SHARE)
        with self._lock:
            self._open[file] = None
            self._close_idle(most)

    def forget(self, file: File) -> None:
        """It is closed, or stays open for good."""
        with self._lock:
            self._open.pop(file, None)

    def _close_idle(self, most: int) -> None:
        """Close what was used longest ago; what was used since the last look gets another turn."""
        for _ in range(2 * len(self._open)):
            if len(self._open) <= most:
                return
            file, _nothing = self._open.popitem()
            if file.used:
                file.used = False
                self._open[file] = None
            else:
                file.handle = None
