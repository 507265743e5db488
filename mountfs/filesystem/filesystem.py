"""The file system in our own types: what lookup, getattr, readdir, open and read mean here, with no FUSE in the loop.

*What it decides:* which node a name is, which snapshot a directory shows, how long the kernel may believe an answer,
when a caller waits and for how long. It never replies short and never says EAGAIN: ``read`` is the one place where
bytes leave, and it answers exactly what was asked for (up to the member's size) or raises.

*Waiting* is thin and in one place (``Waiting``): under a deadline, and ended by a signal pending for the caller, which
the kernel cannot deliver to a program stuck in lookup, open or opendir. What can be answered at once never goes
through it.

*A name is looked up in what is shown now*; only opening (a directory or a file) asks whether that is still right. A
file whose inode is not the current snapshot's any more is ESTALE at open, upon which the kernel looks the name up
again.

Concurrency: trio task thread. Between two awaits a handler sees a consistent tree; a handle keeps its snapshot alive.
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
    CrawlerRefused,
    IsADirectory,
    MountfsError,
    NotADirectory,
    NotALink,
    NotFound,
    ReadOnly,
    SnapshotLost,
)
from mountfs.filesystem.nodes import NOBODY, Attributes, Caller, Dentry, Node, OpenDirectory, OpenFile
from mountfs.filesystem.table import FOREVER_TTL, Nodes
from mountfs.filesystem.usage import Usage
from mountfs.filesystem.waiting import Waiting
from mountfs.filesystem.xattrs import names_of, value_of
from mountfs.model import Inode, Kind
from mountfs.session import Session, Sessions, Snapshot
from mountfs.tree.inodes import ROOT, Handles

log = logging.getLogger(__name__)


class Filesystem:
    """The mounted tree. ``owner``: uid, gid and umask come from the mount, not from here."""

    def __init__(self, config: Config, providers: list[Sessions], *, wall: Callable[[], float] = time.time) -> None:
        self._config = config
        self._providers = {sessions.name.encode(): sessions for sessions in providers}
        self.nodes = Nodes()
        self.waiting = Waiting(config.network.deadline, wall)
        self.usage = Usage()
        self._files: Handles[OpenFile] = Handles()
        self._directories: Handles[OpenDirectory] = Handles()
        self._crawled: Counter[str] = Counter()

    # -- attributes ----------------------------------------------------------------------------------------------

    async def getattr(self, inode: Inode) -> Attributes:
        """What is known of an inode; never waits for a service."""
        return self.nodes.attributes(self.nodes.node(inode))

    async def readlink(self, inode: Inode, caller: Caller = NOBODY) -> bytes:
        """The target of a symbolic link, checked."""
        node = self.nodes.node(inode)
        if node.snapshot is None or node.place < 0 or node.snapshot.facts(node.place).kind is not Kind.SYMLINK:
            raise NotALink("not a symbolic link")
        target = node.snapshot.links.get(node.place)
        if isinstance(target, MountfsError):
            raise target.again()
        if target is None:
            snapshot, place = node.snapshot, node.place
            label = self.nodes.label(node)
            target = await self.waiting.wait(caller, lambda: snapshot.content.target(place), label, node.inode)
        return target

    def getxattr(self, inode: Inode, name: bytes) -> bytes:
        """One extended attribute; never waits. Raises NoAttribute."""
        return value_of(self.nodes.node(inode), name)

    def listxattr(self, inode: Inode) -> list[bytes]:
        """The names of those an inode has."""
        return names_of(self.nodes.node(inode))

    # -- lookup --------------------------------------------------------------------------------------------------

    async def lookup(self, parent: Inode, name: bytes, caller: Caller = NOBODY) -> tuple[Attributes, Node]:
        """The inode of a name. Raises NotFound; ``negative_ttl`` says how long that may be believed."""
        node = self.nodes.node(parent)
        if node is self.nodes.root:
            sessions = self._providers.get(name)
            if sessions is None:
                raise NotFound(f"no provider {os.fsdecode(name)!r}")
            child = self.nodes.provider_node(sessions)
        elif node.session is None:
            child = await self._lookup_session(node, name, caller)
        else:
            if (snapshot := node.session.current) is not None and (known := self.nodes.child(node, snapshot, name)):
                return known
            child = await self._lookup_member(node, name, caller)
        return self.nodes.attributes(child), child

    async def _lookup_session(self, node: Node, name: bytes, caller: Caller) -> Node:
        assert node.sessions is not None
        sessions = node.sessions
        try:
            session_id = name.decode("ascii")
        except UnicodeDecodeError:
            raise NotFound("no session has such a name") from None
        if sessions.at_once(session_id):
            session = await sessions.lookup(session_id)
        else:
            timeout = self._config.network.lookup_timeout
            session = await self.waiting.wait(
                caller,
                lambda: sessions.lookup(session_id),
                f"{sessions.name}/{session_id}",
                node.inode,
                seconds=timeout + 1,
            )
        return self.nodes.session_node(sessions, session)

    async def _lookup_member(self, node: Node, name: bytes, caller: Caller) -> Node:
        assert node.sessions is not None
        assert node.session is not None
        snapshot = node.session.current or await self._enter(node, caller)
        directory = self.nodes.place_in(node, snapshot)
        place = snapshot.namespace.child(directory, name)
        if place is None:
            raise NotFound(f"no {os.fsdecode(name)!r} here")
        if place >= 0:
            snapshot.revive_due(place, trio.current_time())
            if snapshot.needs_target(place):
                with snapshot.held():
                    await self.waiting.wait(
                        caller, lambda: snapshot.resolve_links([place]), self.nodes.label(node), node.inode
                    )
        return self.nodes.tree_node(node.sessions, node.session, snapshot, place)

    def negative_ttl(self, parent: Inode, name: bytes) -> float:
        """Seconds for which the kernel may believe that a name is not there."""
        node = self.nodes.get(parent)
        if node is None or node.sessions is None:
            return FOREVER_TTL
        if node.session is None:
            return min(node.sessions.answer_left(name.decode("utf-8", "replace")), FOREVER_TTL)
        return min(node.session.seconds_left(), FOREVER_TTL)

    async def _enter(self, node: Node, caller: Caller) -> Snapshot:
        """The snapshot a session shows now, waiting for it if need be."""
        session = node.session
        assert session is not None
        if (snapshot := session.peek()) is not None:
            return snapshot
        self._refuse_crawlers(session, caller)
        before = session.last_opening
        snapshot = await self.waiting.wait(caller, session.enter, session.label, node.inode, so_far=session.so_far)
        if session.last_opening is not None and session.last_opening is not before:
            self.usage.waited(caller.program(), session.last_opening["bytes"])
        return snapshot

    def _refuse_crawlers(self, session: Session, caller: Caller) -> None:
        """A program that indexes drives would download everything: what is not here yet is closed to it."""
        if session.current is not None or session.cached or caller.pid <= 0:
            return
        program = caller.program()
        if program not in self._config.crawlers.processes:
            return
        if self._crawled[program] >= self._config.crawlers.budget:
            raise CrawlerRefused(
                f"{session.label}: not fetched for {program!r}, which indexes drives",
                advice="take it out of crawlers.processes or raise crawlers.budget if it should see everything",
            )
        self._crawled[program] += 1

    # -- directories ---------------------------------------------------------------------------------------------

    async def opendir(self, inode: Inode, caller: Caller = NOBODY) -> int:
        """A handle on a listing that stays as it is now."""
        node = self.nodes.node(inode)
        if not node.is_directory:
            raise NotADirectory("not a directory")
        opened = OpenDirectory(node, self.nodes.parent(node))
        if node.session is not None:
            snapshot = await self._enter(node, caller)
            opened.place = self.nodes.place_in(node, snapshot)
            if unresolved := snapshot.unresolved(opened.place):
                with snapshot.held():
                    await self.waiting.wait(
                        caller, lambda: snapshot.resolve_links(unresolved), self.nodes.label(node), node.inode
                    )
            opened.snapshot = snapshot
            snapshot.handles += 1
            snapshot.listed(opened.place, trio.current_time())
            node.session.directory_opened()
        elif node.sessions is not None:
            opened.sessions = await self.waiting.wait(caller, node.sessions.names, node.sessions.name, node.inode)
        return self._directories.add(opened)

    def readdir(self, handle: int, cookie: int) -> Iterator[Dentry]:
        """The dentries after ``cookie`` (0: the start), '.' and '..' first. Cookies stay valid while the handle is
        open."""
        opened = self._directories.get(handle)
        if opened is None:
            raise BadHandle("no such directory handle")
        return self._dentries(opened, cookie)

    def _dentries(self, opened: OpenDirectory, cookie: int) -> Iterator[Dentry]:
        if cookie <= 0:
            yield Dentry(b".", self.nodes.attributes(opened.node), 1, None)
        if cookie <= 1:
            above = self.nodes.root if opened.parent == ROOT else self.nodes.get(opened.parent)
            yield Dentry(b"..", self.nodes.attributes(above or self.nodes.root), 2, None)
        first = max(0, cookie - 2)
        found = self._top(opened, first) if opened.node.session is None else self.nodes.children(opened, first)
        for at, (name, node, attributes) in enumerate(found, first + 3):
            yield Dentry(name, attributes, at, node)

    def _top(self, opened: OpenDirectory, first: int) -> Iterator[tuple[bytes, Node, Attributes]]:
        """The names of the root, or of a provider."""
        node = opened.node
        if node.sessions is None:
            for name in sorted(self._providers)[first:]:
                provider = self.nodes.provider_node(self._providers[name])
                yield name, provider, self.nodes.attributes(provider)
        else:
            for session in (opened.sessions or [])[first:]:
                child = self.nodes.session_node(node.sessions, session)
                yield session.id.encode(), child, self.nodes.attributes(child)

    async def releasedir(self, handle: int) -> None:
        opened = self._directories.pop(handle)
        if opened is None:
            raise BadHandle("no such directory handle")
        if opened.snapshot is not None:
            assert opened.node.session is not None
            opened.node.session.directory_closed()
            opened.snapshot.listed(opened.place, trio.current_time())
            opened.snapshot.release()

    # -- files ---------------------------------------------------------------------------------------------------

    async def open(self, inode: Inode, *, writing: bool = False, caller: Caller = NOBODY) -> int:
        """A handle whose first bytes are here. Raises ReadOnly, IsADirectory, SnapshotLost (ESTALE: look it up
        again)."""
        if writing:
            raise ReadOnly("this drive is read-only")
        node = self.nodes.node(inode)
        if node.is_directory:
            raise IsADirectory("a directory")
        assert node.session is not None
        snapshot = await self._enter(node, caller)
        place = self._bind_file(node, snapshot)
        listed = snapshot.was_listed(place, trio.current_time())
        reader = self._peek_reader(snapshot, place, listed=listed)
        self.usage.opens += 1
        snapshot.handles += 1  # the handle's: a snapshot that is replaced while we wait must not be closed in between
        if reader is None:
            self.usage.opens_waited += 1
            try:
                reader = await self.waiting.wait(
                    caller, lambda: snapshot.content.open(place, listed=listed), self.nodes.label(node), node.inode
                )
            except BaseException:
                snapshot.release()
                raise
            if isinstance(reader, InMemory):  # all of it came with the open
                self.usage.waited(caller.program(), reader.size)
        return self._files.add(OpenFile(reader, snapshot, node.session, place, caller))

    def _bind_file(self, node: Node, snapshot: Snapshot) -> int:
        """Where this inode's file stands in the current snapshot; ESTALE if it changed or vanished."""
        assert node.snapshot is not None
        place: int | None = node.place
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
    def _peek_reader(snapshot: Snapshot, place: int, *, listed: bool) -> Reader | None:
        target = snapshot.links.get(place)
        if isinstance(target, bytes):  # a link that is shown as a file, its target being its content
            return InMemory(target)
        if isinstance(target, MountfsError):
            return None  # opening it the slow way says why
        return snapshot.content.peek_open(place, listed=listed)

    async def read(self, handle: int, offset: int, size: int) -> bytes | memoryview:
        """Exactly the bytes asked for, up to the member's size; or an error. Never fewer."""
        opened = self._files.get(handle)
        if opened is None:
            raise BadHandle("no such file handle")
        reader = opened.reader
        wanted = min(size, reader.size - offset)
        if wanted <= 0:
            return b""
        data = reader.peek(offset, wanted)
        self.usage.reads += 1
        self.usage.bytes += wanted
        if data is None:
            self.usage.reads_waited += 1
            self.usage.bytes_waited += wanted
            self.usage.waited(opened.program(), wanted)
            data = await self.waiting.read(opened, offset, wanted)
        elif isinstance(reader, InMemory):
            self.usage.bytes_in_memory += wanted
        if len(data) != wanted:
            # The kernel would truncate the file silently on a short reply: this is the one place that forbids it.
            log.error("%s: %d bytes instead of %d at %d", opened.session.label, len(data), wanted, offset)
            raise MountfsError("a read came out short inside mountfs", advice="see the log, report it")
        return data

    async def release(self, handle: int) -> None:
        opened = self._files.pop(handle)
        if opened is None:
            raise BadHandle("no such file handle")
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
