"""Where a session's content lies, and how it is opened: one archive (``ZipSource``) or one URL a file (``FileSource``).

A *location* is a target that may be used until it expires: the API itself (direct form), a signed URL the API gave
out, or the place a redirect led to. Opening goes: location → answer; the archive host refuses (400, 401, 403, 404) →
a new location, once → answer. For a suffix it tries what works on S3, GCS, R2 and Azure alike (providers.md §6).

Concurrency: one source may be opened by several tasks at once; they share its location, and whoever finds it expired
mints the next one while the others wait for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import trio

from mountfs.errors import ArchiveHostRefused, DeadlineExceeded, ServiceError, SnapshotLost
from mountfs.model import RemoteFile, Span, Validator
from mountfs.providers.expiry import expiry
from mountfs.transport import Answer, Body, RangeRefused, Refused, Suffix, Target, Transport, Want

EXPIRED = frozenset({400, 401, 403, 404})
"""An archive host's ways of saying that a URL is no longer good (providers.md §6)."""
SUFFIX_REFUSED = frozenset({400, 405, 501})
"""Beside 416, what stores without suffix ranges answer to one."""

STORAGE = "the archive's storage refuses the URL the service has just given out: ask its operator"

Locate = Callable[[float], Awaitable["Location"]]
Explain = Callable[[Answer], ServiceError]


@dataclass(frozen=True, slots=True)
class Location:
    """A target, good until ``expires`` (seconds since 1970; None: for ever)."""

    target: Target = field(repr=False)
    expires: float | None = None


class ZipSource:
    """One session's archive. ``what``: the subject of messages ("session s1")."""

    def __init__(
        self,
        transport: Transport,
        *,
        what: str,
        locate: Locate,
        explain: Explain,
        wall: Callable[[], float],
        location: Location | None = None,
    ) -> None:
        self._transport = transport
        self._what = what
        self._locate = locate
        self._explain = explain
        self._wall = wall
        self._location = location
        self._minting = trio.Lock()
        self._suffixes = True

    @asynccontextmanager
    async def open(
        self,
        want: Want | None = None,
        *,
        pin: Validator | None = None,
        if_none_match: Validator | None = None,
        deadline: float,
    ) -> AsyncIterator[Body]:
        """The archive's bytes, or the part that is wanted. ``deadline`` (trio's clock) bounds all until it starts.

        A server may give everything when a part was wanted: look at ``Body.partial``, ``start`` and ``stop``. After a
        new URL was minted it may be another object: ``pin`` guards the version, compare ``total`` with the length
        that is known. An answer without content is a body of no bytes.

        Raises NotModified (``if_none_match`` is still good), SnapshotLost (``pin`` is not), ArchiveHostRefused, and
        the ServiceErrors of the API: NotReady, Absent, KeyRejected, AccessDenied, RequestRefused, Throttled,
        ServiceFailed, BadAnswer, Unreachable, DeadlineExceeded.
        """
        async with AsyncExitStack() as stack:
            opening = Opening(stack, self._transport, want, pin, if_none_match, deadline)
            yield await self._opened(opening)

    async def _opened(self, opening: Opening) -> Body:
        location = await self._current(None, opening.deadline)
        try:
            return await self._answered(opening, location)
        except Refused as refused:
            if not refused.archive_host:
                raise self._blamed(self._explain(refused.answer)) from refused
            if refused.status not in EXPIRED:
                raise self._blamed(refused) from refused
        location = await self._current(location, opening.deadline)
        try:
            return await self._answered(opening, location)
        except Refused as refused:
            if not refused.archive_host:
                raise self._blamed(self._explain(refused.answer)) from refused
            raise self._blamed(
                ArchiveHostRefused(
                    refused.message,
                    advice=STORAGE,
                    status=refused.status,
                )
            ) from refused

    async def _answered(self, opening: Opening, location: Location) -> Body:
        body, self._suffixes = await opening.run(location.target, suffixes=self._suffixes)
        if body.location is not None:
            # A redirect's target is as good as a signed URL, and saves the way through the API while it lasts.
            self._location = Location(Target(body.location, self._what), expiry(body.location, self._wall()))
        return body

    async def _current(self, refused: Location | None, deadline: float) -> Location:
        """A location that has not expired and is not the one that was refused."""
        with trio.move_on_at(deadline) as queue:  # what comes after has this deadline too, and says more at its end
            await self._minting.acquire()
        if queue.cancelled_caught:
            raise DeadlineExceeded(
                f"{self._what}: the archive's address was not there in time", advice="the service is slow: try again"
            )
        try:
            known = self._location
            if known is not None and known is not refused and not self._expired(known):
                return known
            self._location = await self._locate(deadline)
            return self._location
        finally:
            self._minting.release()

    def _expired(self, location: Location) -> bool:
        return location.expires is not None and self._wall() >= location.expires

    def _blamed(self, error: ServiceError) -> ServiceError:
        self._transport.record(error)
        return error


