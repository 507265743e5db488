"""The bytes of one version of one archive: a local sparse file, and the transfers that fill it.

*One rule:* whoever needs bytes says which (``ensure``) and is woken when they are here. What is here is never fetched
again while it is cached; what is under way is joined; what is missing is fetched in as few requests as ``window.py``
thinks right. A transfer writes in order and wakes those whose bytes have come, so a reader never waits for the rest
of a window.

*Ranges* are joined only under a strong validator, sent as ``If-Match`` and compared on every reply; a reply of another
version is ``SnapshotLost`` for the bytes that are missing. Without ranges the archive was fetched whole
(``opening.py``) before anybody could ask, and ``ensure`` finds nothing missing.

*Two daemons:* a transfer claims its span in the store (a lock that dies with its process). A span claimed elsewhere is
waited for, looking at the shared map, so it is downloaded once.

*Nobody left:* when no handle, inflater or wait is interested any more, transfers go on for ``IDLE_LINGER`` and stop.

Concurrency: state changes on the trio task thread, without an await inside; disk work through ``Workers``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from mountfs.archive import window
from mountfs.archive.local import Local
from mountfs.archive.transfer import Failures, Patience, Transfer, Waiter
from mountfs.errors import DeadlineExceeded, MountfsError, ServiceError, ServiceFailed, SnapshotLost
from mountfs.model import Span, Validator
from mountfs.providers import ZipSource
from mountfs.store import Snapshot as Kept
from mountfs.transport import Body
from mountfs.workers import Workers

log = logging.getLogger(__name__)

FLUSH = 512 << 10  # bytes gathered before a write: a thread hop costs 60-100 µs, a 512 KiB write 150 µs
BLOCK = 4096  # the store's map counts in these: a transfer cut short is cut on one
IDLE_LINGER = 1.0  # between two files of one ``cp -r`` nobody is interested for a moment
HEARD = 0.25  # a failure is believed at least until those who wait for the bytes have heard of it
CLAIM_POLL = 0.05  # how often another daemon's progress is looked at
SLOW_WAIT = 1.0  # a need this far (seconds) down a running transfer gets a transfer of its own


class Archive(Local):
    """One archive version. ``total``: its length in bytes. Built by ``opening.py``; closed by its snapshot.
    ``came_whole``: in one body, so no part of it can be asked for again."""

    def __init__(
        self,
        kept: Kept,
        source: ZipSource | None,
        *,
        total: int,
        validator: Validator,
        label: str,
        nursery: trio.Nursery,
        workers: Workers,
        patience: Patience,
        on_lost: Callable[[SnapshotLost], None],
        make_room: Callable[[], bool],
    ) -> None:
        super().__init__(kept, workers, label, make_room)
        self.total = total
        self.validator = validator
        self.source = source
        self.on_lost = on_lost
        self.lost: SnapshotLost | None = None
        self.walk = window.Walk(0)
        self.neighbours = window.Stream()
        self._nursery = nursery
        self._patience = patience
        self._transfers: list[Transfer] = []
        self._waiters: list[Waiter] = []
        self._failures = Failures()
        self._interest = 0
        self._opened: int | None = None
        self.route: Callable[[int, int | None], Iterator[Span]] | None = None
        """Where the members lie that a walk is expected to open after one, given the one before it."""
        self.walked: Callable[[int, int], bool] | None = None
        """Whether only a walk would open a member right after another."""
        self.latency = 0.0
        """Seconds to the first byte of a request, as of late."""
        self.fetched_bytes = 0
        self.came_whole = False
        self.told_by_opener = True
        """While the directory is being read, whoever opens the archive tells what failed; afterwards we do."""
        self._pouring: trio.Event | None = None

    # -- interest ------------------------------------------------------------------------------------------------

    @contextmanager
    def interested(self) -> Iterator[None]:
        """Keeps transfers going while somebody has the archive open."""
        self.retain()
        try:
            yield
        finally:
            self.let_go()

    def retain(self) -> None:
        self._interest += 1
        for transfer in self._transfers:
            transfer.scope.deadline = math.inf

    def let_go(self) -> None:
        self._interest -= 1
        if self._interest == 0:
            for transfer in self._transfers:
                transfer.scope.deadline = trio.current_time() + IDLE_LINGER

    @property
    def interest(self) -> int:
        return self._interest

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        return tuple(self._transfers)

    # -- needing -------------------------------------------------------------------------------------------------

    async def ensure(self, need: Span, *, ahead: int = 0, parallel: int = 1) -> None:
        """Returns when all of ``need`` is here. ``ahead``: bytes beyond it worth fetching, in ``parallel`` transfers.

        Raises the error of the transfer that failed, SnapshotLost if the archive changed, and nothing about time:
        deadlines are the caller's cancel scopes.
        """
        if need.stop > self.total or need.start < 0:
            raise ServiceFailed(f"{self.label}: the archive ends before byte {need.stop}")
        if not self.missing(need):
            if ahead:
                self.run_ahead(need, ahead, parallel)
            return
        waiter = Waiter(need, trio.Event())
        self._waiters.append(waiter)
        self.walk.begin_wait(trio.current_time())
        self.retain()
        try:
            while holes := self.missing(need):
                self._raise_believed(holes)
                self._fetch(self._plan(holes, need), demand=True)
                if ahead:
                    self.run_ahead(need, ahead, parallel)
                await self._wait(waiter, need)
        finally:
            self._waiters.remove(waiter)
            self.walk.end_wait(trio.current_time())
            self.let_go()

    async def _wait(self, waiter: Waiter, need: Span) -> None:
        """Waits for news; now and then looks whether a slow transfer should leave the need to a faster one."""
        with trio.move_on_after(SLOW_WAIT) as patience:
            await waiter.event.wait()
        waiter.event = trio.Event()
        if not patience.cancelled_caught:
            return
        now = trio.current_time()
        for transfer in self._transfers:
            if transfer.at < need.start < transfer.stop and transfer.seconds_to(need.start, now) > SLOW_WAIT:
                transfer.stop = need.start // BLOCK * BLOCK

    def _plan(self, holes: list[Span], need: Span) -> list[Span]:
        """Which spans to fetch for ``need``: the whole of a small archive, a walk's chunks, or just the holes."""
        if self.total <= window.SMALL_ARCHIVE:
            return [Span(0, self.total)]
        if self.walk.under_way(trio.current_time()):
            chunk = self.walk.chunks(need, self.total)
            return [Span(need.start, chunk.stop), Span(chunk.start, need.start)]  # what is waited for comes first
        return holes

    def want_member(self, index: int, span: Span, *, listed: bool) -> int:
        """Notes that a member is being opened whose bytes are not here; answers how many bytes beyond its span are
        worth fetching."""
        self.note_open(index, span, listed=listed)
        return self.neighbours.step(span, self.latency)

    def note_open(self, index: int, span: Span, *, listed: bool) -> None:
        """Every open feeds the walk, also one whose bytes are here: else a walk that is served well would be taken for
        one that has ended."""
        if self.complete:
            self.walk.end()
            return
        now = trio.current_time()
        before, walk = self._opened, self.walk
        possible = self.source is not None and self.lost is None
        sure = False
        if possible and listed and before is not None and self.walked is not None and not walk.running:
            sure = walk.recent(before, now) and not walk.recent(index, now) and self.walked(index, before)
        walk.open(index, span, listed=listed, now=now, sure=sure)
        if not possible or not walk.under_way(now):
            self.walk.end()
        else:
            if not self.walk.running or self.uncovered(span):
                expected = self.route(index, before) if self.route else None
                self.walk.turn(span.start, self.total, expected, self.latency)
            self._walk_ahead()
        self._opened = index

    @property
    def parallel(self) -> int:
        """How many transfers at a time: more where a request waits long for its first byte."""
        return window.FAR_PARALLEL if self.latency > window.FAR else window.PARALLEL

    def parallel_for(self, stream: window.Stream) -> int:
        """How many windows of a stream at a time."""
        return self.parallel if stream.at_largest else 1

    def _walk_ahead(self) -> None:
        """Keeps as many chunks of a walk on their way."""
        if self._failures.believed(trio.current_time()):
            return  # whoever waits for something asks again first
        while len(self._transfers) < self.parallel:
            chunk = self.walk.next_chunk(self.total, self.parallel, lambda span: bool(self.uncovered(span)))
            if chunk is None or not self._fetch([chunk], demand=False):
                return

    def run_ahead(self, need: Span, ahead: int, parallel: int) -> None:
        """Keeps the windows after ``need`` on their way: whole ones, each started once less than half of what lies
        before it is left, so that small steps of a reader do not become small requests."""
        if parallel == 1:
            half = Span(need.stop, min(self.total, need.stop + ahead // 2))
            if self.uncovered(half):
                self._fetch([Span(need.stop, min(self.total, need.stop + ahead))], demand=False)
            return
        first = need.stop // ahead
        for number in range(first, first + parallel):
            start, stop = max(number * ahead, need.stop), min((number + 1) * ahead, self.total)
            if start < stop:
                self._fetch([Span(start, stop)], demand=False)

    def uncovered(self, *spans: Span) -> list[Span]:
        """The parts of ``spans`` that are neither here nor under way."""
        holes = [hole for span in spans for hole in self.missing(span)]
        return window.subtract(holes, [transfer.rest for transfer in self._transfers]) if holes else []

    # -- transfers -----------------------------------------------------------------------------------------------

    def _fetch(self, spans: list[Span], *, demand: bool) -> int:
        """Starts transfers for what of ``spans`` is neither here nor under way; answers how many were started."""
        if self.source is None or self.lost is not None:
            return 0
        before = len(self._transfers)
        for span in spans:  # one by one: where two touch, somebody waits for the second alone
            for hole in self.uncovered(span):
                transfer = Transfer(hole.start, hole.stop, trio.current_time(), demand, at=hole.start)
                self._transfers.append(transfer)
                self._nursery.start_soon(self._carry, transfer)
        return len(self._transfers) - before

    def ask_again(self) -> None:
        """What failed, or was said to be lost, may be asked for again."""
        self.lost = None
        self._failures.clear()

    def _raise_believed(self, holes: list[Span]) -> None:
        """Raises the failure believed of any of ``holes``, so that a deadline is not paid twice."""
        if self.lost is not None:
            raise self.lost.again()
        if self.source is None:
            raise SnapshotLost(f"{self.label}: these bytes are not in the cache and this is offline")
        self._failures.raise_one_of(holes, trio.current_time())

    async def _carry(self, transfer: Transfer) -> None:
        """One transfer from start to end, resumed where it broke off."""
        error: MountfsError | None = None
        try:
            with transfer.scope:
                await self._claimed(transfer)
        except SnapshotLost as exc:
            if self.lost is None:  # its other transfers meet the same: one line in the log is enough
                self.lost = exc
                self.on_lost(exc)
        except MountfsError as exc:
            error = exc
        except Exception:  # background work has no handler's guard above it: a bug here must not end the mount
            log.exception("%s: a transfer failed inside mountfs", self.label)
            error = MountfsError(f"{self.label}: a transfer failed inside mountfs", advice="see the log, report it")
            error.tell()
        finally:
            self._transfers.remove(transfer)
            if error is not None and transfer.at < transfer.stop:
                until = trio.current_time() + max(self._patience.failing, HEARD)
                self._failures.add(transfer.rest, error, until)
                waited = any(window.touch(w.need, transfer.rest) for w in self._waiters)
                if not self.told_by_opener and waited and error.tell():
                    log.warning("%s: bytes %d-%d: %s", self.label, transfer.at, transfer.stop, error)
            self._wake_all()
        if error is None and self._interest and self.walk.running:
            self._walk_ahead()

    async def _claimed(self, transfer: Transfer) -> None:
        """Waits until no other daemon fetches this span, then fetches what it left."""
        while transfer.at < transfer.stop:
            claim = self.kept.claim(transfer.rest)
            if claim is not None:
                with claim:
                    for hole in self.missing(transfer.rest):
                        transfer.at = hole.start
                        if hole.start < transfer.stop:
                            await self._resume(transfer, min(hole.stop, transfer.stop))
                    transfer.at = max(transfer.at, transfer.stop)
                return
            await trio.sleep(CLAIM_POLL)
            self.kept.refresh()
            self._wake_all()
            if not self.missing(transfer.rest):
                transfer.at = transfer.stop

    async def _resume(self, transfer: Transfer, stop: int) -> None:
        """Fetches [transfer.at, stop), going on with a new range where a body broke off."""
        failures = 0
        while transfer.at < min(stop, transfer.stop):
            before = transfer.at
            try:
                await self._request(transfer, Span(transfer.at, min(stop, transfer.stop)))
            except (ServiceFailed, DeadlineExceeded) as exc:
                failures = 1 if transfer.at > before else failures + 1
                if failures > self._patience.retries or exc.status is not None:
                    raise
                await trio.sleep(self._patience.pause(failures))

    async def _request(self, transfer: Transfer, span: Span) -> None:
        assert self.source is not None
        asked = trio.current_time()
        deadline = asked + self._patience.deadline
        async with self.source.open(span, pin=self.validator, deadline=deadline) as body:
            took = trio.current_time() - asked
            # What waits behind our own transfers, or for a new URL, is not farther away: less is believed at once.
            self.latency = min(took, self.latency + (took - self.latency) / 8) if self.latency else took
            self._check(body, span)
            if body.partial:
                await self.pour(body, transfer)
                return
            if self._pouring is None:
                await self._pour_whole(body, transfer)
                return
            pouring = self._pouring
        await pouring.wait()
        transfer.at = min((hole.start for hole in self.missing(transfer.rest)), default=transfer.stop)

    def _check(self, body: Body, span: Span) -> None:
        """A reply that is not this version, or not this span, must not be joined."""
        same = self.validator.agrees(body.validator) and body.total in {None, self.total}
        if not same or body.encoded:
            raise SnapshotLost(
                f"{self.label}: the archive changed while it was being read",
                advice="open the file again to get the new version",
            )
        if body.partial and body.start != span.start:
            raise ServiceFailed(f"{self.label}: asked for byte {span.start}, the reply starts at {body.start}")

    async def _pour_whole(self, body: Body, transfer: Transfer) -> None:
        """All of the same version came where a part was asked for: kept from first to last, so it is asked for once.
        Other transfers wait for it meanwhile."""
        self._pouring = trio.Event()
        whole = Transfer(0, self.total, trio.current_time(), demand=True)
        try:
            await self.pour(body, whole)
        finally:
            self._pouring.set()
            self._pouring = None
            if whole.at > transfer.at:
                transfer.at = min(whole.at, transfer.stop)

    async def pour(self, body: Body, transfer: Transfer) -> None:
        """Writes a body as it comes: in batches, but at once when it completes somebody's need."""
        buffer = memoryview(bytearray(max(BLOCK, min(FLUSH, transfer.stop - transfer.at))))
        size = 0
        try:
            while count := await body.read_into(buffer[size:]):
                size += count
                at = transfer.at + size
                if size == len(buffer) or self._completes(transfer.at, at) or at >= transfer.stop:
                    await self._flush(transfer, buffer[:size])
                    size = 0
                    if transfer.at >= transfer.stop:
                        return
        except ServiceError:
            if size:  # what came before a break counts
                await self._flush(transfer, buffer[:size])
            raise
        if size:
            await self._flush(transfer, buffer[:size])

    def _completes(self, start: int, stop: int) -> bool:
        return any(start < waiter.need.stop <= stop for waiter in self._waiters)

    async def _flush(self, transfer: Transfer, data: memoryview) -> None:
        data = data[: max(0, transfer.stop - transfer.at)]
        await self.put(transfer.at, data)
        transfer.at += len(data)
        self.fetched_bytes += len(data)
        self.walk.fetched += len(data)
        self._wake()

    def _wake(self) -> None:
        """Wakes those whose need is complete."""
        for waiter in self._waiters:
            if not waiter.event.is_set() and not self.missing(waiter.need):
                waiter.event.set()

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            waiter.event.set()

    def close(self) -> None:
        """Ends the transfers and lets the local file go."""
        self.route = self.walked = None
        self.walk.end()  # its iterator holds the snapshot that foretells, and that holds us
        for transfer in self._transfers:
            transfer.scope.cancel()
        self.close_local()

    def failures(self) -> list[ServiceError]:
        """What is believed of this archive's transfers now, for ``why`` and ``status``."""
        return self._failures.believed(trio.current_time())
