"""Claims: "I am fetching these bytes", so that two processes, or two tasks of one, never fetch the same at once.

A claim is an OFD lock on a range of the data file through an opening of its own, so claims of one process shut each
other out like those of two, and the kernel ends a claim with its holder: nothing is ever left locked.

Concurrency: non-blocking but for opening a file. A claim may be released from another thread.
"""

from __future__ import annotations

import fcntl
import os
from types import TracebackType
from typing import Self

from mountfs.model import Span
from mountfs.store import disk

_END = 1 << 60
"""Where a claim of an archive of unknown length ends."""


class Claim:
    """These bytes are ours to fetch. ``span``: which; released by ``release``, ``with``, or the process's end."""

    @classmethod
    def take(cls, fd: int, span: Span) -> Claim | None:
        """Claim through ``fd``, which is used for nothing else and now belongs to the claim; None if it is taken.

        A data file that is open for reading only cannot be locked, nor can anybody write to it: that is granted.
        """
        stop = min(span.stop, _END)
        writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        if writable and not disk.try_range_lock(fd, fcntl.F_WRLCK, span.start, max(1, stop - span.start)):
            os.close(fd)
            return None
        return cls(span, fd)

    def __init__(self, span: Span, fd: int) -> None:
        self.span = span
        self._fd = fd

    def release(self) -> None:
        """Let others fetch what is still missing. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
