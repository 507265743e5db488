"""Opening a snapshot's directory: made whole or not at all, locked, and demoted after a power cut.

Concurrency: any number of processes may open, make or evict the same snapshot at once. Blocking, for
``OPEN_SECONDS`` at most where another process is at it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mountfs.errors import CacheDamaged, CacheFull
from mountfs.store import disk
from mountfs.store.about import About
from mountfs.store.budget import Budget
from mountfs.store.descriptors import Descriptors, File, Handle
from mountfs.store.eviction import take_away
from mountfs.store.place import Place

OPEN_SECONDS = 5.0

_EMPTY = 4 * disk.PAGE
"""What a snapshot without bytes takes, about."""

_EXISTS = frozenset({errno.EEXIST, errno.ENOTEMPTY})


@dataclass(frozen=True, slots=True)
class Services:
    """What a snapshot needs from the store. ``wall``: seconds since 1970."""

    place: Place
    budget: Budget
    wall: Callable[[], float]
    boot_id: str
    descriptors: Descriptors


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a snapshot. ``directory`` stays open: it holds the lock that says "in use", and the others are
    opened through it. One that lives in memory has no directory, and no map, which is for others and for later."""

    data: File
    writable: bool
    directory: Handle | None = None
    map: File | None = None

    def close(self) -> None:
        """Close them all, and with the directory the lock."""
        self.data.close()
        if self.map is not None:
            self.map.close()
        if self.directory is not None:
            self.directory.close()


def memory_files(services: Services) -> Files:
    """Files that take no disk and vanish when closed (memfd_create(2))."""
    return Files(File.pinned(services.descriptors.attempt(lambda: os.memfd_create("mountfs-data"))), writable=True)


def nameless_file(services: Services) -> File:
    """A file on the cache's disk that nobody else finds, and that vanishes when closed. OSError."""
    path, fd = services.descriptors.attempt(services.place.create)
    os.unlink(path)
    return File.pinned(fd)


def open_snapshot(services: Services, fresh: About, *, create: bool) -> tuple[Files, About] | None:
    """The snapshot's files, locked as in use, and its description; None if it is absent and not ``create``.

    ``fresh``: the description of a new one. ``CacheFull`` if it cannot be made or opened.
    """
    path = os.path.join(services.place.snapshots, fresh.key)
    deadline = time.monotonic() + OPEN_SECONDS
    with disk.writing("a snapshot"):
        while True:
            # Whatever vanishes between two steps was just evicted, or deleted by hand: start over.
            with contextlib.suppress(FileNotFoundError):
                found = _enter(services, path)
                if found is None and not os.path.lexists(path):
                    if not create:
                        return None
                    services.budget.reserve(_EMPTY)
                    found = services.budget.attempt(_EMPTY, lambda: _make(services, path, fresh))
                if found is not None:
                    return _open_parts(services, found[0]), found[1]
            if time.monotonic() > deadline:
                raise CacheFull("another process keeps a snapshot of the cache locked, or deletes it all the time")
            time.sleep(0.002)


def read_about(dir_fd: int) -> About:
    """``meta`` of an open directory. ``CacheDamaged`` if it is not readable, FileNotFoundError if not there."""
    fd = os.open("meta", disk.READ, dir_fd=dir_fd)
    try:
        return About.load(disk.read_all(fd))
    finally:
        os.close(fd)


def _open_parts(services: Services, dir_fd: int) -> Files:
    """``data`` and ``map``, for reading and writing, or, on a disk that refuses writing, for reading. Takes over
    ``dir_fd``."""
    directory = Handle(dir_fd)
    with contextlib.ExitStack() as undo:
        undo.callback(directory.close)
        flags = disk.READ_WRITE
        try:
            data = open_file(services.descriptors, directory, "data", flags)
        except OSError as error:
            if error.errno not in disk.READ_ONLY:
                raise
            flags = disk.READ
            data = open_file(services.descriptors, directory, "data", flags)
        undo.callback(data.close)
        map_file = open_file(services.descriptors, directory, "map", flags)
        undo.pop_all()
        return Files(data, flags == disk.READ_WRITE, directory, map_file)


def open_file(descriptors: Descriptors, directory: Handle, name: str, flags: int) -> File:
    """A file in an open directory. OSError if it cannot be opened."""

    def opener() -> int:
        return os.open(name, flags, dir_fd=directory.fd)

    return File(descriptors, descriptors.attempt(opener), opener)


def _enter(services: Services, path: str) -> tuple[int, About] | None:
    """Open and lock what is at ``path``; None if nothing is there, or somebody is just changing it."""
    try:
        fd = services.descriptors.attempt(lambda: os.open(path, disk.DIRECTORY))
    except FileNotFoundError:
        return None
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, fd)
        if not disk.try_flock(fd, fcntl.LOCK_SH) or not disk.same_file(fd, path):
            return None
        try:
            about = read_about(fd)
            for name in ("data", "map"):
                os.stat(name, dir_fd=fd)
        except (CacheDamaged, FileNotFoundError):
            if disk.try_flock(fd, fcntl.LOCK_EX):
                services.budget.charge(-take_away(services.place, path))
            return None
        if about.dirty_boot not in (None, services.boot_id):
            if not disk.try_flock(fd, fcntl.LOCK_EX):
                return None
            about = _demote(services, fd, path, about)
            if not disk.try_flock(fd, fcntl.LOCK_SH) or not disk.same_file(fd, path):
                return None
        undo.pop_all()
        return fd, about


def _demote(services: Services, dir_fd: int, path: str, about: About) -> About:
    """A boot ended before these bytes were synced: drop the inflated members and old marks, and call it suspect.

    A disk that refuses writing keeps its files; they are suspect all the same, and no member is read from there.
    """
    about = replace(about, suspect=True, dirty_boot=services.boot_id)
    with os.scandir(dir_fd) as items:
        names = [item.name for item in items if item.name.startswith("m.") or item.name == "checked"]
    try:
        for name in names:
            size = disk.disk_size(os.stat(name, dir_fd=dir_fd))
            os.unlink(name, dir_fd=dir_fd)
            services.budget.charge(-size)
        services.budget.charge(services.place.save(os.path.join(path, "meta"), about.dump(), sync=True))
    except OSError as error:
        if error.errno not in disk.READ_ONLY:
            raise
    return about


def _make(services: Services, path: str, about: About) -> tuple[int, About] | None:
    """Make the directory aside, lock it, and rename it to ``path``; None if somebody else was first."""
    aside = services.place.fresh()
    os.mkdir(aside, 0o700)
    with contextlib.ExitStack() as undo:
        undo.callback(disk.remove_tree, aside)
        fd = os.open(aside, disk.DIRECTORY)
        undo.callback(os.close, fd)
        for name in ("data", "map"):
            os.close(os.open(name, disk.CREATE, 0o600, dir_fd=fd))
        services.place.save(os.path.join(aside, "meta"), about.dump())
        disk.try_flock(fd, fcntl.LOCK_SH)
        if not os.path.lexists(services.place.snapshots):
            services.place.rebuild()
            return None
        try:
            os.rename(aside, path)
        except OSError as error:
            if error.errno not in _EXISTS:
                raise
            return None
        services.budget.charge(disk.tree_size(path))
        undo.pop_all()
        return fd, about
