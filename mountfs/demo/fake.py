"""What every fake service has: sessions to change, switches to throw, a record of each request.

A service is a table of routes over plain functions ``(Ask) -> Reply``; this module puts them behind starlette, applies
the script of faults, and writes down what was asked and sent. All answers are decided in sync code; only ``_send``
waits.

Concurrency: the server's thread answers, a test's thread changes sessions and switches and reads the record. Switches
and fields of a session are single values, read once a request; the record and the script have locks of their own.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Literal

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mountfs.demo.bodies import Content, RangeRules
from mountfs.demo.steps import Answer
from mountfs.demo.wire import Ask, Body, Cut, Reply, Rule, Script, Step, plain, wait_for

EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
"""22 bytes: an end record and no members [C][T]."""

Handler = Callable[[Ask], Reply]
Abort = Callable[[Scope, bool], None]
"""Ends the connection of a request; True: with a TCP reset."""


@dataclass(slots=True)
class Recorded:
    """One request as it came, and what was sent for it. ``bytes_sent`` counts the body, a piece before it is sent;
    ``status`` is 0 until the head goes out. Times: ``time.monotonic()``."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    started: float
    status: int = 0
    bytes_sent: int = 0
    ended: float | None = None

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass(frozen=True, slots=True)
class FakeFile:
    """One file of the per-file API. ``created``: seconds since 1970. ``checksum``: SHA-256 in hex; None: the true one,
    worked out at every listing."""

    id: str
    filename: str
    data: Content
    created: float = 1_760_000_000.0
    kind: str = "application/octet-stream"
    checksum: str | None = None


@dataclass(slots=True)
class FakeSession:
    """One session of a service; every field may be changed while it is served.

    Times are seconds since 1970; ``ready_at`` is ``time.monotonic()``'s. ``archive`` may be made on first use.
    """

    id: str
    archive: Content | Callable[[], Content] = EMPTY_ZIP
    status: str = ""
    """As the service spells it; empty: the service's word for a session that ended well."""
    created: float | None = 1_760_000_000.0
    started: float | None = 1_760_000_001.0
    updated: float | None = 1_760_000_100.0
    ended: float | None = 1_760_000_100.0
    listed: bool = True
    gone: bool = False
    """404 to every question about it, though it may be listed."""
    forbidden: bool = False
    """403: another organisation's."""
    archived: bool = True
    """False: it exists, but no archive of it ever will."""
    ready: bool = True
    ready_at: float | None = None
    pending: int = 0
    """So many times more it is not ready, then it is."""
    live: Callable[[int], Content] | None = None
    """What the archive is at the n-th time (from 0) it is asked for."""
    etag: str | None = None
    """Instead of the true one, quotes and ``W/`` included."""
    answer: Step | None = None
    """Instead of the archive (Kaizen: instead of its URL): a 204, a PDF with 200 …"""
    files: list[FakeFile] | None = None
    """Of the per-file API; None: the archive's members."""
    agent: str = "agent_demo"
    omit: frozenset[str] = frozenset()
    """Fields left out of its JSON."""
    extra: dict[str, object] = field(default_factory=dict)
    """Fields added to its JSON."""
    calls: int = 0
    """How often its archive was asked for."""

    def ready_in(self, seconds: float) -> None:
        """Not ready until then."""
        self.ready_at = time.monotonic() + seconds

    def is_ready(self) -> bool:
        """Whether the archive can be had now; counts ``pending`` down."""
        if self.pending > 0:
            self.pending -= 1
            return False
        return self.ready and (self.ready_at is None or time.monotonic() >= self.ready_at)

    def made(self) -> bool:
        """Whether its archive is there; one made on its first use may take many seconds."""
        return not callable(self.archive)

    def content(self) -> Content:
        """The archive as it is now, made if this is its first use."""
        if callable(self.archive):
            self.archive = self.archive()
        return self.archive

    def next_content(self) -> Content:
        """The archive for one more call: moves on where the session is ``live``."""
        number, self.calls = self.calls, self.calls + 1
        return self.live(number) if self.live is not None else self.content()


