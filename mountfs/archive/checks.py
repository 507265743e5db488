"""The CRC-32 of large stored members, which are read straight from the archive's local file.

Theory: nobody inflates them, so nobody sees all of their bytes go by. A member is checked once, in the background, as
soon as all its bytes are here, whoever fetched them; and its last block is held back (``settle``) until that is done,
so that a program that reads it from the first byte to the last learns of damage before it thinks it has all. Who jumps
to the end of a member of which most was never fetched gets it on the word of range, length and ETag: to check it would
mean to fetch it.

A check that could not be made (the cache lost the bytes meanwhile) counts for nothing and is made again.

Concurrency: state changes on the trio task thread; CRC and disk reads through ``Workers``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass

from mountfs.archive.transfers import Archive
from mountfs.caches import Flights
from mountfs.errors import CacheDamaged, CacheError, MemberDamaged, MountfsError
from mountfs.model import Member, Span
from mountfs.store import Snapshot as Kept
from mountfs.zipformat import crc32, printable

CHECK_STEP = 1 << 20
READ_BEHIND = 2 << 20  # the kernel reads 1 MiB ahead in several requests at once, and the last may come first
CHECKED = "checked"  # the snapshot's fact: indices of large stored members that passed
MOST_CHECKED = 10_000


class Checks:
    """``flights``: the members' own. ``bury``: told of each that failed (index, error)."""

    def __init__(self, archive: Archive, flights: Flights, bury: Callable[[int, MemberDamaged], object]) -> None:
        self._archive = archive
        self._flights = flights
        self._bury = bury
        self._begun: set[int] = set(archive.kept.facts.get(CHECKED, ())) if archive.kept.trusted else set()

    def begun(self, index: int) -> bool:
        """Whether a member was checked, or is being."""
        return index in self._begun

    def passed(self, index: int) -> None:
        """Somebody else has checked it."""
        self._begun.add(index)

    def forget(self, index: int) -> None:
        """Its bytes are to be fetched again."""
        self._begun.discard(index)

    def settled(self, index: int) -> bool:
        """Whether a member was checked, and the check is over."""
        return index in self._begun and ("check", index) not in self._flights

    def when_whole(self, index: int, member: Member, data: Span) -> bool:
        """Starts the check of a member once, when all its bytes are here; answers whether they are."""
        if index in self._begun:
            return True
        if self._archive.missing(data):
            return False
        self._begun.add(index)
        self._flights.launch(("check", index), lambda: self._check(index, member, data))
        return True

    async def settle(self, index: int, member: Member, data: Span) -> None:
        """Returns when a member was checked, if its bytes are here or on their way but for READ_BEHIND; at once where
        more was never asked for, or the cache has no room for all of it. Raises what fetching raises."""
        archive = self._archive
        if sum(hole.size for hole in archive.uncovered(data)) > READ_BEHIND:
            return
        for hole in archive.missing(data):  # each once: in a cache that is too small another may open meanwhile
            await archive.ensure(hole)
        self.when_whole(index, member, data)
        if ("check", index) in self._flights:
            with contextlib.suppress(CacheError):
                await self._flights.join(("check", index), lambda: self._check(index, member, data), linger=math.inf)

    async def now(self, index: int, member: Member, data: Span) -> None:
        """Checks a member whose bytes are here."""
        self._begun.add(index)
        await self._check(index, member, data)

    async def _check(self, index: int, member: Member, data: Span) -> None:
        archive, crc = self._archive, 0
        try:
            with archive.interested():
                for at in range(data.start, data.stop, CHECK_STEP):
                    crc = await self._crc(Span(at, min(at + CHECK_STEP, data.stop)), crc)
        except BaseException:
            self._begun.discard(index)
            raise
        if crc != member.crc:
            says = f"CRC-32 is {crc:08x}, the directory says {member.crc:08x}"
            self._bury(index, MemberDamaged(f"{printable(member.path)}: {says}"))
        else:
            await self._note(index)

    async def _crc(self, span: Span, crc: int) -> int:
        """Goes on with a CRC. Reading is the thread's too: 1 MiB would hold up the loop for 0.3 ms."""
        archive = self._archive
        try:
            return await archive.on_cpu(_crc_of, archive.kept, span, crc)
        except CacheDamaged:  # held in memory, or deleted meanwhile
            return await archive.workers.cpu(crc32, await archive.read(span), crc)

    async def _note(self, index: int) -> None:
        """Keeps it over restarts that a large stored member passed: checking 1 GiB again costs a second."""
        kept = self._archive.kept
        known = {*kept.facts.get(CHECKED, ()), index}
        if len(known) <= MOST_CHECKED:
            with contextlib.suppress(CacheError):
                await self._archive.on_disk(kept.save_facts, {**kept.facts, CHECKED: sorted(known)})


def _crc_of(kept: Kept, span: Span, crc: int) -> int:
    return crc32(kept.read(span.start, span.size), crc)


@dataclass(frozen=True, slots=True)
class Burial:
    """What it takes to bury a member that failed its check; of the content itself it knows nothing. ``dead``: by index;
    ``memory``, ``key``: where small members are remembered; ``failed``: told of each, once."""

    dead: dict[int, MemberDamaged]
    memory: MutableMapping[Hashable, bytes]
    key: str
    failed: Callable[[int, MountfsError], None]

    def __call__(self, index: int, error: MemberDamaged) -> MemberDamaged:
        """It is dead from now on."""
        if index not in self.dead:
            self.dead[index] = error
            self.memory.pop((self.key, index), None)
            self.failed(index, error)
        return error
