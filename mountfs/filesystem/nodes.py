"""The file system's own types: who asks, what an inode stands for, what is told of it, what is open.

Concurrency: values, and nodes that change on the trio task thread only.
"""

from __future__ import annotations

import os
import re
import signal
import stat
from dataclasses import dataclass
from typing import NamedTuple

from mountfs.content import Reader
from mountfs.model import Inode, Kind
from mountfs.session import Session, Sessions, Snapshot
from mountfs.tree import ROOT as ROOT_NODE
from mountfs.zipformat import printable

MODES = {Kind.DIRECTORY: stat.S_IFDIR | 0o555, Kind.FILE: stat.S_IFREG | 0o444, Kind.SYMLINK: stat.S_IFLNK | 0o777}
DIRECTORY_MODE = MODES[Kind.DIRECTORY]
FILE_MODE = MODES[Kind.FILE]
EXECUTABLE = 0o111
SIGNALS = re.compile(rb"\nSigPnd:\t(\w+)\nShdPnd:\t(\w+)\nSigBlk:\t(\w+)\nSigIgn:\t(\w+)\n")
"""Four lines of /proc/PID/status, proc(5): half the time of going through all of its lines."""
NO_SIGNALS = (0, 0, 0, 0)
KILLED = 1 << (signal.SIGKILL - 1)
STATUS_SIZE = 16384  # it has 2 KiB and a line each of groups and CPUs, which a large machine makes long


class Caller(NamedTuple):
    """Who asks. ``pid``: its thread id as the kernel gives it; 0 where it is in another namespace, or none of it."""

    pid: int = 0

    def interrupted(self) -> bool:
        """Whether an unblocked, not ignored signal is pending, which the kernel could not deliver (design.md §2)."""
        own, shared, blocked, ignored = self._signals()
        return bool((own | shared) & ~blocked & ~ignored)

    def dying(self) -> bool:
        """Whether a signal that ends it is pending, and with it, as the kernel has it, SIGKILL."""
        own, shared, _, _ = self._signals()
        return bool((own | shared) & KILLED)

    def _signals(self) -> tuple[int, ...]:
        """Pending for the thread, pending for the process, blocked, ignored; nothing where that cannot be known."""
        if self.pid <= 0:
            return NO_SIGNALS
        try:
            status = os.open(f"/proc/{self.pid}/status", os.O_RDONLY | os.O_CLOEXEC)
            try:
                found = SIGNALS.search(os.read(status, STATUS_SIZE))
            finally:
                os.close(status)
        except OSError:
            return NO_SIGNALS
        return NO_SIGNALS if found is None else tuple(int(mask, 16) for mask in found.groups())

    def program(self) -> str:
        """The name of the process, as in /proc/PID/comm; empty where it cannot be known."""
        try:
            with open(f"/proc/{self.pid}/comm", encoding="utf-8", errors="replace") as comm:
                return comm.read().strip()
        except OSError:
            return ""


NOBODY = Caller()


class Attributes(NamedTuple):
    """What the kernel is told of an inode. Sizes in bytes, times in ns since 1970, ``ttl`` seconds it may be
    believed."""

    inode: Inode
    mode: int
    size: int
    mtime_ns: int
    ttl: float


Row = tuple[bytes, Inode, "Node | None", int, int, int, float, int]
"""A ``Dentry`` as a plain tuple, for those who make a hundred thousand: name, inode, node, and its attributes (mode,
size in bytes, time in ns, seconds they may be believed), cookie. Without a node it is a name alone: of its attributes
only the type (in ``mode``) is told."""
DOTS = 2
"""The cookies of '.' and '..', of which the kernel keeps no count, are up to this."""


class Dentry(NamedTuple):
    """One name of a listing; ``cookie`` is where to go on after it."""

    name: bytes
    attributes: Attributes
    cookie: int
    node: Node | None


class Node:
    """What an inode stands for: the root, a provider, a session, or (``snapshot``, ``place``) a member or directory
    in one.

    A directory's node is bound anew to the current snapshot when that changes; a file's is not: its inode is its
    version."""

    __slots__ = ("inode", "lookups", "place", "session", "sessions", "snapshot")

    def __init__(
        self,
        inode: Inode,
        sessions: Sessions | None = None,
        session: Session | None = None,
        snapshot: Snapshot | None = None,
        place: int = ROOT_NODE,
    ) -> None:
        self.inode = inode
        self.lookups = 0
        self.sessions = sessions
        self.session = session
        self.snapshot = snapshot
        self.place = place

    @property
    def is_directory(self) -> bool:
        return self.place < 0


@dataclass(eq=False, slots=True)
class OpenFile:
    """A file handle."""

    reader: Reader
    snapshot: Snapshot
    session: Session
    inode: Inode
    place: int
    caller: Caller = NOBODY
    _program: str | None = None

    @property
    def label(self) -> str:
        """Its path, for the log: made when it is asked for, 15 us that hardly any open needs."""
        return f"{self.session.label}/{printable(self.snapshot.namespace.path(self.place))}"

    def program(self) -> str:
        """The name of the program that opened it."""
        if self._program is None:
            self._program = self.caller.program() if self.caller.pid > 0 else ""
        return self._program


@dataclass(eq=False, slots=True)
class OpenDirectory:
    """A directory handle: a listing that never changes under its reader."""

    node: Node
    snapshot: Snapshot | None = None
    place: int = ROOT_NODE
    sessions: list[Session] | None = None
