"""From a source to a snapshot: the opening sequence (providers.md §6).

One suffix request brings an archive's end record and, usually, its directory. What the reply is decides the way:

* 206 under a strong validator: *ranges*. The tail goes into the local file; everything else is fetched when it is
needed.
* 206 without one: ranges cannot be joined safely, so the archive is asked for again, whole.
* 200: the body *is* the archive. It is kept as it comes and never asked for again.

A whole download is resumed by a range where the reply had a strong validator and a length, else started over into a
file of its own: bytes of two replies are never mixed. Only when an archive is whole, or its directory was read, does
its session's record name it (``Session`` does that): a crash before leaves nothing that is believed.

Concurrency: coroutines without shared state; parsing and disk work in ``Workers``.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from mountfs.archive.members import ZipContent
from mountfs.archive.transfers import BLOCK, Archive
from mountfs.errors import (
    CacheDamaged,
    CacheError,
    CacheFull,
    DeadlineExceeded,
    MountfsError,
    ServiceFailed,
    SnapshotLost,
)
from mountfs.files import FilesContent, FileTable, FindFiles
from mountfs.model import Shape, Span, Validator
from mountfs.providers import FileSource, ZipSource
from mountfs.session.download import Download, Progress, Workshop
from mountfs.session.snapshot import Snapshot
from mountfs.store import Address
from mountfs.store import Snapshot as Kept
from mountfs.transport import Body, Suffix
from mountfs.tree import Namespace
from mountfs.tree.inodes import Numbering
from mountfs.zipformat import Directory, DirectoryParser, NeedBytes, ZipLimits

log = logging.getLogger(__name__)

GATE = "gate"  # the snapshot whose one claim is the right to open the session's archive; it holds no bytes
GATE_POLL = 0.05
CHANGES = 1  # times an archive that changed while it was opened is asked for anew: one that always does is told
TAIL = 256 << 10  # end record, longest comment, and the directory of about 2,400 members
EPHEMERAL = 64 << 20  # bytes of one archive held in memory while the cache takes nothing
PARSE_INLINE = 64 << 10  # about 600 members: 3 ms on the loop, less than it is worth a thread


@dataclass(eq=False, slots=True)
class Opening:
    """One attempt to obtain a session's current archive."""

    shop: Workshop
    address: Address
    label: str
    shape: Shape
    numbering: Numbering
    root_mtime_ns: int
    lost: Callable[[SnapshotLost], None]
    failed: Callable[[str, int, MountfsError], None]
    progress: Progress = field(default_factory=Progress)
    in_memory: bool = False

    @property
    def download(self) -> Download:
        """How this archive is fetched whole."""
        return Download(self.shop, self.label, self.progress)

    # -- from the service ----------------------------------------------------------------------------------------

    async def obtain(self, source: ZipSource | FileSource, *, known: Validator | None = None) -> Snapshot:
        """The current archive. ``known``: raise NotModified if it is still this one (If-None-Match)."""
        if isinstance(source, FileSource):
            return await self._files(source)
        failures, changes = 0, 0
        while True:
            try:
                return await self._zip(source, known)
            except SnapshotLost:  # it changed between its tail and its directory, as a live session's may
                changes += 1
                if changes > CHANGES:
                    raise
            except CacheFull as exc:
                if self.in_memory:
                    raise
                log.warning("%s: it is held in memory: %s", self.label, exc)
                self.in_memory = True
            except (ServiceFailed, DeadlineExceeded) as exc:
                failures += 1
                if exc.status is not None or failures > self.shop.patience.retries or not self.progress.whole:
                    raise
                await trio.sleep(self.shop.patience.pause(failures, first=0.5, longest=8.0))

    @asynccontextmanager
    async def gate(self) -> AsyncIterator[None]:
        """Lets one process at a time open a session's archive, so that two daemons on one cache never download the same
        at once: what another one obtained meanwhile is in the cache by then. The lock dies with its holder."""
        workers, claim, kept = self.shop.workers, None, None
        try:
            with contextlib.suppress(CacheError):  # a cache that refuses is no reason not to read
                kept = await workers.disk(self.shop.store.snapshot, self.address, GATE)
                while (claim := await workers.disk(kept.claim, Span(0, 1))) is None:  # noqa: ASYNC110 - another process
                    await trio.sleep(GATE_POLL)
            yield
        finally:
            if claim is not None:
                claim.release()
            if kept is not None:
                with trio.CancelScope(shield=True):
                    await workers.disk(kept.close)

    async def _zip(self, source: ZipSource, known: Validator | None) -> Snapshot:
        tail = Suffix(TAIL)
        async with source.open(tail, pin=None, if_none_match=known, deadline=self._deadline()) as body:
            self.download.check_size(body.total, whole=not body.partial)
            if body.partial and body.validator.strong and not body.encoded and body.total is not None:
                return await self._ranged(source, body, body.total)
            if not body.partial:
                return await self._whole(source, body)
        async with source.open(None, pin=None, deadline=self._deadline()) as body:
            self.download.check_size(body.total, whole=True)
            return await self._whole(source, body)

    async def _ranged(self, source: ZipSource, body: Body, total: int) -> Snapshot:
        name = version_name(body.validator, total)
        kept = await self._keep(name)
        archive = self._archive(kept, source, total, body.validator)
        try:
            await archive.on_disk(kept.set_length, total)
            data = await self._tail(body)
            self.progress.bytes += len(data)
            await archive.put(body.start, data)
            rest = Span(body.start + len(data), total)
            if rest.size:  # it broke off: gone on with as any other transfer is
                await archive.ensure(rest)
                data += await archive.read(rest)
            return await self._build(archive, name, tail=(body.start, data))
        except BaseException:
            archive.close()
            raise

    @staticmethod
    async def _tail(body: Body) -> bytes:
        """What comes of the archive's end; less than was announced where it breaks off."""
        parts: list[bytes] = []
        try:
            async for chunk in body:
                parts.append(chunk)  # noqa: PERF401 - what came before a break counts
        except (ServiceFailed, DeadlineExceeded) as exc:
            if exc.status is not None:
                raise
        return b"".join(parts)

    async def _whole(self, source: ZipSource, body: Body) -> Snapshot:
        """Streams the archive into a file of its own, then reads its directory."""
        self.progress.whole, self.progress.total = True, body.total
        strong = body.validator.strong and body.total is not None and not body.encoded
        name = version_name(body.validator, body.total or 0) if strong else secrets.token_hex(16)
        kept = await self._keep(name)
        close = kept.close
        try:
            total = await self.download.run(source, body, kept, strong=strong)
            archive = self._archive(kept, source if strong else None, total, body.validator)
            close = archive.close  # not while its transfers are at work on the file
            return await self._build(archive, name, whole=True)
        except BaseException:
            if not strong:
                with trio.CancelScope(shield=True):
                    await self.shop.workers.disk(self.shop.store.drop, kept)
            close()
            raise

    async def _keep(self, name: str) -> Kept:
        """Where this version's bytes are kept: in the cache, or in memory while the cache takes nothing."""
        store, workers = self.shop.store, self.shop.workers
        if self.in_memory:
            return await workers.disk(store.ephemeral, self.address, name, EPHEMERAL)
        try:
            return await workers.disk(store.snapshot, self.address, name)
        except CacheError as exc:
            log.warning("%s: nothing of it is cached: %s", self.label, exc)
            return await workers.disk(store.ephemeral, self.address, name, EPHEMERAL)

    def _deadline(self) -> float:
        return trio.current_time() + self.shop.patience.deadline

    # -- from the cache ------------------------------------------------------------------------------------------

    async def reopen(self, name: str, source: ZipSource | None, files: FindFiles | None) -> Snapshot | None:
        """A snapshot kept before, from the local file; None if the cache cannot give it any more. ``source``,
        ``files``: where what the cache lacks would come from, depending on its form."""
        kept = await self.shop.workers.disk(self.shop.store.find, self.address, name)
        if kept is None:
            return None
        close = kept.close
        try:
            meta = kept.facts
            validator = Validator(*(meta.get(part) for part in ("etag", "last_modified", "version")))
            if meta.get("form") == "files":
                return self._files_snapshot(kept, FileTable.load(meta["files"]), files, name, meta["fetched"])
            if kept.length is None:
                kept.close()
                return None
            archive = self._archive(kept, source, kept.length, validator)
            close = archive.close
            whole = bool(meta.get("whole"))
            return await self._build(archive, name, whole=whole, fetched=meta["fetched"], digest=meta["digest"])
        except (KeyError, TypeError, ValueError):
            close()
            return None
        except BaseException:
            close()
            raise

    # -- common --------------------------------------------------------------------------------------------------

    def _archive(self, kept: Kept, source: ZipSource | None, total: int, validator: Validator) -> Archive:
        return Archive(
            kept,
            source,
            total=total,
            validator=validator,
            label=self.label,
            nursery=self.shop.nursery,
            workers=self.shop.workers,
            patience=self.shop.patience,
            on_lost=self.lost,
            make_room=self.shop.make_room,
        )

    async def _build(
        self,
        archive: Archive,
        name: str,
        *,
        tail: tuple[int, bytes] | None = None,
        whole: bool = False,
        fetched: float | None = None,
        digest: str | None = None,
    ) -> Snapshot:
        """Reads the directory, fetching what of it is not here, and makes the tree. ``digest``: what it was when it was
        kept; another one now means that the local file lost bytes (a power cut): it is dropped."""
        archive.came_whole = whole
        directory = await self._directory(archive, tail)
        workers = self.shop.workers
        big = directory.stop - directory.start > PARSE_INLINE
        build = (directory, self.shape)
        namespace = (
            await workers.cpu(lambda: Namespace(*build, root_mtime_ns=self.root_mtime_ns))
            if big
            else Namespace(*build, root_mtime_ns=self.root_mtime_ns)
        )
        found = await workers.cpu(directory.checksum) if big else directory.checksum()
        if digest is not None and found.hex() != digest:
            await workers.disk(self.shop.store.drop, archive.kept)
            raise CacheDamaged(f"{self.label}: the directory in the cache is not the one that was kept")
        fetched = self.shop.wall() if fetched is None else fetched
        v = archive.validator
        facts = {"etag": v.etag, "last_modified": v.last_modified, "version": v.version}
        meta = {"form": "zip", "whole": whole, "fetched": fetched, "digest": found.hex(), **facts}
        with contextlib.suppress(CacheError):  # it will be asked for again after a restart
            await workers.disk(archive.kept.save_facts, {**archive.kept.facts, **meta})
        content = ZipContent(
            archive,
            directory,
            key=(self.address, name),
            memory=self.shop.memory,
            nursery=self.shop.nursery,
            largest=self.shop.max_cache // 2,
            limits=self._limits,
            failed=lambda index, error: self.failed(name, index, error),
        )
        archive.told_by_opener = False
        snapshot = Snapshot(
            name,
            directory,
            namespace,
            content,
            self.numbering,
            archive.validator,
            fetched,
            whole,
            archive.total,
        )
        content.foretell(snapshot.expected, snapshot.walked)
        return snapshot

    @property
    def _limits(self) -> ZipLimits:
        limits = self.shop.limits
        return ZipLimits(
            max_members=limits.max_members,
            max_directory_size=limits.max_directory_size,
            max_member_size=limits.max_member_size,
            max_ratio=limits.max_ratio,
        )

    async def _directory(self, archive: Archive, tail: tuple[int, bytes] | None) -> Directory:
        parser = DirectoryParser(archive.total, self._limits, archive_mtime_ns=self.root_mtime_ns)
        if tail is None:
            # Of the block in which the first opening's tail began only a part came, so it is not in the local file.
            span = Span(-(-max(0, archive.total - TAIL) // BLOCK) * BLOCK, archive.total)
            await archive.ensure(span)
            tail = (span.start, await archive.read(span))
        start, data = tail
        while True:
            answer: Directory | NeedBytes
            if len(data) <= PARSE_INLINE:
                answer = parser.feed(start, data)
            else:
                answer = await self.shop.workers.cpu(parser.feed, start, data)
            if not isinstance(answer, NeedBytes):
                await archive.ensure(Span(answer.start, answer.stop))  # for the time after a restart
                return answer
            need = Span(answer.start, answer.stop)
            await archive.ensure(need)
            start, data = need.start, await archive.read(need)

    # -- one URL a file ------------------------------------------------------------------------------------------

    async def _files(self, source: FileSource) -> Snapshot:
        table = FileTable.of(source.files)
        name = table.name
        kept = await self._keep(name)
        fetched = self.shop.wall()
        meta = {"form": "files", "fetched": fetched, "files": table.dump()}

        async def known() -> FileSource:
            return source

        try:
            await self.shop.workers.disk(kept.save_facts, meta)
            return self._files_snapshot(kept, table, known, name, fetched)
        except BaseException:
            kept.close()
            raise

    def _files_snapshot(
        self, kept: Kept, table: FileTable, find: FindFiles | None, name: str, fetched: float
    ) -> Snapshot:
        namespace = Namespace(table.members, self.shape, root_mtime_ns=self.root_mtime_ns)
        content = FilesContent(
            kept,
            table,
            find,
            label=self.label,
            key=(self.address, name),
            memory=self.shop.memory,
            nursery=self.shop.nursery,
            workers=self.shop.workers,
            patience=self.shop.patience,
            largest=self.shop.max_cache // 2,
            failed=lambda index, error: self.failed(name, index, error),
        )
        size = sum(file.size for file in table.files)
        return Snapshot(name, table.members, namespace, content, self.numbering, Validator(), fetched, False, size)


def version_name(validator: Validator, total: int) -> str:
    """What the store calls the version a strong validator names."""
    text = f"{validator.version}\0{validator.etag}\0{total}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
