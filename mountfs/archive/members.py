"""Members of a zip as readers: the way from an index of the directory to checked bytes.

*Small members* (up to 1 MiB both ways) are fetched with their local header in one range, inflated whole and checked
before their first byte is shown; the result lives in the memory cache all sessions share. *Large compressed* ones are
inflated progressively into a spool (``content.Progressive``). *Large stored* ones are read from the archive's local
file, and checked as soon as all their bytes have been here.

*A member that failed its check* is dead: every later read under its inode fails with the same error. ``revive``
forgets its local bytes and raises its salt, which gives it a new inode, before anything of it is fetched again.

Concurrency: state changes on the trio task thread; inflating and disk reads through ``Workers``.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator, MutableMapping

import trio

from mountfs.archive import window
from mountfs.archive.checks import Burial, Checks
from mountfs.archive.pump import STEP, InflatePump, tell_trailing
from mountfs.archive.readers import Deferred, Stored
from mountfs.archive.transfers import Archive
from mountfs.caches import Flights
from mountfs.content import SMALL, FileReader, InMemory, Progressive, Reader, Ring, Shared, open_sink
from mountfs.errors import ArchiveError, MemberDamaged, MountfsError
from mountfs.model import Kind, Member, Span
from mountfs.store import Snapshot as Kept
from mountfs.tree import MemberList
from mountfs.zipformat import (
    Directory,
    ZipLimits,
    data_start,
    ensure_readable,
    header_length,
    inflate_counted,
    inflate_quick,
    printable,
)

log = logging.getLogger(__name__)

STORED = 0  # APPNOTE 4.4.5
READY = 64  # inflaters kept where they stopped (about 50 KiB each), so that a later reader goes on from there
INLINE = 64 << 10  # inflating this much takes 100 us, a hop to a thread and back 60-100 us
READY_RINGS = 4  # of those that go through memory, 9 MiB each


class ZipContent:
    """The members of one archive version. ``failed``: told of every member that failed (index, error).
    ``largest``: bytes of the largest member worth a file in the cache."""

    def __init__(
        self,
        archive: Archive,
        directory: Directory,
        *,
        key: Hashable,
        memory: MutableMapping[Hashable, bytes],
        nursery: trio.Nursery,
        largest: int,
        limits: ZipLimits,
        failed: Callable[[int, MountfsError], None],
    ) -> None:
        self._limits = limits
        self.archive = archive
        self.members = directory
        self.dead: dict[int, MemberDamaged] = {}
        self.salts: dict[int, int] = {}
        self._key = repr(key)  # a string knows its hash; hashing the address anew cost 20 us an open
        self._inline = min(INLINE, limits.max_member_size)
        self._memory = memory
        self._nursery = nursery
        self._flights = Flights(nursery)
        self._largest = largest
        self._data_spans: dict[int, Span] = {}
        self._progressive: OrderedDict[int, Progressive] = OrderedDict()
        # Not a method: that would be a cycle, and each rest of a session leave all that was read from to the garbage
        # collector (600 of them under load).
        self._bury = Burial(self.dead, memory, self._key, failed)
        self.checks = Checks(archive, self._flights, self._bury)
        self._told: set[int] = set()
        self._sound = bytearray(len(directory))
        """1 for a small member that passed its check in this process."""
        archive.walk = window.Walk(len(directory))

    @property
    def kept(self) -> Kept:
        """Its part of the store."""
        return self.archive.kept

    @property
    def busy(self) -> bool:
        """Whether anything of it is being read, fetched, inflated or checked."""
        archive = self.archive
        at_work = archive.interest or archive.transfers or len(self._flights)
        return bool(at_work) or not all(shared.idle for shared in self._progressive.values())

    # -- opening -------------------------------------------------------------------------------------------------

    def peek_open(self, index: int, *, listed: bool) -> Reader | None:
        """A reader at once, if the member is small and its bytes can be had without waiting; else None."""
        if index in self.dead:
            return None
        archive = self.archive
        data = self._memory.get((self._key, index))
        fresh = data is None
        if data is None and not self._sound[index]:
            data = self._peek_inflate(index, Kind.FILE)
            if data is None:
                return None
            self._keep(index, data)
        if not archive.complete:
            span = self.members.span(index)
            if data is None and archive.missing(span):
                return None
            archive.note_open(index, span, listed=listed)
        return InMemory(data, fresh=fresh) if data is not None else Deferred(self, index, self.members.size(index))

    def peek_small(self, index: int) -> bytes | None:
        """A small member's bytes if no disk and no thread has to be waited for, else None. They are not kept again:
        what fell out of the memory cache and is read once more is part of something larger than that cache, and the
        kernel keeps it now."""
        data = self._memory.get((self._key, index))
        return self._peek_inflate(index, Kind.FILE) if data is None else data

    def _peek_inflate(self, index: int, kind: Kind) -> bytes | None:
        """A small member whose bytes the page cache has, inflated in place: 20 us where a thread takes 180. None where
        anything is odd: the slow way finds the words for it."""
        plain = self.members.plain(index, kind)
        if plain is None or not 0 < plain.size <= self._inline:
            return None
        if not (0 <= plain.start < plain.stop <= self.members.start and plain.stop - plain.start <= 2 * INLINE):
            return None  # where a damaged record says that a member lies is no place to look
        raw = self.archive.peek(Span(plain.start, plain.stop))
        if raw is None:
            return None
        start = header_length(raw)
        if not start or start + plain.compressed_size > len(raw):
            return None
        packed = raw[start : start + plain.compressed_size]
        data = inflate_quick(packed, plain.method, plain.size, plain.crc)
        if data is not None:
            self._sound[index] = 1
        return data

    def _keep(self, index: int, data: bytes) -> None:
        try:  # noqa: SIM105 - contextlib.suppress takes 1 us, and this is done for every small file
            self._memory[self._key, index] = data
        except ValueError:  # larger than the whole memory cache: it lives in its handle alone
            pass

    def _remember(self, index: int, member: Member, data: bytes, trailing: int) -> None:
        """A small member passed its check."""
        if not self._sound[index]:
            tell_trailing(self.archive.label, member, trailing)
        self._sound[index] = 1
        self._keep(index, data)

    async def open(self, index: int, *, listed: bool) -> Reader:
        """A reader whose first window is here. Raises MemberDamaged, MemberUnsupported, and what fetching raises."""
        self.raise_dead(index)
        member = self.members[index]
        self._refuse(index, member)
        if member.size == 0:
            if member.crc:
                raise self._bury(index, MemberDamaged(f"{printable(member.path)}: is empty, its CRC-32 is another's"))
            return InMemory(b"")
        if member.size <= SMALL and member.compressed_size <= 2 * SMALL:
            return InMemory(await self._small(index, member, listed=listed))
        try:
            return await self._large(index, member, listed=listed)
        except MemberDamaged as exc:
            raise self._bury(index, exc) from exc

    def peek_target(self, index: int) -> bytes | None:
        """What a symbolic link points to, if that can be had without waiting."""
        if index in self.dead:
            return None
        return self._peek_inflate(index, Kind.SYMLINK)

    async def small(self, index: int) -> bytes:
        """A small member's bytes, checked."""
        self.raise_dead(index)
        member = self.members[index]
        self._refuse(index, member)
        return await self._small(index, member, listed=False)

    target = small
    """What a symbolic link points to."""

    def _refuse(self, index: int, member: Member) -> None:
        """Raises what the directory alone says against a member; it is logged once."""
        try:
            ensure_readable(member, self._limits)
        except ArchiveError as exc:
            exc.tell()  # or was told, the first time
            if index not in self._told:
                self._told.add(index)
                log.warning("%s: %s", self.archive.label, exc)
            raise

    def refusal(self, index: int) -> MountfsError | None:
        """Why a member cannot be read, as far as that is known."""
        try:
            self.raise_dead(index)
            ensure_readable(self.members[index], self._limits)
        except ArchiveError as exc:
            return exc
        return None

    def raise_dead(self, index: int, salt: int | None = None) -> None:
        """Raises why a member cannot be read. ``salt``: what it was when a handle was opened: of one that died since
        then and was revived, that handle's inode stays dead."""
        if index in self.dead:
            raise self.dead[index].again()
        if salt is not None and self.salts.get(index, 0) != salt:
            raise MemberDamaged(f"{printable(self.members.path(index))}: failed its check", advice="open it again")

    def revive(self, index: int) -> None:
        """Gives a dead member another chance: under a new inode, from bytes fetched again. None where its bytes came
        with everything else in one body: they can only be had again with all of it (``mountfs refresh``)."""
        if self.archive.came_whole or self.dead.pop(index, None) is None:
            return
        self.salts[index] = self.salts.get(index, 0) + 1
        self.checks.forget(index)
        self._sound[index] = 0
        if (progressive := self._progressive.pop(index, None)) is not None:
            progressive.close()
        self._data_spans.pop(index, None)
        self.archive.kept.forget(self.members.span(index))

    def share_members(self, members: MemberList) -> None:
        """``members``: an earlier opening's, of the same version."""
        if isinstance(members, Directory):
            self.members = members

    def foretell(
        self, expected: Callable[[int, int | None], Iterator[int]], walked: Callable[[int, int], bool]
    ) -> None:
        """``expected``: the members that a walk comes to after one, given the one before it; ``walked``: whether only a
        walk would open one right after another."""
        self.archive.walked = walked
        self.archive.route = lambda index, before: map(self.members.span, expected(index, before))

    @property
    def lost(self) -> bool:
        """Whether a reply said that this version is not to be had any more."""
        return self.archive.lost is not None

    def ask_again(self) -> None:
        """What is missing may be asked for again, whatever a reply said."""
        self.archive.ask_again()

    # -- small ---------------------------------------------------------------------------------------------------

    async def _small(self, index: int, member: Member, *, listed: bool) -> bytes:
        data = self._memory.get((self._key, index))
        if data is None:
            span = self.members.span(index)
            if not self.archive.missing(span):
                self.archive.note_open(index, span, listed=listed)
                data = await self._inflate_small(index, member)
            else:
                data = await self._flights.join(index, lambda: self._fetch_small(index, member, listed=listed))
        return data

    async def _fetch_small(self, index: int, member: Member, *, listed: bool) -> bytes:
        span = self.members.span(index)
        ahead = self.archive.want_member(index, span, listed=listed)
        await self.archive.ensure(span, ahead=ahead)
        return await self._inflate_small(index, member)

    async def _inflate_small(self, index: int, member: Member) -> bytes:
        """Inflates and checks a member whose span is here, and remembers it."""
        archive = self.archive
        span = self.members.span(index)
        try:
            raw = await archive.read(span)
            start = self._data_start(raw, span.start, member) - span.start
            missing = start + member.compressed_size - len(raw)
            if missing > 0:  # a local extra field longer than the 2 KiB that span() allows for
                more = Span(span.stop, span.stop + missing)
                await archive.ensure(more)
                raw += await archive.read(more)
            packed = raw[start : start + member.compressed_size]
            if member.size <= INLINE and member.compressed_size <= INLINE:
                data, trailing = inflate_counted(packed, member)
            else:
                data, trailing = await archive.workers.cpu(inflate_counted, packed, member)
        except MemberDamaged as exc:
            raise self._bury(index, exc) from exc
        self._remember(index, member, data, trailing)
        return data

    # -- large ---------------------------------------------------------------------------------------------------

    async def _data_span(self, index: int, member: Member) -> Span:
        """Where the member's data lies; its local header is fetched together with the first window."""
        known = self._data_spans.get(index)
        if known is not None:
            return known
        span = self.members.span(index)
        head = Span(span.start, min(span.stop, span.start + STEP))
        self.archive.neighbours.step(head, self.archive.latency)
        await self.archive.ensure(head)
        start = self._data_start(await self.archive.read(head), span.start, member)
        size = member.size if member.method == STORED else member.compressed_size
        data = Span(start, start + size)
        self._data_spans[index] = data
        return data

    def _data_start(self, local: bytes, at: int, member: Member) -> int:
        """Where the data of a member begins, whose local header lies ``at``. Raises MemberDamaged if it cannot all be
        there: a local extra field may be longer than the directory lets one think."""
        start = at + data_start(local, member)
        if start + member.compressed_size > self.members.start:
            raise MemberDamaged(f"{printable(member.path)}: its data runs into the archive's directory")
        return start

    async def _large(self, index: int, member: Member, *, listed: bool) -> Reader:
        archive = self.archive
        archive.note_open(index, self.members.span(index), listed=listed)
        file = archive.kept.member(index) if member.method != STORED else None
        if file is not None:
            archive.retain()
            disk, again = archive.workers.disk, lambda: self._again(index, member)
            return FileReader(file, disk=disk, closed=archive.let_go, again=again)
        data = await self._data_span(index, member)
        if member.method == STORED:
            if not self.checks.begun(index):
                tell_trailing(self.archive.label, member, member.compressed_size - member.size)
            await self._believe_stored(index, member, data)
            stored = Stored(self, index, member, data)
            return await self._with_first(stored, lambda: stored.read(0, 1))
        shared = self._progressive.get(index)
        if shared is None:
            shared = self._make_progressive(index, member, data)
            self._progressive[index] = shared
        self._progressive.move_to_end(index)
        self.archive.retain()
        reader = Shared(shared, lambda: self._left(index, shared))
        self._evict_ready()  # now that this one is in use
        return await self._with_first(reader, lambda: shared.reach(min(shared.available or 1, member.size)))

    async def _again(self, index: int, member: Member) -> Reader:
        await self.archive.on_disk(self.archive.kept.drop_member, index)
        return await self._large(index, member, listed=False)

    @staticmethod
    async def _with_first(reader: Reader, first: Callable[[], Awaitable[object]]) -> Reader:
        """The reader, once its first window is here; released if that never comes."""
        try:
            await first()
        except BaseException:
            reader.release()
            raise
        return reader

    def _make_progressive(self, index: int, member: Member, data: Span) -> Progressive:
        sink = open_sink(self.archive.kept, index, member.size, largest=self._largest)
        return Progressive(
            member,
            InflatePump(self.archive, member, data, checkpoints=isinstance(sink, Ring)),
            sink,
            start=self._nursery.start_soon,
            disk=self.archive.workers.disk,
            failed=lambda error: self._pump_failed(index, error),
            finished=lambda: self.checks.passed(index),
            label=f"{self.archive.label}/{printable(member.path)}",
        )

    def _pump_failed(self, index: int, error: MountfsError) -> None:
        if isinstance(error, MemberDamaged):
            self._bury(index, error)

    def _left(self, index: int, shared: Progressive) -> None:
        """A reader is gone. What is finished and kept is read from its file from now on, and may be evicted."""
        self.archive.let_go()
        if shared.idle and shared.complete and self._progressive.get(index) is shared and self.kept.keeps(index):
            self._progressive.pop(index).close()

    def _evict_ready(self) -> None:
        """Drops the least recently opened inflaters nobody reads from, beyond READY."""
        idle = [index for index, shared in self._progressive.items() if shared.idle]
        rings = [index for index in idle if self._progressive[index].in_memory]
        for index in {*idle[: max(0, len(self._progressive) - READY)], *rings[: max(0, len(rings) - READY_RINGS)]}:
            self._progressive.pop(index).close()

    async def _believe_stored(self, index: int, member: Member, data: Span) -> None:
        """After a power cut, what the local file has of a stored member is checked first, or fetched again."""
        kept = self.archive.kept
        if kept.trusted or await self.archive.on_disk(kept.is_verified, index):
            return
        if self.archive.missing(data):
            await self.archive.on_disk(kept.forget, data)
        else:
            await self.checks.now(index, member, data)
            self.raise_dead(index)
        await self.archive.on_disk(kept.mark_verified, index)

    def close(self) -> None:
        """The snapshot is let go: inflaters and unfinished spools are dropped."""
        for shared in self._progressive.values():
            shared.close()
        self._progressive.clear()
        self.archive.close()
