"""A whole archive into a file of its own, where the service gives no ranges, or none that can be joined.

The body is written as it comes. Where it breaks off under a strong validator it goes on with a range of the same
version; else the caller starts over into another file: bytes of two replies are never mixed.

Concurrency: one download at a time a session; disk work in ``Workers``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass

import trio

from mountfs.archive.transfer import Patience
from mountfs.archive.transfers import FLUSH
from mountfs.config import Limits
from mountfs.errors import CacheFull, DeadlineExceeded, LimitExceeded, ServiceError, ServiceFailed
from mountfs.model import Span
from mountfs.providers import ZipSource
from mountfs.store import Snapshot as Kept
from mountfs.store import Store
from mountfs.transport import Body
from mountfs.workers import Workers

ROOM = 2.0
ROOM_POLL = 0.1
NO_CONTENT = 204  # Browserbase's other way of saying that there are no files (providers.md §4)
EMPTY_ZIP = b"PK\5\6" + bytes(18)


@dataclass(eq=False, slots=True)
class Progress:
    """What an opening has moved so far, for ``status`` and for the line that is logged when a waiter gives up."""

    bytes: int = 0
    total: int | None = None
    whole: bool = False

    def facts(self, at: float, seconds: float, outcome: str) -> dict[str, object]:
        """As JSON values, once it is over; ``at``: when, in seconds since 1970."""
        way = "whole download" if self.whole else "ranges"
        return {"at": at, "seconds": round(seconds, 3), "bytes": self.bytes, "way": way, "outcome": outcome}


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every opening needs; built once in the daemon."""

    store: Store
    workers: Workers
    nursery: trio.Nursery
    limits: Limits
    patience: Patience
    memory: MutableMapping[Hashable, bytes]
    wall: Callable[[], float]
    max_cache: int
    make_room: Callable[[], bool]
    """Lets go of what nobody uses, so that the cache can evict it; answers whether there was anything."""


@dataclass(frozen=True, slots=True)
class Download:
    """How one archive is fetched whole. ``progress``: told as it goes."""

    shop: Workshop
    label: str
    progress: Progress

    async def run(self, source: ZipSource, body: Body, kept: Kept, *, strong: bool) -> int:
        """Writes all of ``body``; answers the archive's length. ``strong``: a broken download may go on with a
        range."""
        if body.status == NO_CONTENT:
            await self.shop.workers.disk(kept.write, 0, EMPTY_ZIP)
            await self.shop.workers.disk(kept.set_length, len(EMPTY_ZIP))
            return len(EMPTY_ZIP)
        try:
            at = await self._pour(body, kept, 0)
        except (ServiceFailed, DeadlineExceeded) as exc:
            if not strong or exc.status is not None or body.total is None:
                raise
            at = await self._continue(source, body, kept, self.progress.bytes)
        await self.shop.workers.disk(kept.set_length, at)
        return at

    async def _continue(self, source: ZipSource, first: Body, kept: Kept, at: int) -> int:
        """Goes on where a whole download broke off, if the server gives that range of the same version."""
        assert first.total is not None
        want = Span(at, first.total)
        async with source.open(
            want, pin=first.validator, deadline=trio.current_time() + self.shop.patience.deadline
        ) as body:
            same = body.validator.agrees(first.validator) and body.total == first.total
            if not same or (body.partial and body.start != at):
                raise ServiceFailed(f"{self.label}: the download broke off and the archive changed")
            self.progress.bytes = body.start
            return await self._pour(body, kept, body.start)

    async def _pour(self, body: Body, kept: Kept, at: int) -> int:
        buffer = memoryview(bytearray(FLUSH))
        size = 0
        self.progress.bytes = at
        try:
            while count := await body.read_into(buffer[size:]):
                size += count
                if size == FLUSH:
                    at = await self._keep(kept, at, buffer)
                    size = 0
        except ServiceError:  # what came before a break counts
            await self._keep(kept, at, buffer[:size])
            raise
        return await self._keep(kept, at, buffer[:size])

    async def _keep(self, kept: Kept, at: int, data: memoryview) -> int:
        """Writes what came; answers where the next byte belongs."""
        if data:
            await self._write(kept, at, data)
            at += len(data)
            self.progress.bytes = at
            self.check_size(at, whole=True)
        return at

    async def _write(self, kept: Kept, at: int, data: memoryview) -> None:
        """Waits a little for room in the cache: what was read a moment ago will not be in use for long."""
        patience = trio.current_time() + ROOM
        while True:
            try:
                return await self.shop.workers.disk(kept.write, at, data)
            except CacheFull:
                self.check_size(at + len(data), whole=True)
                if trio.current_time() >= patience:
                    raise
            if not self.shop.make_room():
                await trio.sleep(ROOM_POLL)

    def check_size(self, total: int | None, *, whole: bool) -> None:
        """Raises LimitExceeded for an archive over a limit. ``whole``: all of it must fit into the cache."""
        limit = self.shop.limits.max_archive_size
        if total is not None and total > limit:
            raise LimitExceeded(
                f"{self.label}: the archive has {total} bytes, the limit is {limit}",
                advice="raise limits.max_archive_size",
            )
        if whole and total is not None and total > self.shop.max_cache:
            raise LimitExceeded(
                f"{self.label}: the archive has {total} bytes and the service gives it only whole, "
                f"the cache may hold {self.shop.max_cache}",
                advice="raise cache.max_size",
            )
