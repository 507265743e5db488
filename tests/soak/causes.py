"""Why an operation of the soak failed: each error is traced to a fault that was injected, or to a change.

A fault belongs to the session its request was for, and explains some errnos from then on for as long as a request may
try and its failure be believed; wrong bytes explain EIO for ever. A session that changes explains the errors of
names it had in one version and not, or otherwise, in another. And whatever a service did, the daemon's log says so:
an error without a line is not explained.

Concurrency: the services' threads note faults, workers note errors; the errors are judged when all have ended.
"""

from __future__ import annotations

import collections
import errno
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from soak.model import File, Known

from mountfs.demo.wire import Ask

WINDOW = 14.0
"""Seconds: a request's deadline (10), how long its failure is believed, and those of a loaded machine."""
SHOWS = {
    "reset": (errno.EREMOTEIO,),
    "status 500": (errno.EREMOTEIO,),
    "status 502": (errno.EREMOTEIO,),
    "status 503": (errno.EREMOTEIO,),
    "status 429": (errno.EBUSY,),
    "late": (errno.ETIMEDOUT,),
    "cut": (errno.EREMOTEIO,),
    "short": (errno.EREMOTEIO,),
    "wrong range": (errno.EREMOTEIO,),
    "stall": (errno.ETIMEDOUT, errno.EREMOTEIO),
    "flipped byte": (errno.EIO,),
}
"""What a fault may show, however often it was tried again."""
_SESSION = re.compile(r"\bs\d+\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass(frozen=True, slots=True)
class Failure:
    """One operation that failed. ``path``: below the session's directory, empty for that itself; times: wall clock."""

    operation: str
    known: Known
    path: str
    number: int
    began: float
    ended: float

    def __str__(self) -> str:
        word = errno.errorcode.get(self.number, str(self.number))
        took = f"{self.ended - self.began:.1f} s"
        return f"{self.operation} {self.known.provider}/{self.known.id}/{self.path}: {word} after {took}"


@dataclass
class Causes:
    """Faults as they are injected, failures as they are met."""

    failures: list[Failure] = field(default_factory=list)
    _faults: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: collections.defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def injected(self, ask: Ask, kind: str) -> None:
        """A request is about to fail this way."""
        found = _SESSION.search(ask.path) or _SESSION.search(ask.body.decode("utf-8", "replace"))
        with self._lock:
            self._faults[found.group() if found else ""].append((time.time(), kind))

    def met(self, failure: Failure) -> None:
        with self._lock:
            self.failures.append(failure)

    def judged(self, log: str) -> Iterator[tuple[Failure, str, str]]:
        """(failure, its cause, what is wrong with that) of each; one of the two texts is empty. ``log``: the daemon's,
        a JSON object a line."""
        told = _told(log)
        for failure in self.failures:
            if cause := _change(failure):
                yield failure, cause, ""
            elif not (cause := self._fault(failure)):
                yield failure, "", "no fault explains it"
            elif not any(_near(failure, at) for at in told[failure.known.id]):
                yield failure, "", f"no line in the log tells of it ({cause})"
            else:
                yield failure, cause, ""

    def _fault(self, failure: Failure) -> str:
        """The last fault that shows as this errno, in time for it."""
        for at, kind in reversed(self._faults[failure.known.id]):
            if failure.number in SHOWS[kind] and _near(failure, at):
                return kind
        return ""


def _near(failure: Failure, at: float) -> bool:
    """Whether what happened at that time can be why. What is damaged stays so."""
    return at <= failure.ended and (failure.number == errno.EIO or at >= failure.began - WINDOW)


def _change(failure: Failure) -> str:
    """Of a live session: whether its versions differ in what was asked for."""
    known, versions = failure.known, list(failure.known.versions)
    if not known.live or len(versions) < 2:
        return ""
    absent = not all(_has(version, failure.path) for version in versions)
    if failure.number == errno.ENOENT and absent:
        return "not in every version"
    if failure.number == errno.ESTALE and (absent or len(known.candidates(failure.path)) > 1):
        return "another version"
    if failure.number == errno.ESTALE and not failure.path:  # its directory was of one, the next part of another
        return "changed while it was entered"
    return ""


def _has(version: Mapping[str, File], path: str) -> bool:
    """Whether a version has a file or a directory of that name; the session's own is always there."""
    return not path or path in version or any(name.startswith(f"{path}/") for name in version)


def _told(log: str) -> dict[str, list[float]]:
    """When the daemon told of each session that something is wrong."""
    told: dict[str, list[float]] = collections.defaultdict(list)
    for line in log.splitlines():
        if line.startswith("{"):
            facts = json.loads(line)
            if facts["level"] != "info" and (found := _SESSION.search(facts["message"])):
                told[found.group()].append(datetime.fromisoformat(facts["time"]).timestamp())
    return told
