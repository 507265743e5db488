"""The other source of members: a listing of files, each with a URL of its own (Browserbase's per-file API).

The listing brings names, sizes, times and SHA-256 in one call, and a file is fetched when it is opened: nothing else
is moved. A file's checksum takes the CRC's place: small files are checked before their first byte, large ones before
their last block (``content.Progressive``). A finished file is kept as a member file of the store, so it is there
after a restart.

Names: ``filename`` may repeat; the later ones (by ``createdAt``) become ``a (1).pdf``, ``a (2).pdf``.

Concurrency: ``FileTable`` is immutable; ``FilesContent`` changes on the trio task thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, MutableMapping
from dataclasses import asdict
from functools import partial
from typing import Any

import trio

from mountfs.archive.transfer import Patience
from mountfs.caches import Flights
from mountfs.content import SMALL, FileReader, InMemory, Progressive, Pump, Reader, Shared, open_sink
from mountfs.errors import CacheError, DeadlineExceeded, MemberDamaged, MountfsError, ServiceFailed, SnapshotLost
from mountfs.model import Kind, Member, Remarks, RemoteFile, Span, Validator
from mountfs.providers import FileSource
from mountfs.store import Snapshot as Kept
from mountfs.transport import Body
from mountfs.tree import MemberList, MemberTable
from mountfs.workers import Workers
from mountfs.zipformat import safe_path

PATIENT = 5.0  # seconds an idle download keeps its connection: shorter than services' own time-outs
NANOSECONDS = 10**9

log = logging.getLogger(__name__)


FindFiles = Callable[[], Awaitable[FileSource | None]]


class FileTable:
    """Remote files as members, the oldest first. ``members``: what a tree is built from; ``files``: the same,
    remote."""

    def __init__(self, files: tuple[RemoteFile, ...]) -> None:
        counts = Counter[str]()
        shown: list[RemoteFile] = []
        members: list[Member] = []
        for file in files:
            safe = safe_path(file.filename.encode("utf-8", "surrogateescape"))
            counts.update(safe.remarks)
            if safe.path is None:
                continue
            shown.append(file)
            time_ns = int((file.created or 0) * NANOSECONDS)
            crc = int(file.sha256[:8] or "0", 16)  # only for the inode: a file with another hash is another file
            members.append(Member(safe.path, Kind.FILE, file.size, time_ns, compressed_size=file.size, crc=crc))
        self.files = tuple(shown)
        self.members = MemberTable.numbered(members, Remarks(dict(counts)))

    @classmethod
    def of(cls, files: tuple[RemoteFile, ...]) -> FileTable:
        """Files in any order; the oldest of one name keeps it."""
        return cls(tuple(sorted(files, key=lambda file: (file.created or 0, file.id))))

    @property
    def name(self) -> str:
        """What the store calls this list: equal lists are one snapshot."""
        return hashlib.sha256(json.dumps(self.dump()).encode()).hexdigest()[:32]

    def dump(self) -> list[dict[str, Any]]:
        """As JSON values; no URL is among them."""
        return [asdict(file) for file in self.files]

    @classmethod
    def load(cls, rows: list[dict[str, Any]]) -> FileTable:
        """Raises TypeError for rows that are not ours."""
        return cls(tuple(RemoteFile(**row) for row in rows))

    def __getitem__(self, index: int) -> Member:
        return self.members[index]


class FilesContent:
    """The members of one listing. ``find``: asks where the files lie, the first time one is not in the cache; None:
    nobody may be asked."""

    def __init__(
        self,
        kept: Kept,
        table: FileTable,
        find: FindFiles | None,
        *,
        label: str,
        key: Hashable,
        memory: MutableMapping[Hashable, bytes],
        nursery: trio.Nursery,
        workers: Workers,
        patience: Patience,
        largest: int,
        failed: Callable[[int, MountfsError], None],
    ) -> None:
        self.kept = kept
        self.table = table
        self._find = find
        self._source: FileSource | None = None
        self.dead: dict[int, MountfsError] = {}
        self.salts: dict[int, int] = {}
        self._label = label
        self._key = key
        self._memory = memory
        self._nursery = nursery
        self._workers = workers
        self._patience = patience
        self._largest = largest
        self._failed = failed
        self._flights = Flights(nursery)
        self._progressive: dict[int, Progressive] = {}
        self._stale: list[Progressive] = []

    def peek_open(self, index: int, *, listed: bool) -> Reader | None:  # noqa: ARG002 - a file has no neighbours
        data = self._memory.get((self._key, index))
        return InMemory(data) if data is not None else None

    async def open(self, index: int, *, listed: bool) -> Reader:  # noqa: ARG002 - a file has no neighbours
        """A reader whose first bytes are here."""
        self._raise_dead(index)
        member = self.table[index]
        if member.size <= SMALL:
            return InMemory(await self._flights.join(index, lambda: self._small(index, member)))
        finished = self.kept.member(index)
        if finished is not None:
            again = partial(self._again, index)
            return FileReader(finished, disk=self._workers.disk, closed=lambda: None, again=again)
        await self._find_source()
        shared = self._progressive.get(index)
        if shared is None:
            shared = self._progressive[index] = self._start(index, member)
        reader = Shared(shared, lambda: self._left(index, shared))
        try:
            await shared.reach(min(shared.available or 1, member.size))
        except BaseException:
            reader.release()
            raise
        return reader

    async def _find_source(self) -> None:
        """Asks where the files lie, once."""
        if self._source is None and self._find is not None:
            self._source = await self._flights.join("source", self._find)

    def _left(self, index: int, shared: Progressive) -> None:
        """A reader is gone. One that is finished and kept is read from its file from now on: no descriptor waits for
        that, and the cache may evict it."""
        if shared.idle and shared.complete and self._progressive.get(index) is shared and self.kept.keeps(index):
            self._progressive.pop(index).close()

    async def _again(self, index: int) -> Reader:
        await self._workers.disk(self.kept.drop_member, index)
        return await self.open(index, listed=False)

    def peek_target(self, index: int) -> bytes | None:  # noqa: ARG002 - there are no links
        return None

    async def target(self, index: int) -> bytes:
        raise MemberDamaged(f"{self._label}: file {index} is no link")

    def revive(self, index: int) -> None:
        if self.dead.pop(index, None) is not None:
            self.salts[index] = self.salts.get(index, 0) + 1
            if (shared := self._progressive.pop(index, None)) is not None:
                shared.close()

    def refusal(self, index: int) -> MountfsError | None:
        return self.dead.get(index)

    lost = False
    """A file is asked for by its id, whatever list it stood in."""

    def share_members(self, members: MemberList) -> None:
        """Nothing to share: the table stays for its ids, and a list of files is short."""

    def foretell(
        self, expected: Callable[[int, int | None], Iterator[int]], walked: Callable[[int, int], bool]
    ) -> None:
        """Nothing is fetched ahead: each file is a request of its own."""

    def ask_again(self) -> None:
        """What failed may be asked for again."""
        for shared in self._progressive.values():
            shared.ask_again()

    @property
    def busy(self) -> bool:
        """Whether anything of it is being read or fetched."""
        return bool(len(self._flights)) or not all(shared.idle for shared in self._progressive.values())

    def close(self) -> None:
        for shared in [*self._progressive.values(), *self._stale]:
            shared.close()
        self.kept.close()

    def _raise_dead(self, index: int) -> None:
        if index in self.dead:
            raise self.dead[index].again()

    def _pump(self, index: int, member: Member) -> DownloadPump:
        if self._source is None:
            raise SnapshotLost(f"{self._label}: this file is not in the cache and this is offline")
        return DownloadPump(
            self._source,
            self.table.files[index],
            member,
            label=self._label,
            patience=self._patience,
            workers=self._workers,
        )

    async def _small(self, index: int, member: Member) -> bytes:
        finished = self.kept.member(index)
        if finished is not None:
            with finished:
                return await self._workers.disk(finished.read, 0, member.size)
        await self._find_source()
        pump = self._pump(index, member)
        parts: list[bytes] = []
        try:
            while not await pump.step(parts.append, lambda: None, lambda: member.size):
                pass
        except MountfsError as exc:
            self._bury(index, exc)
            raise
        data = b"".join(parts)
        with contextlib.suppress(CacheError):  # served from memory; the store logs a disk that fails
            await self._workers.disk(self._keep, index, data)
        with contextlib.suppress(ValueError):  # larger than the whole memory cache
            self._memory[self._key, index] = data
        return data

    def _keep(self, index: int, data: bytes) -> None:
        spool = self.kept.new_spool(index)
        with spool:
            spool.write(data)
            spool.finish().close()

    def _start(self, index: int, member: Member) -> Progressive:
        return Progressive(
            member,
            self._pump(index, member),
            open_sink(self.kept, index, member.size, largest=self._largest),
            start=self._nursery.start_soon,
            disk=self._workers.disk,
            failed=lambda error: self._bury(index, error),
            finished=lambda: None,
            label=f"{self._label}/{_name(member)}",
            believed=self._patience.failing,
        )

    def _tell(self, index: int, error: MountfsError) -> None:
        """One line in the log for what kept a file from coming; damage is told by whoever is told of it."""
        if not isinstance(error, MemberDamaged) and error.tell():
            log.warning("%s/%s: %s", self._label, _name(self.table[index]), error)

    def _bury(self, index: int, error: MountfsError) -> None:
        self._tell(index, error)
        if isinstance(error, SnapshotLost) and index in self._progressive:  # the next open begins anew
            self._stale.append(self._progressive.pop(index))
        if isinstance(error, MemberDamaged) and index not in self.dead:
            self.dead[index] = error
            self._failed(index, error)


class DownloadPump(Pump):
    """One file over HTTP, in order; goes on with a range where the reply broke off, else from the start."""

    def __init__(
        self,
        source: FileSource,
        file: RemoteFile,
        member: Member,
        *,
        label: str,
        patience: Patience,
        workers: Workers,
    ) -> None:
        self._workers = workers
        self._source = source
        self._file = file
        self._member = member
        self._label = label
        self._patience = patience
        self._hash = hashlib.sha256()
        self._at = 0
        self._pin: Validator | None = None

    async def step(self, emit: Callable[[bytes], None], news: Callable[[], None], target: Callable[[], int]) -> bool:
        """Downloads on; returns False when nobody wanted more for PATIENT seconds (the connection is given back)."""
        failures = 0
        while self._at < self._member.size:
            before = self._at
            try:
                if not await self._receive(emit, news, target):
                    return False
            except (ServiceFailed, DeadlineExceeded) as exc:
                failures = 1 if self._at > before else failures + 1
                if exc.status is not None or failures > self._patience.retries:
                    raise
                await trio.sleep(self._patience.pause(failures))
        digest = self._hash.hexdigest()
        if self._file.sha256 and digest != self._file.sha256:
            raise MemberDamaged(f"{self._label}: the SHA-256 of {self._file.filename!r} is not the listed one")
        return True

    async def _receive(
        self, emit: Callable[[bytes], None], news: Callable[[], None], target: Callable[[], int]
    ) -> bool:
        # A part can only be joined under a strong validator (design §5); without one all is asked for again.
        want = Span(self._at, self._member.size) if self._pin is not None else None
        deadline = trio.current_time() + self._patience.deadline
        async with self._source.open(self._file, want, pin=self._pin, deadline=deadline) as body:
            self._check(body)
            if body.start > self._at:
                raise ServiceFailed(f"{self._label}: asked for byte {self._at}, the reply starts at {body.start}")
            skip = self._at - body.start
            again = hashlib.sha256() if skip and not body.start else None
            async for chunk in body:
                if again is not None:
                    again.update(chunk[:skip])
                data, skip = chunk[skip:], max(0, skip - len(chunk))
                if again is not None and not skip:
                    self._same(again.digest(), body)
                    again = None
                if not data:
                    continue
                if self._at + len(data) > self._member.size:
                    raise MemberDamaged(f"{self._label}: {self._file.filename!r} is longer than listed")
                await self._workers.disk(self._take, emit, data)
                self._at += len(data)
                news()
                if self._at > target() + SMALL and not await self._wanted(target):
                    return False
        if self._at < self._member.size:
            raise MemberDamaged(f"{self._label}: {self._file.filename!r} is shorter than listed")
        return True

    def _check(self, body: Body) -> None:
        """A reply of another length than listed is damage at once; of another version than the one begun with, it must
        not be joined."""
        name = self._file.filename
        if body.total not in {None, self._member.size}:
            raise MemberDamaged(f"{self._label}: {name!r} has {body.total} bytes, the list says {self._member.size}")
        if self._at == 0:
            self._pin = body.validator if body.validator.strong else None
        elif self._pin is not None and not self._pin.agrees(body.validator):
            raise SnapshotLost(f"{self._label}: {name!r} changed while it was being read", advice="open it again")

    def _same(self, digest: bytes, body: Body) -> None:
        """All came again where a part was missing: it goes on only if what was here before came again, too."""
        if digest != self._hash.digest():
            name = self._file.filename
            raise SnapshotLost(f"{self._label}: {name!r} changed while it was being read", advice="open it again")
        self._pin = body.validator if body.validator.strong else None

    def _take(self, emit: Callable[[bytes], None], data: bytes) -> None:
        self._hash.update(data)
        emit(data)

    async def _wanted(self, target: Callable[[], int]) -> bool:
        """Waits with the connection open until somebody reads on; False after PATIENT seconds."""
        with trio.move_on_after(PATIENT):
            while self._at > (goal := target()) + SMALL:
                if goal < 0:
                    return False
                await trio.sleep(PATIENT / 50)
            return True
        return False

    def rewind(self, offset: int) -> int:  # noqa: ARG002 - there is no state to go back to but the start
        self._hash = hashlib.sha256()
        self._at = 0
        self._pin = None
        return 0


def _name(member: Member) -> str:
    return member.path.decode("utf-8", "backslashreplace")
