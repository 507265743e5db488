"""The snapshots this process has open: each of them once, however often it is asked for.

Concurrency: thread-safe. One lock guards the table and is never held across a system call, so ``close`` waits for
nobody. Opening may have to evict first, and takes one of several locks by key, so that a snapshot is opened once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from mountfs.errors import CacheFull
from mountfs.store import disk
from mountfs.store.about import About
from mountfs.store.budget import Budget
from mountfs.store.eviction import take_away
from mountfs.store.opening import Services, memory_files, open_snapshot
from mountfs.store.snapshot import Snapshot

_STRIPES = 64
"""Locks for opening: so many that two snapshots seldom wait for each other."""


class Table:
    """Opens, counts and closes snapshots."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        self._open: dict[str, Snapshot] = {}

    def open(self, about: About, *, create: bool) -> Snapshot | None:
        """One more opening of the snapshot ``about`` describes; None if it is absent and not ``create``.

        One whose directory is gone is opened anew, beside those who still have it. ``CacheFull`` if it cannot be.
        """
        with self._stripes[hash(about.key) % len(self._stripes)]:
            with self.borrow(about.key) as known:
                if known is not None and known.attached():
                    with self._lock:
                        known.users += 1
                    return known
            found = open_snapshot(self._services, about, create=create)
            if found is None:
                return None
            files, about = found
            try:
                with disk.writing("a snapshot"):
                    snapshot = Snapshot(self._services, files, about, budget=self._services.budget, close=self._close)
            except CacheFull:
                files.close()
                raise
            snapshot.users = 1
            with self._lock:
                self._open[about.key] = snapshot
            return snapshot

    def open_in_memory(self, about: About, budget: Budget) -> Snapshot:
        """A snapshot of its own, in memory, of which ``budget`` decides. ``CacheFull`` if there is none."""
        with disk.writing("a snapshot in memory"):
            snapshot = Snapshot(self._services, memory_files(self._services), about, budget=budget, close=self._close)
        snapshot.users = 1
        return snapshot

    def drop(self, snapshot: Snapshot) -> None:
        """Take it out of its place, for those who have it open to finish with."""
        with self._lock:
            if self._open.get(snapshot.key) is snapshot:
                del self._open[snapshot.key]
        if snapshot.attached():
            path = os.path.join(self._services.place.snapshots, snapshot.key)
            self._services.budget.charge(-take_away(self._services.place, path))

    def record_use(self) -> None:
        """Write down when each was used last (see ``Snapshot.record_use``)."""
        with self._lock:
            due = [key for key, snapshot in self._open.items() if snapshot.use_due]
        for key in due:
            with self.borrow(key) as snapshot:
                if snapshot is not None:
                    snapshot.record_use()

    def changes(self) -> dict[str, int]:
        """``Snapshot.changes`` of all that have any, by key."""
        with self._lock:
            return {key: snapshot.changes for key, snapshot in self._open.items() if snapshot.changes}

    @contextlib.contextmanager
    def borrow(self, key: str) -> Iterator[Snapshot | None]:
        """One that is open, kept open meanwhile; None if it is not open any more."""
        with self._lock:
            snapshot = self._open.get(key)
            if snapshot is not None:
                snapshot.users += 1
        try:
            yield snapshot
        finally:
            if snapshot is not None:
                snapshot.close()

    def close_all(self) -> None:
        """Close everything, in use or not."""
        with self._lock:
            snapshots = list(self._open.values())
            self._open.clear()
        for snapshot in snapshots:
            snapshot.shut()

    def _close(self, snapshot: Snapshot) -> None:
        with self._lock:
            snapshot.users -= 1
            if snapshot.users:
                return
            if self._open.get(snapshot.key) is snapshot:
                del self._open[snapshot.key]
        snapshot.shut()
