"""What a fake service and the fault proxy have in common: a question, a reply, and steps that spoil them.

A ``Step`` is one way HTTP can go wrong. It may change the question before it is answered (``ask``), and the reply
before it is sent (``reply``); what a reply cannot say (a connection cut in the middle) is said by raising ``Cut`` from
its body. Everything here is sync: a wait is a number in the reply, and whoever sends it sleeps. A ``Script`` holds
which steps apply to which requests and how often. Neither knows who sends the bytes: ``fake.py`` gives them to
hypercorn, ``faults.py`` writes them to a socket by hand.

Concurrency: a script is filled by a test's thread and consumed by the server's, under one lock; questions and replies
belong to the task that handles the request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Protocol
from urllib.parse import parse_qsl

import trio


class Cut(Exception):
    """The connection ends here: with a TCP reset, or in order (FIN) though the announced body is incomplete."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("reset" if reset else "closed")
        self.reset = reset


class Pull(Protocol):
    """Stands in a body where its next bytes are not here yet."""

    async def pull(self) -> None:
        """Waits for some; the body is then asked again."""


Piece = bytes | float | Pull
Body = Iterator[Piece]
"""Bytes, pauses in seconds, and waits for more. A step passes on what it does not know."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request as a handler sees it. ``headers``: lower-case names; ``params``: from the route's path."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Every value of a query parameter, in order."""
        return [value for key, value in parse_qsl(self.query, keep_blank_values=True) if key == name]

    def first(self, name: str, default: str = "") -> str:
        return next(iter(self.all(name)), default)


@dataclass(slots=True)
class Reply:
    """One response on its way. ``headers``: lower-case names. No ``content-length`` means a chunked body.
    ``wait``: seconds before the head goes out."""

    status: int
    headers: dict[str, str]
    body: Body
    wait: float = 0.0


def plain(status: int, data: bytes = b"", *, headers: Mapping[str, str] | None = None, kind: str = "") -> Reply:
    """A reply made of bytes. ``kind``: its Content-Type."""
    head = {"content-length": str(len(data))}
    if kind:
        head["content-type"] = kind
    if status in {204, 304}:  # no body, so no length either (RFC 9110 §15.3.5, §15.4.5)
        head.pop("content-length")
    return Reply(status, head | {name.lower(): value for name, value in (headers or {}).items()}, iter((data,)))


async def wait_for(piece: float | Pull) -> None:
    """What a sender does with a piece that is not bytes: sleeps (for ever if infinite), or waits for more."""
    if not isinstance(piece, int | float):
        await piece.pull()
    elif piece == inf:
        await trio.sleep_forever()
    elif piece > 0:
        await trio.sleep(piece)


class Step:
    """One fault. The base changes nothing."""

    def ask(self, ask: Ask) -> Ask:
        """The question as the service is to see it."""
        return ask

    def instead(self, ask: Ask) -> Reply | None:  # noqa: ARG002
        """A reply that comes without asking the service at all; None: ask it. May raise Cut."""
        return None

    def reply(self, ask: Ask, reply: Reply) -> Reply:  # noqa: ARG002
        """The reply as the client is to see it."""
        return reply


@dataclass(slots=True)
class Rule:
    """To which requests a step applies, and how many more times (None: until the script is cleared)."""

    step: Step
    times: int | None = 1
    path: str = ""
    ranged: bool | None = None
    method: str = ""

    def matches(self, ask: Ask) -> bool:
        if self.times == 0 or self.path not in ask.path:
            return False
        if self.method and self.method != ask.method:
            return False
        return self.ranged is None or self.ranged == ("range" in ask.headers)


class Script:
    """The steps to come. Rules of limited number are used up in the order they were given, one a request; rules
    without a limit apply to every request they match, besides."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def has(self, ask: Ask) -> bool:
        """Whether there is a step for this request."""
        with self._lock:
            return any(rule.matches(ask) for rule in self._rules)

    def take(self, ask: Ask) -> tuple[Step, ...]:
        """The steps for this request; a limited rule taken counts down."""
        with self._lock:
            matching = [rule for rule in self._rules if rule.matches(ask)]
            lasting = [rule.step for rule in matching if rule.times is None]
            for rule in matching:
                if rule.times is not None:
                    rule.times -= 1
                    self._rules = [each for each in self._rules if each.times != 0]
                    return (rule.step, *lasting)
            return tuple(lasting)
