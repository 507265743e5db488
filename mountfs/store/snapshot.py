"""One version of one archive on disk: its bytes so far, which of them are here, and its inflated members.

Reading is lock-free: a byte whose block is present never changes. Writing puts the bytes into the sparse data file
first and marks their blocks in the map file afterwards, so a process killed anywhere forgets at most what it was
writing; what a power cut does is in ``trust``. While it is open, a shared flock on its directory keeps it from
being evicted. If its directory is deleted all the same, it goes on with the files it has open, and keeps nothing.

Concurrency: thread-safe. ``read``, ``write``, ``claim``, ``mark_synced`` and everything that saves may block on the
disk; ``has``, ``missing`` and ``try_read`` never do, and may be called on an event loop.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mountfs.errors import CacheDamaged, CacheFull
from mountfs.model import Span
from mountfs.store import disk
from mountfs.store.about import About, Facts
from mountfs.store.blocks import BLOCK, BlockMap
from mountfs.store.budget import Budget
from mountfs.store.claims import Claim
from mountfs.store.members import MemberFile, Spool, read_at_once, read_exactly
from mountfs.store.opening import Files, Services
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
        self._services = services
        self._budget = budget
        self._close = close
        self._lock = threading.Lock()
        self._last_use = services.wall()
        self._use_recorded = 0.0
        self._files = files
        self._data_fd, self._map_fd, self._dir_fd = files.data, files.map, files.directory
        present = disk.read_all(files.map)
        self._trust = Trust(
            services.place,
            services.budget,
            about,
            dir_fd=files.directory,
            map_fd=files.map,
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
                os.ftruncate(self._data_fd, length)
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
                self._map.adopt(first, disk.read_all(self._map_fd, first, stop))
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
            self._budget.attempt(size, lambda: disk.write_all(self._data_fd, data, offset))
            with self._lock:
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
        if self._map.missing(Span(offset, offset + size)):
            with self._lock:
                gaps = self._map.missing(Span(offset, offset + size))
            if gaps:
                raise CacheDamaged(f"bytes {offset} to {offset + size} of an archive are not in the cache")
        self._last_use = self._services.wall()
        return read_exactly(self._data_fd, offset, size)

    def try_read(self, offset: int, size: int) -> bytes | None:
        """These bytes if they are here and no disk has to be waited for, else None."""
        if not self._map.complete and self._map.missing(Span(offset, offset + size)):
            return None
        self._last_use = self._services.wall()
        return read_at_once(self._data_fd, offset, size)

    def forget(self, span: Span) -> None:
        """Treat the blocks touching ``span`` as never fetched: a member's CRC was wrong."""
        with self._trust.changing(), disk.writing("an archive's map"), self._lock:
            run = self._map.forget(span)
            if run.size:
                disk.write_all(self._map_fd, bytes(run.size), run.start)

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
        if self._dir_fd < 0 or not (self.trusted or self._files.writable):
            return None
        return MemberFile.open(self._dir_fd, f"m.{index}", self._services.wall)

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
            publish=lambda path: self._publish(path, index),
            wall=self._services.wall,
        )

    def drop_member(self, index: int) -> None:
        """Remove the finished member ``index``; whoever has it open keeps reading."""
        self._services.budget.charge(-disk.remove_file(f"m.{index}", dir_fd=self._dir_fd))

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def shut(self) -> None:
        """The store's: close the files. Everybody else calls ``close``."""
        if self._data_fd >= 0:
            self.record_use()
            self._trust.close()
            self._files.close()
            if self._dir_fd < 0:
                self._budget.charge(-self._map.allocated)
        self._map_fd = self._data_fd = self._dir_fd = -1

    # -- inside --------------------------------------------------------------------------------------------------

    def _reopen_data(self) -> int:
        """A second opening of the data file, with locks of its own, even if it was deleted meanwhile."""
        mode = (os.O_RDWR if self._files.writable else os.O_RDONLY) | os.O_CLOEXEC
        try:
            return os.open(f"/proc/self/fd/{self._data_fd}", mode)
        except OSError as error:
            raise CacheFull(f"the cache cannot open an archive: {error.strerror or error}") from error

    def _mark(self, run: Span) -> None:
        if run.size:
            disk.write_all(self._map_fd, b"\1" * run.size, run.start)

    def _publish(self, path: str, index: int) -> bool:
        """Rename a finished spool into the directory; False where it cannot be kept."""
        try:
            with self._trust.changing():
                self.drop_member(index)
                os.rename(path, f"m.{index}", dst_dir_fd=self._dir_fd)
        except (OSError, CacheFull):
            return False
        return True

    def _sync(self) -> None:
        os.fsync(self._data_fd)
        os.fsync(self._map_fd)
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
