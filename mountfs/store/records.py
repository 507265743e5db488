"""What is known of sessions: one small JSON file each, replaced atomically.

A record is not synced: after a power cut it is the new one, the old one, or does not parse and so does not exist.

A record is saved by a rename, and a rename changes its directory's mtime: that tells whether a shelf has changed.

Concurrency: thread-safe and shared between processes; the last save wins. Blocking.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from mountfs.errors import CacheFull
from mountfs.store import disk
from mountfs.store.about import VERSION, Address, Facts, record_name, snapshot_key
from mountfs.store.budget import Budget
from mountfs.store.place import Place

_FRESH_NS = 2_000_000_000
"""Two changes within one tick of a file system's clock have one mtime: ticks are up to 10 ms, on some disks 2 s."""


def read_record(path: str) -> dict[str, Any] | None:
    """The file's wrapper (``id``, ``snapshot``, ``facts``); None if it is not there or not ours."""
    try:
        fd = os.open(path, disk.READ)
    except OSError:
        return None
    try:
        wrapper = json.loads(disk.read_all(fd))
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)
    if not isinstance(wrapper, dict) or wrapper.get("version") != VERSION:
        return None
    if not isinstance(wrapper.get("id"), str) or not isinstance(wrapper.get("facts"), dict):
        return None
    return wrapper


def snapshot_of(shelf: str, wrapper: dict[str, Any] | None) -> str | None:
    """The key of the snapshot a record names, if any."""
    if wrapper is None or not isinstance(wrapper.get("snapshot"), str):
        return None
    return snapshot_key(shelf, wrapper["id"], wrapper["snapshot"])


class SessionRecord:
    """The record of one session."""

    def __init__(self, place: Place, budget: Budget, address: Address) -> None:
        self._place = place
        self._budget = budget
        self._address = address
        self._path = os.path.join(place.records, address.shelf, record_name(address.session_id))

    def load(self) -> Facts | None:
        """The facts last saved, by any process; None if there are none."""
        wrapper = read_record(self._path)
        return None if wrapper is None or wrapper["id"] != self._address.session_id else wrapper["facts"]

    def save(self, facts: Facts, *, snapshot: str | None = None) -> bool:
        """Replace the facts (JSON values; never a URL or key). ``snapshot``: the name of the session's current
        snapshot; when that is evicted, the record goes with it. False if the disk or the bound refuses."""
        wrapper = {"version": VERSION, "id": self._address.session_id, "snapshot": snapshot, "facts": facts}
        data = json.dumps(wrapper).encode()
        try:
            self._budget.reserve(disk.PAGE)
            with disk.writing("a session's record"):
                self._budget.charge(self._budget.attempt(disk.PAGE, lambda: self._write(data)))
        except CacheFull:
            return False
        return True

    def remove(self) -> None:
        """Forget the session's facts; its snapshots stay until they are evicted."""
        self._budget.charge(-disk.remove_file(self._path))

    def _write(self, data: bytes) -> int:
        with contextlib.suppress(FileNotFoundError):
            return self._place.save(self._path, data)
        self._place.rebuild()
        shelf = os.path.dirname(self._path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(shelf, 0o700)
            self._budget.charge(disk.disk_size(os.stat(shelf)))
        return self._place.save(self._path, data)


class Shelves:
    """Every record of a shelf at once, from memory while nothing was saved there: 10,000 take 0.1 s to read."""

    def __init__(self, place: Place, time_ns: Callable[[], int] = time.time_ns) -> None:
        self._place = place
        self._time_ns = time_ns
        self._known: dict[str, tuple[int, list[tuple[str, Facts]]]] = {}

    def list(self, shelf: str) -> list[tuple[str, Facts]]:
        """(session id, facts) of every record, in no order; not to be changed."""
        path = os.path.join(self._place.records, shelf)
        try:
            changed = os.stat(path).st_mtime_ns
        except OSError:
            return []
        known = self._known.get(shelf)
        if known is not None and known[0] == changed:
            return known[1]
        found = list(_read_all(path))
        # A save right after ours may bear the same time: what is as fresh as that is read again next time.
        if self._time_ns() - changed > _FRESH_NS:
            self._known[shelf] = (changed, found)
        return found


def _read_all(path: str) -> Iterator[tuple[str, Facts]]:
    with contextlib.suppress(OSError), os.scandir(path) as items:
        for item in items:
            wrapper = read_record(item.path)
            if wrapper is not None:
                yield wrapper["id"], wrapper["facts"]


def current_snapshots(place: Place) -> Iterator[str]:
    """The keys of all snapshots that a record names."""
    with contextlib.suppress(OSError), os.scandir(place.records) as shelves:
        for shelf in shelves:
            with contextlib.suppress(OSError), os.scandir(shelf.path) as items:
                for item in items:
                    key = snapshot_of(shelf.name, read_record(item.path))
                    if key is not None:
                        yield key