class Sessions(dict[str, FakeSession]):
    """The sessions of a service by id, in the order they were added."""

    def put(self, session: FakeSession) -> FakeSession:
        self[session.id] = session
        return session


class Fake:
    """One fake service: an ASGI application, its switches and its record.

    ``url``: its origin, set when it is served. ``key``: the one it accepts. ``latency``: seconds before each answer.
    ``bandwidth``: bytes per second of each body, None for no limit. ``wall``: the clock it stamps and signs by.
    """

    name = ""
    key = ""
    ended_well = ""
    """This service's status of a session that ended well."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self.url = ""
        self.wall = wall
        self.sessions = Sessions()
        self.latency = 0.0
        self.bandwidth: float | None = None
        self.ranges: bool | Literal["no-suffix"] = False
        self.etags: Literal["strong", "weak"] | None = None
        self.script = Script()
        self.active = 0
        self.peak = 0
        """Requests being answered now, and the most there were at once."""
        self._requests: list[Recorded] = []
        self._arrived = threading.Condition()
        self._cut: Abort = _no_connection

    # -- for tests -----------------------------------------------------------------------------------------------

    def add(self, session_id: str, archive: Content | Callable[[], Content] = EMPTY_ZIP) -> FakeSession:
        """A new session; its other facts are set on what this returns."""
        return self.sessions.put(FakeSession(session_id, archive, status=self.ended_well))

    def inject(
        self, step: Step, *, times: int | None = 1, path: str = "", ranged: bool | None = None, method: str = ""
    ) -> None:
        """Spoils the next ``times`` requests (None: all) whose path contains ``path``; ``ranged``: only those with
        (True) or without (False) a Range."""
        self.script.add(Rule(step, times, path, ranged, method))

    def fail_next(
        self,
        status: int,
        times: int = 1,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | dict[str, object] | list[object] | None = None,
        path: str = "",
    ) -> None:
        """The next requests get this status; without a body, an error text in this service's own form."""
        text = self.error_body(status, f"injected {status}") if body is None else body
        self.inject(Answer(status, text, headers or {}), times=times, path=path)

    @property
    def requests(self) -> list[Recorded]:
        """Every request since the last ``clear_requests()``, oldest first."""
        with self._arrived:
            return list(self._requests)

    def clear_requests(self) -> None:
        with self._arrived:
            self._requests.clear()
            self.peak = self.active

    def wait_requests(self, count: int, timeout: float = 5.0) -> list[Recorded]:
        """Blocks until ``count`` requests have come; raises TimeoutError after ``timeout`` seconds."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"{self.name}: {len(self._requests)} of {count} requests after {timeout} s")
            return list(self._requests)

    def bytes_sent(self) -> int:
        """Of all bodies in the record."""
        return sum(each.bytes_sent for each in self.requests)

    # -- for the services ----------------------------------------------------------------------------------------

    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        """(method, path pattern, handler); the method ``*`` takes any."""
        raise NotImplementedError

    def error_body(self, status: int, text: str) -> dict[str, object]:  # noqa: ARG002
        """This service's JSON for an error."""
        return {"error": text}

    def error(self, status: int, text: str, **headers: str) -> Reply:
        dashed = {name.replace("_", "-"): value for name, value in headers.items()}
        return as_json(self.error_body(status, text), status=status, headers=dashed)

    def rules(self) -> RangeRules:
        """How this service serves ranges."""
        return RangeRules(ranges=self.ranges, etags=self.etags, last_modified=self.etags is not None)

    def _unknown(self, ask: Ask) -> Reply:
        return self.error(404, f"no route {ask.method} here")

    def connect(self, url: str, cut: Abort) -> Starlette:
        """The application, once it is known where it is served and how its connections can be cut."""
        self.url = url
        self._cut = cut
        table = [*self.routes(), ("*", "/{rest:path}", self._unknown)]
        return Starlette(routes=[_route(method, path, self._endpoint(handler)) for method, path, handler in table])

    def _endpoint(self, handler: Handler) -> _Application:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            ask = await _question(scope, receive)
            record = Recorded(ask.method, ask.path, ask.query, dict(ask.headers), ask.body, time.monotonic())
            with self._arrived:
                self._requests.append(record)
                self.active += 1
                self.peak = max(self.peak, self.active)
                self._arrived.notify_all()
            try:
                async with trio.open_nursery() as nursery:
                    # A client that left must end its reply: hypercorn takes what is sent to nobody, for ever.
                    nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                    try:
                        await self.make(ask)
                        await self._send(self._decide(handler, ask), record, send)
                    except Cut as cut:
                        self._cut(scope, cut.reset)
                    nursery.cancel_scope.cancel()
            finally:
                with self._arrived:
                    self.active -= 1
                record.ended = time.monotonic()

        return _Application(answer)

    async def make(self, ask: Ask) -> None:
        """Makes the archives this request is about, if this is their first use: that takes seconds for a big one."""
        for session in list(self.sessions.values()):
            if self.unprepared(session, ask) and (session.id in ask.path or session.id in f"{ask.query} {ask.body!r}"):
                await trio.to_thread.run_sync(self.prepare, session, ask)

    def unprepared(self, session: FakeSession, ask: Ask) -> bool:  # noqa: ARG002
        """Whether this session must be worked on before such a question can be answered at once."""
        return not session.made()

    def prepare(self, session: FakeSession, ask: Ask) -> None:  # noqa: ARG002
        """That work; may run twice at once, in threads."""
        session.content()

    def _decide(self, handler: Handler, ask: Ask) -> Reply:
        """Runs one request through the steps and the handler."""
        steps = self.script.take(ask)
        for step in steps:
            ask = step.ask(ask)
        made = next((reply for step in steps if (reply := step.instead(ask)) is not None), None)
        reply = handler(ask) if made is None else made
        for step in steps:
            reply = step.reply(ask, reply)
        return replace(reply, wait=reply.wait + self.latency) if self.latency else reply

    async def _send(self, reply: Reply, record: Recorded, send: Send) -> None:
        await wait_for(reply.wait)
        record.status = reply.status
        head = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        for piece in () if record.method == "HEAD" else self._paced(reply.body):
            if not isinstance(piece, bytes):
                await wait_for(piece)
            elif piece:
                record.bytes_sent += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _paced(self, body: Body) -> Body:
        """The body at this fake's ``bandwidth``: a pause before each bit of about a fiftieth of a second."""
        for piece in body:
            if self.bandwidth is None or not isinstance(piece, bytes):
                yield piece
                continue
            step = max(1024, int(self.bandwidth / 50))
            for start in range(0, len(piece), step):
                bit = piece[start : start + step]
                yield len(bit) / self.bandwidth
                yield bit


class _Application:
    """An ASGI application in a route's place: starlette takes functions for request handlers, objects for these."""

    def __init__(self, answer: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope, receive, send)


def _route(method: str, path: str, endpoint: _Application) -> Route:
    return Route(path, endpoint, methods=None if method == "*" else [method])


async def _question(scope: Scope, receive: Receive) -> Ask:
    """A request with its whole body; the path as it came, percent signs and all."""
    request = Request(scope, receive)
    headers = {name.lower(): value for name, value in request.headers.items()}
    path: str = scope["raw_path"].decode("ascii")
    query: str = scope["query_string"].decode("ascii")
    return Ask(request.method, path, query, headers, request.path_params, await request.body())


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _no_connection(scope: Scope, reset: bool) -> None:  # noqa: ARG001
    raise RuntimeError("this fake is not being served")


def as_json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return plain(status, json.dumps(value).encode(), headers=headers, kind="application/json")


def stamp(seconds: float) -> str:
    """Wall time as the services write it: 2026-11-23T10:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def http_date(seconds: float) -> str:
    """Wall time as HTTP writes it (RFC 9110 §5.6.7)."""
    return formatdate(seconds, usegmt=True)
