"""Waiting, in one place: under a deadline, ended by a caller's signal, and counted.

The kernel cannot deliver a signal to a program stuck in lookup, open or opendir before we reply; so while such a
request waits, its caller's pending signals are looked at. Nor can a program be killed in a READ that it waits for
itself (O_DIRECT, or the second attempt at a page): so a READ whose opener is dying is answered. It must be dying: an
error for a signal that is handled would be one to read(2), and SIGBUS to mmap(2).

READs are background requests, a few at a time for the whole mount: where that number is small and one provider holds
most of it without news, its oldest read is given up, so that others' page cache can be filled (design.md §2). What
failed or was slow is remembered for ``why``.

Concurrency: trio task thread.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import trio

from mountfs.errnos import name_of
from mountfs.errors import CallerError, DeadlineExceeded, Interrupted, MountfsError
from mountfs.filesystem.nodes import Caller, OpenFile
from mountfs.model import REQUEST, Inode, Request

log = logging.getLogger(__name__)
T = TypeVar("T")

SIGNAL_POLL = 0.25
LOOKS = 4
"""Callers looked at in one go, those first that were not looked at for the longest time."""
LEAST_PAUSE = 0.002
"""Seconds between two goes: beyond 500 callers each is looked at less often, rather than the loop kept busy."""
STUCK = 10.0
SLOW = 1.0
EVENTS = 500
FEW = 256  # with more background requests than this, stuck readers do not matter to others
KERNEL_DEFAULT = 12
GRACE = 0.5  # seconds: at a deadline, what was being waited for says more of why than the wait does


def note_request(record: logging.LogRecord) -> bool:
    """A filter for log handlers: what is logged while working for a request bears it."""
    record.request = REQUEST.get()
    return True


@dataclass(frozen=True, slots=True)
class Event:
    """A wait that failed or was slow. ``at``: seconds since 1970; ``seconds``: how long it took."""

    label: str
    pid: int
    at: float
    seconds: float
    error: MountfsError | None

    def facts(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "path": self.label,
            "pid": self.pid,
            "at": self.at,
            "seconds": round(self.seconds, 3),
            "errno": name_of(self.error) if self.error is not None else "",
            "message": self.error.message if self.error is not None else "slow",
            "advice": self.error.advice if self.error is not None else "",
        }


@dataclass(eq=False, slots=True)
class _Wait:
    caller: Caller
    scope: trio.CancelScope
    since: float
    request: Request
    signalled: bool = False

    def told_to_stop(self) -> bool:
        return self.caller.interrupted()

    def look(self) -> None:
        """Ends it if its caller was told to stop."""
        if self.told_to_stop():
            self.signalled = True
            self.scope.cancel()


@dataclass(eq=False, slots=True)
class _PendingRead(_Wait):
    provider: str = ""

    def told_to_stop(self) -> bool:
        return self.caller.dying()


class Waiting:
    """``deadline``: seconds one file-system request may take. ``wall``: seconds since 1970, for events."""

    def __init__(self, deadline: float, wall: Callable[[], float]) -> None:
        self.max_background = 0
        """READs the kernel sends at a time; 0 while unknown."""
        self._deadline = deadline
        self._wall = wall
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._waiting_in: Counter[Inode] = Counter()
        self._waits: dict[_Wait, None] = {}
        """Reads too; those first that were not looked at for the longest time."""
        self._reads: list[_PendingRead] = []
        self._numbers = itertools.count(1)

    async def wait(
        self,
        caller: Caller,
        work: Callable[[], Awaitable[T]],
        label: str,
        where: Inode,
        *,
        seconds: float | None = None,
        so_far: Callable[[], str] = str,
    ) -> T:
        """``work`` under the deadline of one request, ended by a signal pending for the caller. ``so_far``: what is
        said of it when it is given up."""
        seconds = self._deadline if seconds is None else seconds
        with self._request(caller.pid, label) as request:
            return await self._wait(request, caller, work, where, seconds=seconds, so_far=so_far)

    @contextmanager
    def _request(self, pid: int, label: str) -> Iterator[Request]:
        request = Request(next(self._numbers), pid, label)
        token = REQUEST.set(request)
        try:
            yield request
        finally:
            REQUEST.reset(token)

    async def _wait(
        self,
        request: Request,
        caller: Caller,
        work: Callable[[], Awaitable[T]],
        where: Inode,
        *,
        seconds: float,
        so_far: Callable[[], str],
    ) -> T:
        label, began = request.label, trio.current_time()
        wait = _Wait(caller, trio.CancelScope(deadline=began + seconds + GRACE), began, request)
        self._waits[wait] = None
        self._waiting_in[where] += 1
        error: MountfsError | None = None
        try:
            with wait.scope:
                return await work()
        except MountfsError as exc:
            error = exc
            raise
        finally:
            del self._waits[wait]
            self._waiting_in[where] -= 1
            if not self._waiting_in[where]:
                del self._waiting_in[where]
            if not wait.scope.cancelled_caught:
                self._note(label, caller.pid, began, error)
        error = self._given_up(label, seconds, so_far(), signalled=wait.signalled)
        self._note(label, caller.pid, began, error)
        raise error

    async def watch_callers(self) -> None:
        """Ends the waits of callers that have a signal pending. One task for all of them: a wait costs no task.

        A look takes 15-40 us, and 300 of them in a row would hold up everybody else's requests for 10 ms: so they are
        spread over the time between two looks at the same one."""
        while True:
            await trio.sleep(max(SIGNAL_POLL * LOOKS / max(len(self._waits), LOOKS), LEAST_PAUSE))
            for wait in list(itertools.islice(self._waits, LOOKS)):
                wait.look()
                self._waits[wait] = self._waits.pop(wait)  # to the end

    def look_at(self, pid: int) -> None:
        """The kernel says that this caller has a signal pending: its waits are looked at now."""
        for wait in self._waits:
            if wait.caller.pid == pid:
                wait.look()

    @staticmethod
    def _given_up(label: str, seconds: float, so_far: str, *, signalled: bool) -> MountfsError:
        if signalled:
            return Interrupted(f"{label}: the caller was told to stop")
        return DeadlineExceeded(
            f"{label}: no answer within {seconds:g} s{so_far}",
            advice=f"run 'mountfs fetch {label}' for a large session, or raise network.deadline",
        )

    def waits_in(self, inode: Inode) -> bool:
        """Whether a request waits in this directory: the kernel holds its lock, so it must not be invalidated now."""
        return inode in self._waiting_in

    async def read(self, opened: OpenFile, offset: int, size: int, caller: Caller) -> bytes | memoryview:
        """A read that is not at hand, under the deadline of one request."""
        with self._request(caller.pid, opened.label) as request:
            return await self._read(request, opened, offset, size, caller)

    async def _read(
        self, request: Request, opened: OpenFile, offset: int, size: int, caller: Caller
    ) -> bytes | memoryview:
        began = trio.current_time()
        scope = trio.CancelScope(deadline=began + self._deadline + GRACE)
        provider = opened.session.around.provider.name
        pending = _PendingRead(caller, scope, began, request, provider=provider)
        self._reads.append(pending)
        self._waits[pending] = None
        failure: MountfsError | None = None
        try:
            with pending.scope:
                return await opened.reader.read(offset, size)
        except MountfsError as exc:
            failure = exc
            raise
        finally:
            self._reads.remove(pending)
            del self._waits[pending]
            if not scope.cancelled_caught:
                self._note(opened.label, request.pid, began, failure)
        if pending.signalled:
            raise Interrupted(f"{opened.label}: its reader is dying")
        error = DeadlineExceeded(
            f"{opened.label}: bytes {offset}-{offset + size} did not come within {trio.current_time() - began:.0f} s",
            advice="the service is slow or stuck: 'mountfs why' tells; network.deadline is the bound",
        )
        self._note(opened.label, request.pid, began, error)
        raise error

    async def watch_reads(self) -> None:
        """While max_background is small and more than half of it waits on one provider without news, the oldest goes.

        READs are background requests, a few at a time for the whole mount: readers stuck on one provider would keep
        everybody else's page cache from being filled (design.md §2)."""
        while True:
            await trio.sleep(1.0)
            room = self.max_background or KERNEL_DEFAULT
            by_provider = Counter(pending.provider for pending in self._reads)
            for provider, count in by_provider.items():
                if count * 2 <= room or room > FEW:
                    continue
                mine = [pending for pending in self._reads if pending.provider == provider]
                oldest = min(mine, key=lambda pending: pending.since)
                if trio.current_time() - oldest.since > STUCK:
                    oldest.scope.cancel()

    def _note(self, label: str, pid: int, began: float, error: MountfsError | None) -> None:
        """Remembers a wait that failed or was slow, and tells of a failure that was not told where it was found: none
        is without a line in the log, but for what is the caller's own fault."""
        if error is not None and not isinstance(error, CallerError) and error.tell():
            log.warning("%s: %s", label, error)
        seconds = trio.current_time() - began
        if error is not None or seconds >= SLOW:
            self._events.append(Event(label, pid, self._wall(), seconds, error))

    def events(self, path: str) -> list[dict[str, object]]:
        """The last failed or slow waits at or under ``path``, the newest first."""
        return [event.facts() for event in reversed(self._events) if (event.label + "/").startswith(path + "/")]

    def pending(self) -> list[dict[str, object]]:
        """Every request that waits now, the oldest first; as JSON values."""
        now = trio.current_time()
        waiting = [(each.since, each.request) for each in self._waits]
        return [
            {"request": request.number, "pid": request.pid, "path": request.label, "seconds": round(now - since, 3)}
            for since, request in sorted(waiting)
        ]

    def statistics(self) -> dict[str, int]:
        """How many wait now."""
        return {"waiting": sum(self._waiting_in.values()), "pending_reads": len(self._reads)}