@dataclass(slots=True)
class Opening:
    """One ``open``: the requests that lead to its body, the last of which stays open on the stack."""

    stack: AsyncExitStack
    transport: Transport
    want: Want | None
    pin: Validator | None
    if_none_match: Validator | None
    deadline: float

    async def run(self, target: Target, *, suffixes: bool) -> tuple[Body, bool]:
        """The body, and whether suffixes are worth asking this host for again."""
        if not isinstance(self.want, Suffix):
            return await self._exact(target, self.want), suffixes
        total: int | None = None
        if suffixes:
            try:
                return await self._fetch(target, self.want), True
            except RangeRefused as refused:
                total = refused.total
            except Refused as refused:
                if not refused.archive_host or refused.status not in SUFFIX_REFUSED:
                    raise
        return await self._suffix_by_length(target, self.want, total), False

    async def _suffix_by_length(self, target: Target, want: Suffix, total: int | None) -> Body:
        """The opening sequence of providers.md §6: learn the length from the first byte, then ask absolutely."""
        if total is None:
            async with AsyncExitStack() as probe:
                try:
                    body = await self._fetch(target, Span(0, 1), probe)
                except RangeRefused as refused:
                    body, total = None, refused.total
                if body is not None and not body.partial:
                    self.stack.push_async_exit(probe.pop_all())
                    return body
                if body is not None:
                    total = body.total
                    await body.read(1)
        if not total:
            return await self._fetch(target, None)
        return await self._exact(target, Span(max(0, total - want.size), total))

    async def _exact(self, target: Target, want: Want | None) -> Body:
        try:
            return await self._fetch(target, want)
        except RangeRefused as refused:
            if refused.status == 206:  # encoded after all: everything, then
                return await self._fetch(target, None)
            raise SnapshotLost(
                f"{refused.message}: the archive is shorter than it was", advice="open the file again", status=416
            ) from refused

    async def _fetch(self, target: Target, want: Want | None, stack: AsyncExitStack | None = None) -> Body:
        return await (stack or self.stack).enter_async_context(
            self.transport.fetch(target, want, pin=self.pin, if_none_match=self.if_none_match, deadline=self.deadline)
        )


class FileSource:
    """One session's files, each with an id and a URL of its own. ``files``: sorted by time, then id."""

    def __init__(
        self,
        transport: Transport,
        *,
        files: tuple[RemoteFile, ...],
        target: Callable[[RemoteFile], Target],
        explain: Explain,
    ) -> None:
        self.files = files
        self._transport = transport
        self._target = target
        self._explain = explain

    @asynccontextmanager
    async def open(
        self, file: RemoteFile, want: Span | None = None, *, pin: Validator | None = None, deadline: float
    ) -> AsyncIterator[Body]:
        """A file's bytes, as ``ZipSource.open`` gives an archive's. Redirects are followed; nothing is minted, since
        every request goes to the API first."""
        async with AsyncExitStack() as stack:
            opening = Opening(stack, self._transport, want, pin, None, deadline)
            try:
                body, _ = await opening.run(self._target(file), suffixes=True)
            except Refused as refused:
                error = self._explain(refused.answer)
                if refused.archive_host:
                    error = ArchiveHostRefused(refused.message, advice=STORAGE, status=refused.status)
                self._transport.record(error)
                raise error from refused
            yield body
