"""The file system in our own types: what lookup, getattr, readdir, open and read mean here, with no FUSE in the loop.

*What it decides:* which node a name is, which snapshot a directory shows, how long the kernel may believe an answer,
when a caller waits and for how long. It never replies short and never says EAGAIN.

*Two halves:* what can be answered at once is ``AtHand``; here the same questions are answered whatever they take.
*Waiting* is thin and in one place (``Waiting``): under a deadline, and ended by a signal pending for the caller, which
the kernel cannot deliver to a program stuck in lookup, open or opendir.

*A name is looked up in what is shown now*; only opening (a directory or a file) asks whether that is still right. A
file whose inode is not the current snapshot's any more is ESTALE at open, upon which the kernel looks the name up
again.

Concurrency: trio task thread. Between two awaits a handler sees a consistent tree; a handle keeps its snapshot alive.
"""

from __future__ import annotations

import os

import trio

from mountfs.content import InMemory
from mountfs.errors import CrawlerRefused, MountfsError, NotALink, NotFound
from mountfs.filesystem.athand import AtHand
from mountfs.filesystem.nodes import NOBODY, Attributes, Caller, Node, OpenDirectory
from mountfs.model import Inode, Kind
from mountfs.session import Session, Snapshot


class Filesystem(AtHand):
    """The mounted tree: everything it is asked is answered, after a wait if need be."""

    async def getattr(self, inode: Inode) -> Attributes:
        """What is known of an inode; never waits for a service."""
        return self.attributes(inode)

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

    # -- lookup --------------------------------------------------------------------------------------------------

    async def lookup(self, parent: Inode, name: bytes, caller: Caller = NOBODY) -> tuple[Attributes, Node]:
        """The inode of a name. Raises NotFound; ``negative_ttl`` says how long that may be believed."""
        if (known := self.lookup_at_hand(parent, name)) is not None:
            return known
        node = self.nodes.node(parent)
        look = self._lookup_session if node.session is None else self._lookup_member
        child = await look(node, name, caller)
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
        if (handle := self.opendir_at_hand(inode)) is not None:
            return handle
        node = self.nodes.node(inode)
        if node.session is None:
            assert node.sessions is not None
            sessions = await self.waiting.wait(caller, node.sessions.names, node.sessions.name, node.inode)
            return self._directories.add(OpenDirectory(node, sessions=sessions))
        snapshot = await self._enter(node, caller)
        place = self.nodes.place_in(node, snapshot)
        if unresolved := snapshot.unresolved(place):
            with snapshot.held():
                await self.waiting.wait(
                    caller, lambda: snapshot.resolve_links(unresolved), self.nodes.label(node), node.inode
                )
        return self._opened_directory(node, snapshot, place)

    async def releasedir(self, handle: int) -> None:
        """Lets a directory handle go."""
        self.close_directory(handle)

    # -- files ---------------------------------------------------------------------------------------------------

    async def open(self, inode: Inode, *, writing: bool = False, caller: Caller = NOBODY) -> int:
        """A handle whose first bytes are here. Raises ReadOnly, IsADirectory, SnapshotLost (ESTALE: look it up
        again)."""
        if (handle := self.open_at_hand(inode, writing=writing, caller=caller)) is not None:
            return handle
        node, _ = self._to_open(inode, writing=writing)
        snapshot = await self._enter(node, caller)
        place = self._bind_file(node, snapshot)
        listed = snapshot.was_listed(place, trio.current_time())
        reader = self._reader_at_hand(snapshot, place, listed=listed)
        if reader is None:
            self.usage.opens_waited += 1
            with snapshot.held():
                reader = await self.waiting.wait(
                    caller, lambda: snapshot.content.open(place, listed=listed), self.nodes.label(node), node.inode
                )
                if isinstance(reader, InMemory):  # all of it came with the open
                    self.usage.waited(caller.program(), reader.size)
                return self._opened_file(reader, snapshot, node, place, caller)
        return self._opened_file(reader, snapshot, node, place, caller)

    async def read(self, handle: int, offset: int, size: int, caller: Caller | None = None) -> bytes | memoryview:
        """Exactly the bytes asked for, up to the member's size; or an error. Never fewer. ``caller``: who reads, where
        that is known; else who opened it."""
        if (data := self.read_at_hand(handle, offset, size)) is not None:
            return data
        opened = self._files.get(handle)
        assert opened is not None
        wanted = min(size, opened.reader.size - offset)
        usage = self.usage
        usage.reads += 1
        usage.bytes += wanted
        usage.reads_waited += 1
        usage.bytes_waited += wanted
        usage.waited(opened.program(), wanted)
        return self._exact(
            opened, await self.waiting.read(opened, offset, wanted, caller or opened.caller), offset, wanted
        )

    async def release(self, handle: int) -> None:
        """Lets a file handle go."""
        self.close_file(handle)
