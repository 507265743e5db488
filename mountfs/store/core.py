"""``Store``: the disk cache as the rest of mountfs sees it. Layout: ``place.py``; trust and locks: ``snapshot.py``.

Concurrency: thread-safe, and any number of processes may share a directory. Everything here may block on the disk
and belongs into a worker thread; nothing waits for another process longer than that one's few system calls.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mountfs.errors import CacheDamaged, CacheFull
from mountfs.store import disk
from mountfs.store.about import About, Address, Facts, shelf
from mountfs.store.budget import Budget, Ledger
from mountfs.store.descriptors import Descriptors
from mountfs.store.eviction import Evictor
from mountfs.store.opening import Services, read_about
from mountfs.store.place import SALT_SIZE, Place
from mountfs.store.records import SessionRecord, Shelves, current_snapshots
from mountfs.store.snapshot import Snapshot
from mountfs.store.table import Table

_log = logging.getLogger(__name__)

_RESCAN_SECONDS = 600.0
"""How often the shared total is corrected by a walk: crashes and directory growth leave it a little wrong."""

_RESCAN_SOON = 30.0
"""How soon after a walk during which others wrote: what they wrote may have been counted twice."""

_QUIET_SECONDS = 10.0
"""A snapshot not written to for so long is synced: sooner would sync a download many times over."""

_LOG_SECONDS = 60.0
"""The least time between two lines about a disk that refuses, and takes, and refuses."""


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """``used``: bytes on disk, as of the walk that counted them; ``max_size``: the bound."""

    directory: str
    used: int
    max_size: int
    sessions: int
    snapshots: int
    free: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What ``Store.verify`` found: how many snapshots are sound, the session ids of those dropped."""

    sound: int
    dropped: tuple[str, ...]


