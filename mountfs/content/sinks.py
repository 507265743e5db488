"""Sinks: where a pump appends a member's bytes, and readers read them back.

A ``SpoolSink`` is a file of the store. When the disk refuses it, a ``Ring`` keeps the last 8 MiB in memory: reading
forward goes on, a jump back means making bytes again.

Concurrency: one writer, in a thread; readers look meanwhile, from other threads, so sinks have locks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from mountfs.content.readers import SMALL
from mountfs.errors import CacheError, CacheFull
from mountfs.store import MemberFile, Spool
from mountfs.store import Snapshot as Kept

log = logging.getLogger(__name__)

RING = 8 << 20


class Sink(Protocol):
    """Where a pump appends, and readers read back."""

    def append(self, data: bytes) -> None: ...
    def low(self) -> int: ...
    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | memoryview | None: ...
    def read(self, offset: int, size: int) -> bytes: ...
    def finish(self) -> None: ...
    def discard(self) -> None: ...


class Ring:
    """The last RING bytes in memory, when no disk will have them."""

    def __init__(self, start: int = 0) -> None:
        self._lock = threading.Lock()
        self._start = start
        self._data = bytearray()

    def append(self, data: bytes) -> None:
        with self._lock:
            self._data += data
            if len(self._data) > RING + SMALL:
                excess = len(self._data) - RING
                del self._data[:excess]
                self._start += excess

    def low(self) -> int:
        return self._start

    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | None:  # noqa: ARG002
        with self._lock:
            at = offset - self._start
            if at < 0 or at + size > len(self._data):
                return None
            return bytes(memoryview(self._data)[at : at + size])

    def read(self, offset: int, size: int) -> bytes:
        data = self.peek(offset, size)
        if data is None:
            raise CacheError("a byte left the window before it was read", advice="read again")
        return data

    def finish(self) -> None:
        pass

    def discard(self) -> None:
        with self._lock:
            self._start += len(self._data)
            self._data.clear()


class SpoolSink:
    """A file of the store that grows, and becomes the member's own file once it is complete. Discarded, it is closed
    when nobody is at it any more: the number of a closed descriptor may be another file's by then."""

    def __init__(self, spool: Spool) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._gone = False
        self._spool = spool
        self._file: Spool | MemberFile = spool

    @contextmanager
    def _used(self) -> Iterator[bool]:
        """Keeps the file open; answers whether it still is."""
        with self._lock:
            there = not self._gone
            self._users += there
        try:
            yield there
        finally:
            with self._lock:
                self._users -= there
                last = there and self._gone and not self._users
            if last:
                self._close()

    def append(self, data: bytes) -> None:
        with self._used() as there:
            if there:
                self._spool.write(data)

    def low(self) -> int:
        return 0

    def peek(self, offset: int, size: int, into: memoryview | None = None) -> memoryview | None:
        with self._used() as there:
            return self._file.try_read(offset, size, into) if there else None

    def read(self, offset: int, size: int) -> bytes:
        with self._used() as there:
            if not there:
                raise CacheError("an inflated member was given up while it was read", advice="read again")
            return self._file.read(offset, size)

    def finish(self) -> None:
        with self._used() as there:
            if there:
                self._file = self._spool.finish()

    def discard(self) -> None:
        with self._lock:
            last = not self._gone and not self._users
            self._gone = True
        if last:
            self._close()

    def _close(self) -> None:
        self._spool.discard()
        if isinstance(self._file, MemberFile):
            self._file.close()


def open_sink(kept: Kept, index: int, size: int, *, largest: int) -> Sink:
    """A spool in the store; a ring in memory for a member larger than ``largest``, or when the disk refuses."""
    if size > largest:
        return Ring()
    try:
        return SpoolSink(kept.new_spool(index))
    except CacheFull as exc:
        log.warning("read through memory: %s", exc)
        return Ring()
