"""The steps: every way a service, an archive host or the way to them is made to fail.

Each is a frozen value that says one fault; tests read as a list of them. Offsets and sizes are bytes of the body, times
are seconds. Sync and without state, so one step may spoil any number of requests at once.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf

from mountfs.demo.wire import Ask, Body, Cut, Reply, Step, plain


@dataclass(frozen=True, slots=True)
class Answer(Step):
    """This status, these headers, this body, whatever was asked. A dict or list becomes JSON."""

    status: int = 200
    body: bytes | str | dict[str, object] | list[object] = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def instead(self, ask: Ask) -> Reply:  # noqa: ARG002
        if isinstance(self.body, dict | list):
            return plain(self.status, json.dumps(self.body).encode(), headers=self.headers, kind="application/json")
        data = self.body.encode() if isinstance(self.body, str) else self.body
        return plain(self.status, data, headers=self.headers)


@dataclass(frozen=True, slots=True)
class Redirect(Step):
    """To ``location``; empty: to the request's own path, so that a client goes round for ever."""

    location: str = ""
    status: int = 302

    def instead(self, ask: Ask) -> Reply:
        own = f"{ask.path}?{ask.query}" if ask.query else ask.path
        return plain(self.status, headers={"location": self.location or own})


@dataclass(frozen=True, slots=True)
class Delay(Step):
    """The head comes ``seconds`` late."""

    seconds: float

    def reply(self, ask: Ask, reply: Reply) -> Reply:  # noqa: ARG002
        return replace(reply, wait=reply.wait + self.seconds)


@dataclass(frozen=True, slots=True)
class BlackHole(Step):
    """Takes the request and never answers."""

    def instead(self, ask: Ask) -> Reply:  # noqa: ARG002
        return Reply(200, {}, iter(()), wait=inf)


@dataclass(frozen=True, slots=True)
class IgnoreRange(Step):
    """The service never sees the Range header, so it answers 200 with everything."""

    def ask(self, ask: Ask) -> Ask:
        return replace(ask, headers={name: value for name, value in ask.headers.items() if name != "range"})


@dataclass(frozen=True, slots=True)
class Header(Step):
    """One header of the reply is replaced, or taken away (None)."""

    name: str
    value: str | None

    def reply(self, ask: Ask, reply: Reply) -> Reply:  # noqa: ARG002
        headers = {name: value for name, value in reply.headers.items() if name != self.name.lower()}
        return replace(reply, headers=headers if self.value is None else headers | {self.name.lower(): self.value})


def wrong_range(value: str = "bytes 0-0/1") -> Header:
    """A Content-Range that does not say what the body is."""
    return Header("content-range", value)


def changed_etag(value: str = '"another"') -> Header:
    """The validator of another version, on the bytes of this one."""
    return Header("etag", value)


class BodyStep(Step):
    """A step that spoils the body alone."""

    def reply(self, ask: Ask, reply: Reply) -> Reply:  # noqa: ARG002
        return replace(reply, body=self.spoil(reply.body))

    def spoil(self, body: Body) -> Body:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Stall(BodyStep):
    """``after`` bytes of the body come, then silence; the connection stays open."""

    after: int = 0

    def spoil(self, body: Body) -> Body:
        yield from first(body, self.after)
        yield inf


@dataclass(frozen=True, slots=True)
class CutAfter(BodyStep):
    """``after`` bytes of the body come, then the connection ends; None: before the first byte of the head."""

    after: int | None = 0
    reset = True

    def instead(self, ask: Ask) -> Reply | None:  # noqa: ARG002
        if self.after is None:
            raise Cut(reset=self.reset)
        return None

    def spoil(self, body: Body) -> Body:
        yield from first(body, self.after or 0)
        raise Cut(reset=self.reset)


@dataclass(frozen=True, slots=True)
class Reset(CutAfter):
    """A TCP reset after ``after`` bytes."""


@dataclass(frozen=True, slots=True)
class Truncate(CutAfter):
    """The connection is closed in order after ``after`` bytes, short of the right Content-Length."""

    reset = False


@dataclass(frozen=True, slots=True)
class Dribble(BodyStep):
    """``size`` bytes every ``interval`` seconds."""

    interval: float = 1.0
    size: int = 1

    def spoil(self, body: Body) -> Body:
        for piece in body:
            if not isinstance(piece, bytes):
                yield piece
                continue
            for start in range(0, len(piece), self.size):
                yield piece[start : start + self.size]
                yield self.interval


@dataclass(frozen=True, slots=True)
class FlipByte(BodyStep):
    """One bit of the byte at ``at`` (counted in this body) is wrong; everything else is right."""

    at: int = 0

    def spoil(self, body: Body) -> Body:
        position = 0
        for piece in body:
            if not isinstance(piece, bytes):
                yield piece
                continue
            here = self.at - position
            position += len(piece)
            if 0 <= here < len(piece):
                yield piece[:here] + bytes((piece[here] ^ 1,)) + piece[here + 1 :]
            else:
                yield piece


@dataclass(frozen=True, slots=True)
class Surplus(BodyStep):
    """More bytes than Content-Length announced. Only the proxy can send it: hypercorn refuses to."""

    extra: bytes = b"surplus"

    def spoil(self, body: Body) -> Body:
        yield from body
        yield self.extra
        raise Cut(reset=False)


@dataclass(frozen=True, slots=True)
class Gzip(BodyStep):
    """The body comes as ``Content-Encoding: gzip``, though nobody asked for it, and without a length."""

    def reply(self, ask: Ask, reply: Reply) -> Reply:  # noqa: ARG002
        headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
        return replace(reply, headers=headers | {"content-encoding": "gzip"}, body=self.spoil(reply.body))

    def spoil(self, body: Body) -> Body:
        data = bytearray()
        for piece in body:
            if isinstance(piece, bytes):
                data += piece
            else:
                yield piece
        yield gzip.compress(data, compresslevel=1, mtime=0)


@dataclass(frozen=True, slots=True)
class Endless(Step):
    """A body that never ends (or ends after ``size`` bytes): ``opening``, then ``filler`` again and again."""

    opening: bytes = b""
    filler: bytes = b" " * 65536
    size: int | None = None
    kind: str = "application/json"

    def instead(self, ask: Ask) -> Reply:  # noqa: ARG002
        return Reply(200, {"content-type": self.kind}, self._body())

    def _body(self) -> Body:
        yield self.opening
        sent = len(self.opening)
        while self.size is None or sent < self.size:
            yield self.filler
            sent += len(self.filler)


def first(body: Body, size: int) -> Body:
    """The first ``size`` bytes of a body, fewer if it is shorter."""
    left = size
    for piece in body:
        if left <= 0:
            return
        if not isinstance(piece, bytes):
            yield piece
            continue
        yield piece[:left]
        left -= len(piece)