class Store:
    """A cache directory. ``max_size``, ``min_free``: bytes; ``wall``: seconds since 1970; ``clock``: monotonic.
    ``memory``: bytes that all snapshots together may take in memory where the disk refuses them."""

    def __init__(
        self,
        directory: str,
        *,
        max_size: int,
        min_free: int,
        memory: int = 64 << 20,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        boot_id: Callable[[], str] = disk.read_boot_id,
        descriptors: Descriptors | None = None,
    ) -> None:
        self._place = Place(directory)
        self._ledger = Ledger(self._place.used)
        self._evictor = Evictor(self._place)
        self._budget = Budget(
            self._ledger,
            self._place.directory,
            max_size=max_size,
            min_free=min_free,
            evict=self._evictor.free,
            clock=clock,
        )
        self._clock = clock
        self._memory = self._memory_budget(memory)
        # An unknown boot gets a name of its own: then nothing another run left unsynced is believed.
        self._services = Services(
            self._place, self._budget, wall, boot_id() or secrets.token_hex(16), descriptors or Descriptors()
        )
        self._salt: bytes | None = None
        self._shelves = Shelves(self._place)
        self._table = Table(self._services)
        self._rescan_at = float("-inf")
        self._quiet: dict[str, tuple[int, float]] = {}
        self._logged = ""
        self._log_at = float("-inf")

    # -- life ----------------------------------------------------------------------------------------------------

    def open(self) -> Store:
        """Make the directory and remove what dead processes left. A disk that refuses is logged, not raised: the
        store then keeps nothing until it recovers. ``CacheError`` if the directory is somebody else's."""
        disk.start_freeing()
        try:
            self._place.build()
            freed = self._place.sweep()
            known = self._ledger.open()
            self._budget.charge(self._place.enter() - freed)
        except OSError as error:
            known = False
            _log.warning("the cache directory %s cannot be used: %s", self._place.directory, error.strerror)
        self._rescan_at = self._clock()
        if not known:
            self._rescan()
        return self

    def close(self) -> None:
        """Close every snapshot and give up this process's tmp directory."""
        self._table.close_all()
        self._place.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def maintain(self) -> None:
        """Housekeeping, to be called about every half second: records uses, brings to the disk what is written no
        more, corrects the total, holds the bound, and logs when the disk begins or ceases to refuse."""
        self._sync_one()
        self._table.record_use()
        self._log_trouble()
        if self._ledger.lost():
            self._recover()
        if self._clock() >= self._rescan_at:
            self._rescan()
        with contextlib.suppress(CacheFull):
            self._budget.reserve(0)

    def search_again(self) -> None:
        """Something was closed: what found no room a moment ago may find it now."""
        self._budget.search_again()

    @property
    def tight(self) -> bool:
        """Whether there is more than there may be, all of it in use."""
        return self._budget.excess() > 0

    @property
    def directory(self) -> str:
        """Where everything lies."""
        return self._place.directory

    @property
    def max_size(self) -> int:
        """The bound, in bytes."""
        return self._budget.max_size

    @property
    def used(self) -> int:
        """Bytes on disk as counted so far, by all processes."""
        return self._budget.used

    @property
    def evictions(self) -> tuple[int, int]:
        """(snapshots and members, bytes) that made room for others, by this process."""
        return self._evictor.evicted, self._evictor.evicted_bytes

    # -- sessions ------------------------------------------------------------------------------------------------

    def account(self, base_url: str, key: str | None) -> str:
        """Whose bytes these are, as hex: an HMAC, under a salt that never leaves the cache, of URL and key."""
        if self._salt is None:
            try:
                self._salt = self._place.salt()
            except OSError:
                self._salt = secrets.token_bytes(SALT_SIZE)
        secret = b"\0" if key is None else b"\1" + key.encode()
        return hmac.new(self._salt, base_url.encode() + b"\0" + secret, hashlib.sha256).hexdigest()

    def session(self, address: Address) -> SessionRecord:
        """What is known of one session."""
        return SessionRecord(self._place, self._budget, address)

    def sessions(self, content_key: str, account: str) -> list[tuple[str, Facts]]:
        """(session id, facts) of every session with a record, in no order; not to be changed."""
        return self._shelves.list(shelf(content_key, account))

    # -- snapshots -----------------------------------------------------------------------------------------------

    def snapshot(self, address: Address, name: str) -> Snapshot:
        """Open a snapshot, making it if need be. Two openings in one process give the same object; each needs its
        own ``close``. Where the disk refuses, it lives in memory: see ``ephemeral``."""
        try:
            snapshot = self._table.open(self._fresh(address, name), create=True)
        except CacheFull:
            snapshot = None
        return snapshot or self.ephemeral(address, name)

    def find(self, address: Address, name: str) -> Snapshot | None:
        """Open a snapshot if it is there and can be opened."""
        return self._find(self._fresh(address, name))

    def ephemeral(self, address: Address, name: str, limit: int | None = None) -> Snapshot:
        """A snapshot in memory. It keeps no members, nobody else finds it, and it is gone with its ``close``.

        ``limit``: bytes it may hold; None: it shares ``memory`` with all the others. Beyond that writing is
        ``CacheFull``, as is this call if there is no memory at all.
        """
        budget = self._memory if limit is None else self._memory_budget(limit)
        return self._table.open_in_memory(self._fresh(address, name), budget)

    def drop(self, snapshot: Snapshot) -> None:
        """What it holds is wrong: the next opening starts afresh. Those who have it open keep it until they close."""
        self._table.drop(snapshot)

    # -- the verbs of ``mountfs cache`` --------------------------------------------------------------------------

    def info(self) -> CacheInfo:
        """What the cache holds. Walks all of it."""
        self._rescan()
        shelves = _names(self._place.records)
        free = 0
        with contextlib.suppress(OSError):
            state = os.statvfs(self._place.directory)
            free = state.f_bavail * state.f_frsize
        return CacheInfo(
            directory=self._place.directory,
            used=self._budget.used,
            max_size=self._budget.max_size,
            sessions=sum(len(_names(os.path.join(self._place.records, name))) for name in shelves),
            snapshots=len(_names(self._place.snapshots)),
            free=free,
        )

    def prune(self) -> int:
        """Remove leftovers, snapshots no record names, and whatever is over the bound; answers the bytes freed."""
        freed = self._sweep()
        current = set(current_snapshots(self._place))
        for key in _names(self._place.snapshots):
            if key not in current:
                freed += self._remove(key)
        excess = self._budget.excess()
        return freed + (self._budget.free(excess) if excess > 0 else 0)

    def clear(self) -> int:
        """Remove everything that is not in use; answers the bytes freed."""
        freed = self._sweep()
        for key in _names(self._place.snapshots):
            freed += self._remove(key)
        leftover = self._evictor.free(1 << 62)
        self._budget.charge(-leftover)
        return freed + leftover

    def verify(self, sound: Callable[[Snapshot], bool]) -> Verified:
        """Ask ``sound`` of every snapshot, and drop those of which it says False or raises ``CacheDamaged``."""
        good, dropped = 0, []
        for key in _names(self._place.snapshots):
            about = self._describe(key)
            snapshot = None if about is None else self._find(about)
            if snapshot is None:
                continue
            with snapshot:
                try:
                    believed = sound(snapshot)
                except CacheDamaged as error:
                    _log.warning("session %s in the cache: %s; it is dropped", snapshot.session_id, error)
                    believed = False
                if believed:
                    good += 1
                else:
                    dropped.append(snapshot.session_id)
                    self.drop(snapshot)
        return Verified(good, tuple(dropped))

    # -- inside --------------------------------------------------------------------------------------------------

    def _memory_budget(self, limit: int) -> Budget:
        return Budget(
            Ledger(""), self._place.directory, max_size=limit, min_free=0, evict=lambda _size: 0, clock=self._clock
        )

    def _fresh(self, address: Address, name: str) -> About:
        return About(address.shelf, address.session_id, name, dirty_boot=self._services.boot_id)

    def _find(self, about: About) -> Snapshot | None:
        with contextlib.suppress(CacheFull):
            return self._table.open(about, create=False)
        return None

    def _describe(self, key: str) -> About | None:
        with contextlib.suppress(OSError, CacheDamaged):
            fd = os.open(os.path.join(self._place.snapshots, key), disk.DIRECTORY)
            try:
                return read_about(fd)
            finally:
                os.close(fd)
        return None

    def _remove(self, key: str) -> int:
        freed = self._evictor.remove_snapshot(key) or 0
        self._budget.charge(-freed)
        return freed

    def _sweep(self) -> int:
        with contextlib.suppress(OSError):
            freed = self._place.sweep()
            self._budget.charge(-freed)
            return freed
        return 0

    def _sync_one(self) -> None:
        """Sync one snapshot that has not been written to for a while; fsync may take its time, so only one a call."""
        now = self._clock()
        changes = self._table.changes()
        self._quiet = {
            key: seen if (seen := self._quiet.get(key, (0, now)))[0] == count else (count, now)
            for key, count in changes.items()
        }
        due = next((key for key, (_count, since) in self._quiet.items() if now - since >= _QUIET_SECONDS), None)
        if due is None:
            return
        self._quiet[due] = (changes[due], now)
        with self._table.borrow(due) as snapshot:
            if snapshot is not None:
                try:
                    snapshot.mark_synced()
                except CacheFull as error:
                    _log.info("session %s is not synced: %s", snapshot.session_id, error)

    def _log_trouble(self) -> None:
        trouble = self._budget.trouble
        if bool(trouble) == bool(self._logged) or self._clock() < self._log_at:
            return
        self._logged, self._log_at = trouble, self._clock() + _LOG_SECONDS
        if trouble:
            _log.warning(
                "the cache %s refuses what is read: %s; reading goes on, with less cached; free space on its disk, "
                "raise cache.max_size, or point cache.dir elsewhere",
                self._place.directory,
                trouble,
            )
        else:
            _log.info("the cache %s takes what is read again", self._place.directory)

    def _recover(self) -> None:
        """The directory was deleted under us, or its disk refused us: try to have one again."""
        try:
            self._place.rebuild()
            if self._salt is not None:
                self._place.salt(self._salt)
        except OSError:
            return
        if not self._ledger.lost() or not self._ledger.open():
            self._rescan_at = self._clock()

    def _rescan(self) -> None:
        before = self._ledger.total()
        walked = disk.tree_size(self._place.directory)
        quiet = self._ledger.total() == before
        self._ledger.correct(before, walked)
        self._rescan_at = self._clock() + (_RESCAN_SECONDS if quiet else _RESCAN_SOON)


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
