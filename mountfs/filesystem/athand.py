"""What can be answered at once: the half of the file system that never waits.

*At hand* is what memory, or the kernel's page cache of our own files, can answer now: a name in the snapshot that is
shown, a file whose first bytes are here, bytes that are here. Each question has a synchronous method here that answers
it, raises what is known to be wrong, or says None: that one has to be waited for, and ``Filesystem`` (which is this,
and waits) is asked the same question. So a request of the kernel that needs no wait needs no task, no deadline and no
trip through the scheduler (``fuse.express``).

``read_at_hand`` and ``Filesystem.read`` are the two ways bytes leave, and ``_exact`` the one place both go through: it
answers exactly what was asked for (up to the member's size) or raises. A short reply would make the kernel truncate
the file silently.

Concurrency: synchronous, trio task thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator

import trio

from mountfs.config import Config
from mountfs.content import InMemory, Reader
from mountfs.errors import (
    BadHandle,
    IsADirectory,
    MountfsError,
    NotADirectory,
    NotFound,
    ReadOnly,
    SnapshotLost,
)
from mountfs.filesystem.listers import Listers
from mountfs.filesystem.nodes import DOTS, NOBODY, Attributes, Caller, Dentry, Node, OpenDirectory, OpenFile, Row
from mountfs.filesystem.table import FOREVER_TTL, Nodes
from mountfs.filesystem.usage import Usage
from mountfs.filesystem.waiting import Waiting
from mountfs.filesystem.xattrs import names_of, value_of
from mountfs.model import Inode
from mountfs.session import Session, Sessions, Snapshot
from mountfs.tree.inodes import Handles

log = logging.getLogger(__name__)


class AtHand:
    """The mounted tree, as far as it is here. ``owner``: uid, gid and umask come from the mount, not from here."""

    def __init__(self, config: Config, providers: list[Sessions], *, wall: Callable[[], float] = time.time) -> None:
        self._config = config
        self._providers = {sessions.name.encode(): sessions for sessions in providers}
        self.nodes = Nodes()
        self.waiting = Waiting(config.network.deadline, wall)
        self.usage = Usage()
        self._files: Handles[OpenFile] = Handles()
        self._opened: dict[Inode, int] = {}
        """How many handles each open file has, by the number that the kernel knows it by."""
        self._directories: Handles[OpenDirectory] = Handles()
        self._crawled: Counter[str] = Counter()
        self._listers = Listers()

    # -- attributes and names ------------------------------------------------------------------------------------

    def attributes(self, inode: Inode) -> Attributes:
        """What is known of an inode."""
        return self.nodes.attributes(self.nodes.node(inode))

    def getxattr(self, inode: Inode, name: bytes) -> bytes:
        """One extended attribute. Raises NoAttribute."""
        return value_of(self.nodes.node(inode), name)

    def listxattr(self, inode: Inode) -> list[bytes]:
        """The names of those an inode has."""
        return names_of(self.nodes.node(inode))

    def lookup_at_hand(self, parent: Inode, name: bytes, pid: int = 0) -> tuple[Attributes, Node] | None:
        """The inode of a name. Raises NotFound where it is known not to be there."""
        node = self.nodes.node(parent)
        if node.session is not None:
            snapshot = node.session.current
            found = self.nodes.child(node, snapshot, name) if snapshot is not None else None
            if found is not None and found[1].place >= 0:
                self._listers.looked_up(pid)
            return found
        if node.sessions is None:
            sessions = self._providers.get(name)
            if sessions is None:
                raise NotFound(f"no provider {os.fsdecode(name)!r}")
            child = self.nodes.provider_node(sessions)
        else:
            session = node.sessions.peek(name)
            if session is None:
                return None
            child = self.nodes.session_node(node.sessions, session)
        return self.nodes.attributes(child), child

    def negative_ttl(self, parent: Inode, name: bytes) -> float:
        """Seconds for which the kernel may believe that a name is not there."""
        node = self.nodes.get(parent)
        if node is None or node.sessions is None:
            return FOREVER_TTL
        if node.session is None:
            return min(node.sessions.answer_left(name.decode("utf-8", "replace")), FOREVER_TTL)
        return min(node.session.seconds_left(), FOREVER_TTL)

    # -- directories ---------------------------------------------------------------------------------------------

    def opendir_at_hand(self, inode: Inode) -> int | None:
        """A handle on a listing that stays as it is now."""
        node = self.nodes.node(inode)
        if not node.is_directory:
            raise NotADirectory("not a directory")
        if node.session is None:
            return self._directories.add(OpenDirectory(node)) if node.sessions is None else None
        snapshot = node.session.peek()
        if snapshot is None:
            return None
        place = self.nodes.place_in(node, snapshot)
        if snapshot.unresolved(place):
            return None
        return self._opened_directory(node, snapshot, place)

    def _opened_directory(self, node: Node, snapshot: Snapshot, place: int) -> int:
        assert node.session is not None
        snapshot.handles += 1
        snapshot.listed(place, trio.current_time())
        node.session.directory_opened()
        return self._directories.add(OpenDirectory(node, snapshot, place))

    def readdir(self, handle: int, cookie: int) -> Iterator[Dentry]:
        """The dentries after ``cookie`` (0: the start), '.' and '..' first. Cookies stay valid while the handle is
        open."""
        for name, _, node, mode, size, mtime_ns, ttl, at in self.rows(handle, cookie):
            assert node is not None
            yield Dentry(name, Attributes(node.inode, mode, size, mtime_ns, ttl), at, node if at > DOTS else None)

    def rows(self, handle: int, cookie: int, pid: int = 0) -> Iterator[Row]:
        """The same as plain tuples; files as names alone where the process that lists seems to want no more. ``pid``:
        0 for all attributes."""
        opened = self._directories.get(handle)
        if opened is None:
            raise BadHandle("no such directory handle")
        snapshot, alone = opened.snapshot, False
        if snapshot is not None:
            now = trio.current_time()
            alone = self._listers.names_alone(pid, snapshot, opened.place, now, first=cookie == 0)
        return self._rows(opened, cookie, names_alone=alone)

    def _rows(self, opened: OpenDirectory, cookie: int, *, names_alone: bool) -> Iterator[Row]:
        if cookie <= 0:
            yield self._row(b".", opened.node, 1)
        if cookie <= 1:
            number = self.nodes.parent(opened.node)
            above = self.nodes.get(number) or self.nodes.root
            _, mode, size, mtime_ns, ttl = self.nodes.attributes(above)
            # The number is the directory's own, also where the node is not known and another stands for it.
            yield b"..", number, above, mode, size, mtime_ns, ttl, DOTS
        first = max(0, cookie - DOTS)
        if opened.node.session is not None:
            yield from self.nodes.rows(opened, first, names_alone=names_alone)
        else:
            for at, (name, node) in enumerate(self._top(opened, first), first + DOTS + 1):
                yield self._row(name, node, at)

    def _row(self, name: bytes, node: Node, cookie: int) -> Row:
        _, mode, size, mtime_ns, ttl = self.nodes.attributes(node)
        return name, node.inode, node, mode, size, mtime_ns, ttl, cookie

    def _top(self, opened: OpenDirectory, first: int) -> Iterator[tuple[bytes, Node]]:
        """The names of the root, or of a provider."""
        node = opened.node
        if node.sessions is None:
            for name in sorted(self._providers)[first:]:
                yield name, self.nodes.provider_node(self._providers[name])
        else:
            for session in (opened.sessions or [])[first:]:
                yield session.id.encode(), self.nodes.session_node(node.sessions, session)

    def close_directory(self, handle: int) -> None:
        """Lets a directory handle go."""
        opened = self._directories.pop(handle)
        if opened is None:
            raise BadHandle("no such directory handle")
        if opened.snapshot is not None:
            assert opened.node.session is not None
            opened.node.session.directory_closed()
            opened.snapshot.listed(opened.place, trio.current_time())
            opened.snapshot.release()

    # -- files ---------------------------------------------------------------------------------------------------

    def open_at_hand(self, inode: Inode, *, writing: bool = False, caller: Caller = NOBODY) -> int | None:
        """A handle whose first bytes are here. Raises ReadOnly, IsADirectory, SnapshotLost (ESTALE: look it up
        again)."""
        node, session = self._to_open(inode, writing=writing)
        now = trio.current_time()  # once: each look is 0.4 us of an open's 10
        snapshot = session.peek(now)
        if snapshot is None:
            return None
        place = self._bind_file(node, snapshot)
        reader = self._reader_at_hand(snapshot, place, listed=snapshot.was_listed(place, now))
        return self._opened_file(reader, snapshot, node, place, caller) if reader is not None else None

    def _to_open(self, inode: Inode, *, writing: bool) -> tuple[Node, Session]:
        if writing:
            raise ReadOnly("this drive is read-only")
        node = self.nodes.node(inode)
        if node.place < 0:
            raise IsADirectory("a directory")
        assert node.session is not None
        return node, node.session

    def _opened_file(self, reader: Reader, snapshot: Snapshot, node: Node, place: int, caller: Caller) -> int:
        assert node.session is not None
        self.usage.opens += 1
        snapshot.handles += 1
        self._opened[node.inode] = self._opened.get(node.inode, 0) + 1
        return self._files.add(OpenFile(reader, snapshot, node.session, node.inode, place, caller))

    def to_store(self, handle: int) -> bytes | None:
        """What the kernel may be given to keep before it is told that this file is open: all of a small one, since it
        will be asked for at once.

        Never where the file is open already. The kernel holds the pages of a READ locked until we answer it, and would
        let us wait for them, so for ever; but a READ needs a handle, and its RELEASE comes after the last of them."""
        opened = self._files.get(handle)
        if opened is None or self._opened[opened.inode] != 1:
            return None
        reader = opened.reader
        if not isinstance(reader, InMemory) or not reader.fresh:
            return None
        usage = self.usage  # to whoever counts it is a read
        usage.reads += 1
        usage.bytes += reader.size
        usage.bytes_in_memory += reader.size
        return reader.whole

    def _bind_file(self, node: Node, snapshot: Snapshot) -> int:
        """Where this inode's file stands in the current snapshot; ESTALE if it changed or vanished."""
        assert node.snapshot is not None
        place: int | None = node.place
        if node.snapshot is snapshot and not (snapshot.dead_until or snapshot.content.salts):
            return node.place
        if node.snapshot is not snapshot:
            place = snapshot.namespace.resolve(node.snapshot.namespace.path(node.place))
        if place is not None and place >= 0:
            snapshot.revive_due(place, trio.current_time())
            mine = snapshot is node.snapshot and not snapshot.revived(place)
            if mine or snapshot.inode_of(place) == node.inode:
                node.snapshot, node.place = snapshot, place
                return place
        raise SnapshotLost(f"{self.nodes.label(node)}: this file has changed or is gone")

    @staticmethod
    def _reader_at_hand(snapshot: Snapshot, place: int, *, listed: bool) -> Reader | None:
        target = snapshot.links.get(place)
        if isinstance(target, bytes):  # a link that is shown as a file, its target being its content
            return InMemory(target)
        if isinstance(target, MountfsError):
            return None  # opening it the slow way says why
        return snapshot.content.peek_open(place, listed=listed)

    def read_at_hand(
        self, handle: int, offset: int, size: int, into: memoryview | None = None
    ) -> bytes | memoryview | None:
        """Exactly the bytes asked for, up to the member's size. Never fewer. ``into``: a buffer that may be filled, and
        then be what is answered."""
        opened = self._files.get(handle)
        if opened is None:
            raise BadHandle("no such file handle")
        reader = opened.reader
        wanted = min(size, reader.size - offset)
        if wanted <= 0:
            return b""
        data = reader.peek(offset, wanted, into)
        if data is None:
            return None
        usage = self.usage
        usage.reads += 1
        usage.bytes += wanted
        if isinstance(reader, InMemory):
            usage.bytes_in_memory += wanted
        return data if len(data) == wanted else self._exact(opened, data, offset, wanted)

    @staticmethod
    def _exact(opened: OpenFile, data: bytes | memoryview, offset: int, wanted: int) -> bytes | memoryview:
        """The kernel would truncate the file silently on a short reply: this is the one place that forbids it."""
        if len(data) != wanted:
            log.error("%s: %d bytes instead of %d at %d", opened.session.label, len(data), wanted, offset)
            raise MountfsError("a read came out short inside mountfs", advice="see the log, report it")
        return data

    def close_file(self, handle: int) -> None:
        """Lets a file handle go."""
        opened = self._files.pop(handle)
        if opened is None:
            raise BadHandle("no such file handle")
        left = self._opened.pop(opened.inode) - 1
        if left:
            self._opened[opened.inode] = left
        opened.reader.release()
        opened.snapshot.release()

    # -- the rest ------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, int]:
        """Counts for ``status``."""
        return {
            "inodes": len(self.nodes),
            "open_files": len(self._files),
            "open_directories": len(self._directories),
            **self.usage.facts(),
            **self.waiting.statistics(),
        }

    def statfs(self) -> tuple[int, int]:
        """(bytes of all sessions entered so far, files known): what ``df`` shows as used."""
        snapshots = [s.current for p in self._providers.values() for s in p.seen() if s.current is not None]
        return sum(s.size for s in snapshots), sum(s.namespace.files for s in snapshots)

    @property
    def providers(self) -> list[Sessions]:
        return list(self._providers.values())
