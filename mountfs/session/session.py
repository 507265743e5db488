"""One session: which snapshot it shows now, and how that changes.

``enter`` is what a directory listing or an open goes through. It answers the current snapshot while that is believed;
else it obtains one (first time), or revalidates (a live session whose belief has run out). Obtaining is one flight
however many wait, and it lingers: an archive that takes longer than a deadline is not started over for the next
visitor.

*Revalidation*: with a validator one conditional request, awaited at most ``lookup_timeout``; without one the old
snapshot is served and one whole refetch runs in the background, no sooner than ten times what the last one took. A
failed one keeps the old snapshot and logs a warning. The status is read *before* the archive, so a session that ends
is fetched once more after its end and only then believed for ever. While one of its directories is open, a session
keeps its snapshot (at most 10 min), so that what a copy reads belongs together.

Concurrency: trio task thread; every change of state is free of awaits.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

import trio

from mountfs.errors import MountfsError, NotReady, SnapshotLost, Unreachable
from mountfs.model import Phase, SessionInfo
from mountfs.session.download import Progress
from mountfs.session.keeping import Keeping
from mountfs.session.life import FOREVER, NOTHING, Belief, State, after_error, after_snapshot, refetch_after
from mountfs.session.opening import Opening
from mountfs.session.record import info_known, info_of
from mountfs.session.snapshot import Snapshot
from mountfs.session.surroundings import Surroundings
from mountfs.store import Address
from mountfs.transport import NotModified
from mountfs.tree.inodes import Numbering

log = logging.getLogger(__name__)

KEEP_WHILE_OPEN = 600.0
READY_POLL = 1.0  # while somebody waits for a session to become ready, it is asked for more often than ``pending``
NANOSECONDS = 10**9


class Session:
    """``info``: what the service last said of it, None if it was never asked. ``listed``/``pinned``: where we know it
    from."""

    def __init__(
        self, session_id: str, around: Surroundings, *, info: SessionInfo | None = None, cached: bool = False
    ) -> None:
        self.id = session_id
        self.around = around
        self.info = info
        self.cached = cached
        self.cached_info: SessionInfo | None = None
        self.belief: Belief = NOTHING
        self.current: Snapshot | None = None
        self.progress: Progress | None = None
        self.address = Address(around.provider.content_key, around.account, session_id)
        self.numbering = Numbering(around.account, around.provider.content_key, session_id)
        self.label = f"{around.provider.name}/{session_id}"
        self._keeping = Keeping(around, self.address, self.label)
        self._open_directories = 0
        self._kept_since = 0.0
        self.last_opening: dict[str, Any] | None = None
        self.refresh_error: MountfsError | None = None
        self._fetched_at = 0.0
        self._download_seconds = 0.0
        self._looked_in_cache = False
        self._checked_at = 0.0
        self._used_at = 0.0
        self._visitors = 0
        self._rested: Callable[[], Snapshot | None] = lambda: None
        self._mtime_seen = around.shop.wall()

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def mtime_ns(self) -> int:
        """The session directory's time: its end, its last change or its start; when we first saw it, if all are
        unknown."""
        info = self.info or self.cached_info
        seconds = (info.ended or info.modified or info.created) if info is not None else None
        return int((seconds or self._mtime_seen) * NANOSECONDS)

    def peek(self, now: float | None = None) -> Snapshot | None:
        """The current snapshot, if it may be shown without a word with the service. ``now``: by trio's clock, for who
        has looked at it."""
        if self.current is None:
            return None
        now = trio.current_time() if now is None else now
        if self.belief.holds(now) or self._kept(now):
            self._used_at = now
            return self.current
        return None

    def rest(self, idle: float) -> bool:
        """Lets go of a snapshot that was not used for ``idle`` seconds, so that the cache may evict it; answers whether
        it did. The next visitor finds it in the cache, or fetches it again; what is believed stays."""
        snapshot, flights = self.current, self.around.flights
        if snapshot is None or not snapshot.idle or trio.current_time() - self._used_at < idle:
            return False
        if self._open_directories or self._visitors or ("open", self.id) in flights or ("refresh", self.id) in flights:
            return False
        self.current = None
        self._rested = weakref.ref(snapshot)  # there is somebody to whom it matters as long as there are inodes of it
        snapshot.close()
        return True

    def _kept(self, now: float) -> bool:
        return self._open_directories > 0 and now - self._kept_since < KEEP_WHILE_OPEN

    def seconds_left(self) -> float:
        """How long the kernel may believe what it is told now."""
        if self.belief.until == FOREVER:  # asked for every name: a look at the clock is a tenth of a lookup
            return FOREVER
        now = trio.current_time()
        if self._kept(now):
            return max(self.belief.left(now), 1.0)
        return self.belief.left(now)

    @property
    def touched(self) -> bool:
        """Whether anything was ever asked or shown of it."""
        return self.current is not None or self.belief is not NOTHING or self.progress is not None

    def absent(self) -> bool:
        """Whether it is known, now, not to exist."""
        return self.belief.state is State.ABSENT and self.belief.holds(trio.current_time())

    def directory_opened(self) -> None:
        if self._open_directories == 0:
            self._kept_since = trio.current_time()
        self._open_directories += 1

    def directory_closed(self) -> None:
        self._open_directories -= 1

    # -- entering ------------------------------------------------------------------------------------------------

    async def enter(self) -> Snapshot:
        """The snapshot to show now, which the caller holds before its next await. Raises what design.md §2 has.

        What a flight answered may have been replaced, or let go, by the time its waiters run: so ``rest`` waits until
        they have all left, and each is given what is current then."""
        patience = trio.current_time() + self.around.freshness.ready_wait
        self._visitors += 1
        try:
            while self.peek() is None:
                try:
                    await self._enter()
                    break
                except NotReady:
                    now = trio.current_time()
                    if now >= patience:
                        raise
                    seen = self.belief
                    await trio.sleep(min(seen.left(now) or 0.1, READY_POLL, patience - now))
                    if self.belief is seen and seen.state is State.NOT_READY:
                        self.belief = NOTHING
        finally:
            self._visitors -= 1
        assert self.current is not None
        self._used_at = trio.current_time()
        return self.current

    async def _enter(self) -> None:
        """Sees to it that ``current`` may be shown."""
        if self.belief.error is not None and self.belief.holds(trio.current_time()):
            raise self.belief.error.again()
        if self.current is not None:
            await self._refresh(self.current)
        else:
            await self.around.flights.join(("open", self.id), self._first, linger=self.around.network.linger)

    def so_far(self) -> str:
        """What an opening has moved yet, for the line that is logged when a waiter gives up."""
        moved = self.progress.bytes if self.progress is not None else 0
        return f" ({moved} bytes so far, the transfer goes on for a while)" if moved else ""

    async def _first(self) -> None:
        """Nothing is shown yet: from the cache if it has it, else from the service."""
        try:
            if (cached := await self._from_cache()) is not None:
                self._show(cached)
                await self._revalidated()
                return
            if self.around.offline:
                raise Unreachable(f"{self.label}: not in the cache, and this mount is offline")
            snapshot = await self._from_service(None)
        except MountfsError as exc:
            self._failed(exc)
            raise
        self._show(snapshot)

    async def _revalidated(self) -> None:
        """A snapshot from the cache that was live when it was kept is believed as long as it would have been without a
        restart; then it is shown again after one look at the service, if it answers."""
        if self.belief.state is not State.TERMINAL:
            age = max(0.0, self.around.shop.wall() - self._checked_at)
            self.belief = Belief(self.belief.state, self.belief.until - age)
        if not self.belief.holds(trio.current_time()):
            assert self.current is not None
            await self._refresh(self.current)

    # -- from the service ----------------------------------------------------------------------------------------

    async def _from_service(self, old: Snapshot | None, *, anew: bool = False) -> Snapshot:
        """Asks for the status first, then for the archive; raises NotModified if ``old`` is still right (never with
        ``anew``). What another daemon on the same cache fetched meanwhile is taken from there; so it is recorded before
        the gate is opened. (Without an ``old`` the cache had nothing a moment ago: what is there now was fetched
        since.)"""
        began = trio.current_time()
        deadline = began + self.around.network.deadline
        since = 0.0 if old is None else self.around.shop.wall()
        opening = self._opening()
        async with opening.gate():
            if (cached := await self._from_cache(since=since)) is not None:
                return cached
            snapshot = await self._ask_service(old, opening, began, deadline, anew=anew)
            await self._record(snapshot)
            return snapshot

    async def _ask_service(
        self, old: Snapshot | None, opening: Opening, began: float, deadline: float, *, anew: bool
    ) -> Snapshot:
        provider = self.around.provider
        info = self.info
        if info is None or (old is not None and info.phase is Phase.LIVE):
            info = await self.around.status(self.id, self.info, deadline, keep=old is not None)
        if old is None:
            self.info = info  # also for an archive that fails: how long that is believed depends on the phase
        source = await provider.source(self.id, deadline=deadline)
        # What a reply called lost is not asked for by its validator: a server that contradicts itself (304, and then a
        # part that proves nothing) would be asked for parts for ever, where all of it can be had.
        anew = anew or (old is not None and old.content.lost)
        known = old.validator if old is not None and not anew and old.validator.agrees(old.validator) else None
        self.progress = opening.progress
        outcome = "failed"
        try:
            snapshot = await opening.obtain(source, known=known)
            outcome = "obtained"
        except NotModified:
            self.info = info  # it may have ended since, with the archive we have
            outcome = "unchanged"
            raise
        finally:
            self.progress = None
            now = trio.current_time()
            self._fetched_at, self._download_seconds = now, now - began
            self.last_opening = opening.progress.facts(self.around.shop.wall(), now - began, outcome)
        self.info = info
        return snapshot

    def _opening(self) -> Opening:
        shop, shape = self.around.shop, self.around.provider.shape
        return Opening(
            shop, self.address, self.label, shape, self.numbering, self.mtime_ns, self._lost, self._member_failed
        )

    # -- refreshing ----------------------------------------------------------------------------------------------

    async def _refresh(self, old: Snapshot) -> None:
        """One look whether ``old`` is still right; it stays if that takes too long or fails."""
        if self.around.offline:
            return
        key = ("refresh", self.id)
        if old.validator.agrees(old.validator) or self._is_file_list(old):
            with trio.move_on_after(self.around.network.lookup_timeout) as scope:
                await self.around.flights.join(key, lambda: self._look(old), linger=self.around.network.linger)
            if scope.cancelled_caught:  # it goes on; that it takes long is not waited out by everybody who comes
                self.belief = Belief(State.LIVE, trio.current_time() + self.around.freshness.live)
            return
        due = self._fetched_at + refetch_after(self.around.freshness, self._download_seconds)
        if trio.current_time() >= due:
            self.around.flights.launch(key, lambda: self._look(old))
        else:
            self.belief = Belief(State.LIVE, due)

    @staticmethod
    def _is_file_list(old: Snapshot) -> bool:
        return not hasattr(old.content, "archive")

    async def _look(self, old: Snapshot, *, anew: bool = False) -> None:
        self.refresh_error = None
        try:
            new = await self._from_service(old, anew=anew)
        except NotModified:
            await self._stays(old)
            return
        except MountfsError as exc:
            log.warning("%s: could not be refreshed, the old contents are shown: %s", self.label, exc)
            self.refresh_error = exc
            self.belief = Belief(State.LIVE, trio.current_time() + self.around.freshness.live)
            return
        current = self.current
        if current is not None and await self._same(current, new):
            if current.name != new.name:  # a second copy is not kept, but what to ask with next is
                current.validator = new.validator
                await self._record(current)
                await self.around.shop.workers.disk(self.around.shop.store.drop, new.content.kept)
            new.close()
            await self._stays(current)
            return
        if current is not None:
            new.replaces(current)
        self._show(new)

    async def _stays(self, current: Snapshot) -> None:
        """The service says that ``current`` is right. That it is final now outlives a restart."""
        was_final = self.belief.state is State.TERMINAL
        current.content.ask_again()
        self.belief = self._belief_of(current)
        if self.belief.state is State.TERMINAL and not was_final:
            await self._record(current)

    async def _same(self, current: Snapshot, new: Snapshot) -> bool:
        """Whether what is shown can stay: the same version, or a whole archive with the same members. (One that still
        needs ranges must be shown under its new version: the old one's are not to be had any more.) One with damaged
        members cannot stay."""
        if current.content.dead:
            return False
        if current.name == new.name:
            return True
        return current.whole and await self.around.shop.workers.cpu(current.same_members, new)

    def _show(self, new: Snapshot) -> None:
        """``new`` is current from now on; the old one lives on for those who have it open."""
        if odd := new.oddities():
            log.warning("%s: odd members of its archive: %s", self.label, odd)
        old = self.current or self._rested()
        if old is not None and old.closed and old.reopened(new):
            new = old
        self.current = new
        self._used_at = trio.current_time()
        self.cached = True
        self.belief = self._belief_of(new)
        if old is not None and old is not new:
            old.superseded = True
            if old.handles == 0:
                old.close()
            self.around.changed(self, old, new)

    def _belief_of(self, snapshot: Snapshot) -> Belief:
        return after_snapshot(
            members=snapshot.namespace.files + snapshot.namespace.directories - 1,
            info=self.info or SessionInfo(self.id, Phase.LIVE),
            freshness=self.around.freshness,
            now=trio.current_time(),
            wall=self.around.shop.wall(),
        )

    def _failed(self, error: MountfsError) -> None:
        phase = self.info.phase if self.info is not None else Phase.LIVE
        self.belief = after_error(error, phase, self.around.freshness, trio.current_time())
        error.tell()
        log.warning("%s: %s", self.label, error)

    def _lost(self, error: SnapshotLost) -> None:
        """The archive changed under a reader: the next open looks for the new one."""
        error.tell()
        log.warning("%s", error)
        if self.belief.error is None:
            self.belief = Belief(State.LIVE, 0.0)

    def _member_failed(self, name: str, index: int, error: MountfsError) -> None:
        error.tell()
        log.error("%s: %s", self.label, error)
        snapshot = self.current
        if snapshot is not None and snapshot.name == name:
            snapshot.note_dead(index, trio.current_time() + self.around.freshness.failing)
            self.around.changed(self, snapshot, snapshot)

    # -- the cache -----------------------------------------------------------------------------------------------

    async def _from_cache(self, *, since: float | None = None) -> Snapshot | None:
        """What the cache has, if it was fetched no earlier than ``since`` (seconds since 1970)."""
        if self._looked_in_cache and not self.cached and since is None:
            return None
        self._looked_in_cache = True
        facts = await self._keeping.load(since or 0.0)
        if facts is None:
            return None
        self._checked_at = float(facts.get("checked") or 0)
        self.info = info_known(self.info, info_of(self.id, facts))
        try:
            return await self._keeping.reopen(self._opening(), facts)
        except MountfsError as exc:
            log.warning("%s: what the cache has cannot be used: %s", self.label, exc)
            return None

    async def _record(self, snapshot: Snapshot) -> None:
        """Records in the cache what is, or is about to be, shown."""
        info = self.info or SessionInfo(self.id, Phase.LIVE)
        final = info.phase is Phase.TERMINAL and self._belief_of(snapshot).state is not State.EMPTY
        await self._keeping.save(info, snapshot, form="files" if self._is_file_list(snapshot) else "zip", final=final)

    def forget(self) -> None:
        """What is believed is forgotten; a snapshot stays for those who read it."""
        self.belief = NOTHING
        if self.current is not None:
            self.current.content.ask_again()
        self.info = None if self.around.provider.has_status else self.info

    async def renew(self) -> None:
        """``mountfs refresh``: looks at the service now, whatever is believed. Raises what that raises."""
        self.forget()
        old = self.current
        if old is None or self.around.offline:
            await self.enter()
            return
        anew = not old.revive_all()  # what came damaged with all the rest is to be had only with all of it
        await self.around.flights.join(("refresh", self.id), lambda: self._look(old, anew=anew))
