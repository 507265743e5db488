"""What is known of sessions: one small JSON file each, replaced atomically.

A record is not synced: after a power cut it is the new one, the old one, or does not parse and so does not exist.

Concurrency: thread-safe and shared between processes; the last save wins. Blocking.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from mountfs.errors import CacheFull
from mountfs.store import disk
from mountfs.store.about import VERSION, Address, Facts, record_name, snapshot_key
from mountfs.store.budget import Budget
from mountfs.store.place import Place


def read_record(path: str) -> dict[str, Any] | None:
    """The file's wrapper (``id``, ``snapshot``, ``facts``); None if it is not there or not ours."""
    try:
        fd = os.open(path, disk.READ)
    except OSError:
        return None
    try:
        wrapper = json.loads(os.read(fd, 1 << 20))
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


def list_records(place: Place, shelf: str) -> list[tuple[str, Facts]]:
    """(session id, facts) of every record on a shelf, in no order."""
    found = []
    with contextlib.suppress(OSError), os.scandir(os.path.join(place.records, shelf)) as items:
        for item in items:
            wrapper = read_record(item.path)
            if wrapper is not None:
                found.append((wrapper["id"], wrapper["facts"]))
    return found


def current_snapshots(place: Place) -> Iterator[str]:
    """The keys of all snapshots that a record names."""
    with contextlib.suppress(OSError), os.scandir(place.records) as shelves:
        for shelf in shelves:
            with contextlib.suppress(OSError), os.scandir(shelf.path) as items:
                for item in items:
                    key = snapshot_of(shelf.name, read_record(item.path))
                    if key is not None:
                        yield key
