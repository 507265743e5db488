"""One version of one archive on disk: its bytes so far, which of them are here, and its inflated members.

Reading is lock-free: a byte whose block is present never changes. Writing puts the bytes into the sparse data file
first and marks their blocks in the map file afterwards, so a process killed anywhere forgets at most what it was
writing; what a power cut does is in ``trust``. While it is open, a shared flock on its directory keeps it from
being evicted, and a shared lock on the byte INDEX of the directory does the same for each of its members in use.

Only the directory stays open; data, map and members are closed while nobody uses them (``descriptors``). If the
directory is deleted all the same, the snapshot goes on with the files it has open, and keeps nothing; and if its data
was closed by then, everything is missing, to be fetched again into a nameless file.

Concurrency: thread-safe. ``read``, ``write``, ``claim``, ``mark_synced`` and everything that saves may block on the
disk; ``has``, ``missing`` and ``try_read`` never do, and may be called on an event loop.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from typing import Self

from mountfs.errors import CacheDamaged, CacheFull
from mountfs.model import Span
from mountfs.store import disk
from mountfs.store.about import About, Facts
from mountfs.store.blocks import BLOCK, BlockMap
from mountfs.store.budget import Budget
from mountfs.store.claims import Claim
from mountfs.store.descriptors import File, Gone, Handle
from mountfs.store.members import InUse, MemberFile, Spool, member_name, read_at_once, read_exactly
from mountfs.store.opening import Files, Services, nameless_file
from mountfs.store.place import sync_directory
from mountfs.store.trust import Trust

_USE_SECONDS = 60.0
"""How much of its use a snapshot may lose in a crash."""

_MAP_END = 1 << 60
"""Beyond the last block of any archive."""


class Snapshot:
    """Made by ``Store.snapshot``; in use until as many ``close`` calls have come as openings."""

    def __init__(
        self,
        services: Services,
        files: Files,
        about: About,
        *,
        budget: Budget,
        close: Callable[[Snapshot], None],
    ) -> None:
        """Takes over ``files``. ``budget``: of the archive's bytes; members are always on the disk's budget. OSError
        if the map cannot be read; then the files stay the caller's."""
        self.key = about.key
        self.users = 0
        self._shut = False
        self._services = services
        self._budget = budget
        self._close = close
        self._lock = threading.Lock()
        self._last_use = services.wall()
        self._use_recorded = 0.0
        self._files = files
        self._data = files.data
        self._map_file = files.map
        self._in_use = None if files.directory is None else InUse(files.directory)
        present = b"" if files.map is None else _read_all(files.map)
        self._trust = Trust(
            services.place,
            services.budget,
            about,
            directory=files.directory,
            map_file=files.map,
            boot_id=services.boot_id,
            writable=files.writable,
        )
        # Read after the map: if that has a short last block, the length is there too.
        self._map = BlockMap(self._trust.reload().length, present)

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The snapshot's name among its session's."""
        return self._trust.about.name

    @property
    def session_id(self) -> str:
        """The session it belongs to."""
        return self._trust.about.session_id

    @property
    def length(self) -> int | None:
        """Bytes of the whole archive, None while unknown."""
        return self._map.length

    @property
    def facts(self) -> Facts:
        """What ``save_facts`` saved last, here or in another process (as of the last ``refresh``)."""
        return dict(self._trust.about.facts)

    @property
    def present_bytes(self) -> int:
        """Bytes of the archive that are here."""
        return self._map.present_bytes

    @property
    def complete(self) -> bool:
        """Whether the whole archive is here."""
        return self._map.complete

    @property
    def changes(self) -> int:
        """A number that changes with every write that is not known to be on the disk; 0 while all is."""
        return self._trust.changes

    @property
    def trusted(self) -> bool:
        """False after a power cut, until ``trust``: then check a member's CRC, and the directory, before use."""
        return not self._trust.about.suspect

    def attached(self) -> bool:
        """Whether its directory is still in its place: what is written now will be found later."""
        return self._trust.attached()

    def set_length(self, length: int) -> None:
        """Fix the archive's length in bytes. ``CacheDamaged`` if it was another: the validator lied.

        A disk that refuses to keep it costs no more than that: it is known as long as this process has it open.
        """
        if self._map.length == length:
            return
        if self._map.length is not None:
            raise CacheDamaged(f"an archive changed its length from {self._map.length} to {length}")
        try:
            with self._trust.changing(), disk.writing("an archive's length"):
                with self._opened()[1] as fd:
                    os.ftruncate(fd, length)
                # Before the mark of a short last block: who sees the mark must know the length.
                self._trust.update(length=length)
                with self._lock:
                    self._mark(self._map.set_length(length))
        except CacheFull:
            with self._lock:
                self._map.set_length(length)

    def save_facts(self, facts: Facts) -> bool:
        """Keep the caller's facts (JSON values) with the snapshot, atomically. False where the disk refuses: then
        ``facts`` answers them as long as this process has the snapshot open."""
        try:
            self._trust.update(facts=facts)
        except CacheFull:
            return False
        return True

    def refresh(self, span: Span | None = None) -> None:
        """Learn what other processes did: blocks (all, or those of ``span``), length and facts."""
        first, stop = (0, _MAP_END) if span is None else (span.start // BLOCK, min(-(-span.stop // BLOCK), _MAP_END))
        with self._lock:
            try:
                if self._map_file is not None:
                    self._map.adopt(first, _read_all(self._map_file, first, stop))
            except Gone:
                return  # deleted: nobody marks anything there any more
            except OSError as error:
                raise CacheDamaged(f"the cache cannot be read: {error.strerror or error}") from error
            # After the map: if that has a short last block, the length is there too.
            length = self._trust.reload().length
            if length is not None and self._map.length is None:
                self._map.set_length(length)

    # -- bytes ---------------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Keep ``data``, the archive's bytes from ``offset``. ``CacheFull`` where the cache cannot take them."""
        size = len(data)
        if not size:
            return
        self._budget.reserve(size)
        with self._trust.changing(), disk.writing("an archive"):
            file, held = self._opened()
            self._budget.attempt(size, lambda: disk.write_all(held.fd, data, offset))
            with self._lock:
                if self._data is not file:  # it was lost meanwhile, and these bytes with it
                    raise Gone(errno.ESTALE, "it was deleted")
                before = self._map.allocated
                self._mark(self._map.add(Span(offset, offset + size)))
                grown = self._map.allocated - before
            self._budget.charge(grown)

    def has(self, span: Span) -> bool:
        """Whether every byte of ``span`` is here."""
        return self._map.covers(span)

    def missing(self, span: Span) -> list[Span]:
        """The gaps in ``span``: widened to whole 4 KiB blocks, clipped to the length; sorted, disjoint."""
        return self._map.missing(span)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly these bytes; ``CacheDamaged`` if they are not here or cannot be read."""
        # Opened before the map is asked, and still the same after: else it could be a lost file's successor, which
        # has holes where the map said "present", or the lost one, which has them where it says so now.
        try:
            file, held = self._opened()
        except OSError as error:
            raise CacheDamaged(f"the cache cannot be read: {error.strerror or error}") from error
        if self._map.missing(Span(offset, offset + size)):
            with self._lock:
                gaps = self._map.missing(Span(offset, offset + size))
            if gaps:
                raise CacheDamaged(f"bytes {offset} to {offset + size} of an archive are not in the cache")
        if self._data is not file:
            return self.read(offset, size)
        self._last_use = self._services.wall()
        return read_exactly(held.fd, offset, size)

    def try_read(self, offset: int, size: int, into: memoryview | None = None) -> memoryview | None:
        """These bytes if they are here and no disk has to be waited for, else None."""
        file = self._data
        held = file.handle
        if held is None or (not self._map.complete and self._map.missing(Span(offset, offset + size))):
            return None  # closed, or not here
        if self._data is not file:
            return None  # lost: see ``read``
        file.used = True
        self._last_use = self._services.wall()
        return read_at_once(held.fd, offset, size, into)

    def forget(self, span: Span) -> None:
        """Treat the blocks touching ``span`` as never fetched: a member's CRC was wrong."""
        with self._trust.changing(), disk.writing("an archive's map"), self._lock:
            self._mark(self._map.forget(span), b"\0")

    def claim(self, span: Span) -> Claim | None:
        """Claim these bytes for fetching; None while somebody (this process too) claims any of them.

        Whoever held them before may have fetched them: the map is refreshed, so ask ``missing`` again.
        """
        claim = Claim.take(self._reopen_data(), span)
        if claim is None:
            return None
        try:
            self.refresh(span)
        except CacheDamaged:
            claim.release()
            raise
        return claim

    # -- members -------------------------------------------------------------------------------------------------

    def member(self, index: int) -> MemberFile | None:
        """The finished member ``index``, opened; None if it is not kept."""
        if self._in_use is None or not (self.trusted or self._files.writable):
            return None
        return MemberFile.open(self._services.descriptors, self._in_use, index, self._services.wall)

    def keeps(self, index: int) -> bool:
        """Whether ``member`` gives one."""
        finished = self.member(index)
        if finished is not None:
            finished.close()
        return finished is not None

    def new_spool(self, index: int) -> Spool:
        """A file for member ``index`` to be inflated into. ``CacheFull`` if it cannot be made."""
        return Spool(
            self._services.place,
            self._services.budget,
            self._services.descriptors,
            publish=lambda path: self._publish(path, index),
            in_use=self._in_use,
            index=index,
            wall=self._services.wall,
        )

    def drop_member(self, index: int) -> None:
        """Remove the finished member ``index``; whoever has it open keeps reading."""
        self._services.budget.charge(-disk.remove_file(member_name(index), dir_fd=self._dir_fd))

    def mark_verified(self, index: int) -> None:
        """Remember, over restarts, that member ``index`` of a suspect snapshot passed its CRC."""
        self._trust.mark_verified(index)

    def is_verified(self, index: int) -> bool:
        """Whether member ``index`` may be believed: the snapshot is trusted, or it passed its CRC since."""
        return self._trust.is_verified(index)

    def trust(self) -> None:
        """Everything here has been checked: the snapshot is suspect no more."""
        self._trust.update(suspect=False)

    # -- life ----------------------------------------------------------------------------------------------------

    def mark_synced(self) -> bool:
        """Bring everything onto the disk and say so, so that a power cut leaves it believed.

        False if bytes were being written meanwhile, here or by another process: call again later. Takes as long as
        the disk needs. ``CacheFull`` if the disk fails.
        """
        self._use_recorded = 0.0  # replacing meta will set its mtime
        return self.attached() and self._trust.declare_synced(self._sync)

    @property
    def use_due(self) -> bool:
        """Whether the last use is long enough after the last one that was written down."""
        return self._last_use - self._use_recorded >= _USE_SECONDS

    def record_use(self) -> None:
        """Write the time of the last use to disk."""
        self._use_recorded = self._last_use
        if self._dir_fd >= 0:
            with contextlib.suppress(OSError):
                os.utime("meta", (self._last_use, self._last_use), dir_fd=self._dir_fd)

    def close(self) -> None:
        """Give up one opening; with the last one it may be evicted."""
        self._close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def shut(self) -> None:
        """The store's: close the files. Everybody else calls ``close``."""
        if not self._shut:
            self._shut = True
            self.record_use()
            self._files.close()
            if self._data is not self._files.data:
                self._data.close()
            if self._files.directory is None:
                self._budget.charge(-self._map.allocated)

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _dir_fd(self) -> int:
        return -1 if self._files.directory is None else self._files.directory.fd

    def _opened(self) -> tuple[File, Handle]:
        """The data file, open. If it is lost, an empty one in its place. OSError if it cannot be opened now."""
        file = self._data
        try:
            return file, file.acquire()
        except Gone:
            with self._lock:
                if self._data is file:
                    fresh = nameless_file(self._services)
                    self._trust.detach()
                    self._map_file = None
                    self._map.forget(Span(0, _MAP_END))  # before anybody can read from the new one
                    self._data = fresh
            return self._opened()

    def _reopen_data(self) -> int:
        """A second opening of the data file, with locks of its own, even if it was deleted meanwhile."""
        mode = (os.O_RDWR if self._files.writable else os.O_RDONLY) | os.O_CLOEXEC
        try:
            _, held = self._opened()
            return self._services.descriptors.attempt(lambda: os.open(f"/proc/self/fd/{held.fd}", mode))
        except OSError as error:
            raise CacheFull(f"the cache cannot open an archive: {error.strerror or error}") from error

    def _mark(self, run: Span, value: bytes = b"\1") -> None:
        if run.size and self._map_file is not None:
            with contextlib.suppress(Gone), self._map_file.acquire() as fd:  # Gone: nobody looks there any more
                disk.write_all(fd, value * run.size, run.start)

    def _publish(self, path: str, index: int) -> bool:
        """Rename a finished spool into the directory; False where it cannot be kept."""
        try:
            with self._trust.changing():
                self.drop_member(index)
                os.rename(path, member_name(index), dst_dir_fd=self._dir_fd)
        except (OSError, CacheFull):
            return False
        return True

    def _sync(self) -> None:
        with self._opened()[1] as fd:
            os.fsync(fd)
        if self._map_file is not None:
            with self._map_file.acquire() as fd:
                os.fsync(fd)
        with os.scandir(self._dir_fd) as items:
            names = [item.name for item in items if item.name.startswith("m.")]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(name, disk.READ, dir_fd=self._dir_fd)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        os.fsync(self._dir_fd)
        sync_directory(self._services.place.snapshots)


def _read_all(file: File, start: int = 0, stop: int = _MAP_END) -> bytes:
    with file.acquire() as fd:
        return disk.read_all(fd, start, stop)
