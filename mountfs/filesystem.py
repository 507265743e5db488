"""The file system in our own types: what lookup, getattr, readdir, open and read mean here, with no FUSE in the loop.

*What it decides:* which node a name is, which snapshot a directory shows, how long the kernel may believe an answer,
when a caller waits and for how long. It never replies short and never says EAGAIN: ``read`` is the one place where
bytes leave, and it answers exactly what was asked for (up to the member's size) or raises.

*Waiting* is thin and in one place (``_wait``): under a deadline, and ended by a signal pending for the caller, which
the kernel cannot deliver to a program stuck in lookup, open or opendir. What can be answered at once never goes
through it.

*A name is looked up in what is shown now*; only opening (a directory or a file) asks whether that is still right. A
file whose inode is not the current snapshot's any more is ESTALE at open, upon which the kernel looks the name up
again.

Concurrency: trio task thread. Between two awaits a handler sees a consistent tree; a handle keeps its snapshot alive.
"""

from __future__ import annotations

import logging
import stat
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import trio

from mountfs.config import Config
from mountfs.content import InMemory, Reader
from mountfs.errnos import name_of
from mountfs.errors import (
    BadHandle,
    CrawlerRefused,
    DeadlineExceeded,
    Interrupted,
    IsADirectory,
    MountfsError,
    NotADirectory,
    NotALink,
    NotFound,
    ReadOnly,
    SnapshotLost,
)
from mountfs.model import Inode, Kind
from mountfs.session import Session, Sessions, Snapshot
from mountfs.tree import ROOT as ROOT_NODE
from mountfs.tree.inodes import ROOT, Handles, InodeTable, Numbering

log = logging.getLogger(__name__)
T = TypeVar("T")

FOREVER_TTL = 86_400.0  # what "for ever" is to the kernel: a day; an immutable tree is asked for again once a day
SIGNAL_POLL = 0.25
STUCK = 10.0
SLOW = 1.0
EVENTS = 500
MODES = {Kind.DIRECTORY: stat.S_IFDIR | 0o555, Kind.FILE: stat.S_IFREG | 0o444, Kind.SYMLINK: stat.S_IFLNK | 0o777}
BLOCK = 512


class Caller(NamedTuple):
    """Who asks. ``pid``: its thread id as the kernel gives it; 0 where it is in another namespace, or none of it."""

    pid: int = 0

    def interrupted(self) -> bool:
        """Whether an unblocked, not ignored signal is pending, which the kernel could not deliver (design.md §2)."""
        if self.pid <= 0:
            return False
        masks: dict[str, int] = {}
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:
                for line in status:
                    name, _, value = line.partition(":")
                    if name in {"SigPnd", "ShdPnd", "SigBlk", "SigIgn"}:
                        masks[name] = int(value, 16)
        except (OSError, ValueError):
            return False
        pending = masks.get("SigPnd", 0) | masks.get("ShdPnd", 0)
        return bool(pending & ~masks.get("SigBlk", 0) & ~masks.get("SigIgn", 0))

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
        *,
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
    label: str


@dataclass(eq=False, slots=True)
class OpenDirectory:
    """A directory handle: a listing that never changes under its reader."""

    node: Node
    parent: Inode
    snapshot: Snapshot | None = None
    place: int = ROOT_NODE
    sessions: list[Session] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A wait that failed or was slow. ``at``: seconds since 1970; ``seconds``: how long it took."""

    label: str
    pid: int
    at: float
    seconds: float
    error: MountfsError | None

    def facts(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "path": self.label,
            "pid": self.pid,
            "at": self.at,
            "seconds": round(self.seconds, 3),
            "errno": name_of(self.error) if self.error is not None else "",
            "message": self.error.message if self.error is not None else "slow",
            "advice": self.error.advice if self.error is not None else "",
        }


@dataclass(eq=False, slots=True)
class _PendingRead:
    provider: str
    scope: trio.CancelScope
    since: float
    timed_out: bool = False


class Filesystem:
    """The mounted tree. ``owner``: uid, gid and umask come from the mount, not from here."""

    def __init__(self, config: Config, providers: list[Sessions], *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._config = config
        self._providers = {sessions.name.encode(): sessions for sessions in providers}
        self._table: InodeTable[Node] = InodeTable()
        self._root = Node(ROOT)
        self._files: Handles[OpenFile] = Handles()
        self._directories: Handles[OpenDirectory] = Handles()
        self._waiting_in: Counter[Inode] = Counter()
        self._pending: list[_PendingRead] = []
        self._crawled: Counter[str] = Counter()
        self._numbering = Numbering("providers")
        self.max_background = 0
        """READs the kernel sends at a time; 0 while unknown. Reads are given up early only where it is small."""
        self.invalidate: Callable[[str, Inode, bytes], None] = lambda *_: None
        """Tells the kernel to drop a name: provider, directory, name. Set by whoever mounts."""

    # -- nodes ---------------------------------------------------------------------------------------------------

    def _node(self, inode: Inode) -> Node:
        if inode == ROOT:
            return self._root
        node = self._table.get(inode)
        if node is None:
            raise SnapshotLost(f"inode {inode} is not known any more")
        return node

    def _provider_node(self, sessions: Sessions) -> Node:
        return self._table.place(
            self._numbering.of(sessions.name.encode()),
            lambda node: node.sessions is sessions and node.session is None,
            lambda inode: Node(inode, sessions=sessions),
        )

    def _session_node(self, sessions: Sessions, session: Session) -> Node:
        return self._table.place(
            session.numbering.of(b""),
            lambda node: node.session is session and node.place == ROOT_NODE,
            lambda inode: Node(inode, sessions=sessions, session=session),
        )

    def _tree_node(self, sessions: Sessions, session: Session, snapshot: Snapshot, place: int) -> Node:
        if place == ROOT_NODE:
            return self._session_node(sessions, session)
        known = self._table.get(Inode(candidate := snapshot.inode_of(place)))
        if known is not None and known.snapshot is snapshot and known.place == place:
            return known
        path = snapshot.namespace.path(place)

        def same(node: Node) -> bool:
            if node.session is not session or node.snapshot is None or node.is_directory != (place < 0):
                return False
            if node.snapshot.namespace.path(node.place) != path:
                return False
            node.snapshot, node.place = snapshot, place
            return True

        return self._table.place(
            Inode(candidate),
            same,
            lambda inode: Node(inode, sessions=sessions, session=session, snapshot=snapshot, place=place),
        )

    def remember(self, node: Node) -> None:
        """The kernel was told of this node, and will forget it one day."""
        self._table.remember(node)

    def forget(self, inode: Inode, count: int) -> None:
        """The kernel gave back ``count`` lookups of an inode."""
        if inode != ROOT:
            self._table.forget(inode, count)

    # -- attributes ----------------------------------------------------------------------------------------------

    def _attributes(self, node: Node) -> Attributes:
        if node.session is None:
            return Attributes(node.inode, MODES[Kind.DIRECTORY], 0, 0, FOREVER_TTL)
        ttl = min(node.session.seconds_left(), FOREVER_TTL)
        if node.snapshot is None:
            return Attributes(node.inode, MODES[Kind.DIRECTORY], 0, node.session.mtime_ns, ttl)
        facts = node.snapshot.facts(node.place)
        mode = MODES[facts.kind]
        if facts.kind is Kind.FILE and facts.executable:
            mode |= 0o111
        return Attributes(node.inode, mode, facts.size, facts.mtime_ns, ttl)

    async def getattr(self, inode: Inode) -> Attributes:
        """What is known of an inode; never waits for a service."""
        return self._attributes(self._node(inode))

    async def readlink(self, inode: Inode, caller: Caller = NOBODY) -> bytes:
        """The target of a symbolic link, checked."""
        node = self._node(inode)
        if node.snapshot is None or node.place < 0 or node.snapshot.facts(node.place).kind is not Kind.SYMLINK:
            raise NotALink("not a symbolic link")
        target = node.snapshot.links.get(node.place)
        if isinstance(target, MountfsError):
            raise target.again()
        if target is None:
            snapshot, place = node.snapshot, node.place
            target = await self._wait(caller, lambda: snapshot.content.target(place), self._label(node), node.inode)
        return target

    # -- lookup --------------------------------------------------------------------------------------------------

    async def lookup(self, parent: Inode, name: bytes, caller: Caller = NOBODY) -> tuple[Attributes, Node]:
        """The inode of a name. Raises NotFound; ``negative_ttl`` says how long that may be believed."""
        node = self._node(parent)
        if node is self._root:
            sessions = self._providers.get(name)
            if sessions is None:
                raise NotFound(f"no provider {name!r}")
            child = self._provider_node(sessions)
        elif node.session is None:
            child = await self._lookup_session(node, name, caller)
        else:
            child = await self._lookup_member(node, name, caller)
        return self._attributes(child), child

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
            session = await self._wait(
                caller,
                lambda: sessions.lookup(session_id),
                f"{sessions.name}/{session_id}",
                node.inode,
                seconds=timeout + 1,
            )
        return self._session_node(sessions, session)

    async def _lookup_member(self, node: Node, name: bytes, caller: Caller) -> Node:
        assert node.sessions is not None
        assert node.session is not None
        snapshot = node.session.current or await self._enter(node, caller)
        directory = self._place_in(node, snapshot)
        place = snapshot.namespace.child(directory, name)
        if place is None:
            raise NotFound(f"no {name!r} here")
        if place >= 0:
            snapshot.revive_due(place, trio.current_time())
            if snapshot.needs_target(place):
                await self._wait(caller, lambda: snapshot.resolve_links([place]), self._label(node), node.inode)
        return self._tree_node(node.sessions, node.session, snapshot, place)

    def negative_ttl(self, parent: Inode, name: bytes) -> float:
        """Seconds for which the kernel may believe that a name is not there."""
        node = self._table.get(parent)
        if node is None or node.sessions is None:
            return FOREVER_TTL
        if node.session is None:
            return min(node.sessions.answer_left(name.decode("utf-8", "replace")), FOREVER_TTL)
        return min(node.session.seconds_left(), FOREVER_TTL)

    def _place_in(self, node: Node, snapshot: Snapshot) -> int:
        """Where a directory's node stands in ``snapshot``; binds the node to it."""
        if not node.is_directory:
            raise NotADirectory("not a directory")
        if node.snapshot is None:
            return ROOT_NODE
        if node.snapshot is not snapshot:
            place = snapshot.namespace.resolve(node.snapshot.namespace.path(node.place))
            if place is None or place >= 0:
                raise SnapshotLost(f"{self._label(node)}: this directory is gone")
            node.snapshot, node.place = snapshot, place
        return node.place

    async def _enter(self, node: Node, caller: Caller) -> Snapshot:
        """The snapshot a session shows now, waiting for it if need be."""
        session = node.session
        assert session is not None
        if (snapshot := session.peek()) is not None:
            return snapshot
        self._refuse_crawlers(session, caller)
        return await self._wait(caller, session.enter, session.label, node.inode)

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
        node = self._node(inode)
        if not node.is_directory:
            raise NotADirectory("not a directory")
        opened = OpenDirectory(node, self._parent(node))
        if node.session is not None:
            snapshot = await self._enter(node, caller)
            opened.place = self._place_in(node, snapshot)
            if unresolved := snapshot.unresolved(opened.place):
                await self._wait(caller, lambda: snapshot.resolve_links(unresolved), self._label(node), node.inode)
            opened.snapshot = snapshot
            snapshot.handles += 1
            snapshot.listed(opened.place, trio.current_time())
            node.session.directory_opened()
        elif node.sessions is not None:
            opened.sessions = await self._wait(caller, node.sessions.names, node.sessions.name, node.inode)
        return self._directories.add(opened)

    def _parent(self, node: Node) -> Inode:
        if node.sessions is None or node.session is None:
            return ROOT
        if node.snapshot is None or node.place == ROOT_NODE:
            return self._provider_node(node.sessions).inode
        above = node.snapshot.namespace.parent(node.place)
        return self._tree_node(node.sessions, node.session, node.snapshot, above).inode

    def readdir(self, handle: int, cookie: int) -> Iterator[Dentry]:
        """The dentries after ``cookie`` (0: the start), '.' and '..' first. Cookies stay valid while the handle is
        open."""
        opened = self._directories.get(handle)
        if opened is None:
            raise BadHandle("no such directory handle")
        return self._dentries(opened, cookie)

    def _dentries(self, opened: OpenDirectory, cookie: int) -> Iterator[Dentry]:
        if cookie <= 0:
            yield Dentry(b".", self._attributes(opened.node), 1, None)
        if cookie <= 1:
            above = self._root if opened.parent == ROOT else self._table.get(opened.parent)
            yield Dentry(b"..", self._attributes(above or self._root), 2, None)
        first = max(0, cookie - 2)
        for at, (name, node) in enumerate(self._children(opened, first), first):
            yield Dentry(name, self._attributes(node), at + 3, node)

    def _children(self, opened: OpenDirectory, first: int) -> Iterator[tuple[bytes, Node]]:
        node = opened.node
        if node.sessions is None:
            for name in sorted(self._providers)[first:]:
                yield name, self._provider_node(self._providers[name])
        elif node.session is None:
            for session in (opened.sessions or [])[first:]:
                yield session.id.encode(), self._session_node(node.sessions, session)
        else:
            assert opened.snapshot is not None
            listing = opened.snapshot.namespace.listing(opened.place)
            for at in range(first, len(listing)):
                yield (
                    listing.names[at],
                    self._tree_node(node.sessions, node.session, opened.snapshot, listing.nodes[at]),
                )

    def unused(self, node: Node) -> None:
        """A dentry did not fit into the reply: the kernel never heard of it."""
        self._table.drop_unused(node)

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
        node = self._node(inode)
        if node.is_directory:
            raise IsADirectory("a directory")
        assert node.session is not None
        snapshot = await self._enter(node, caller)
        place = self._bind_file(node, snapshot)
        reader = self._peek_reader(snapshot, place)
        if reader is None:
            listed = snapshot.was_listed(place, trio.current_time())
            snapshot.handles += 1
            try:
                reader = await self._wait(
                    caller, lambda: snapshot.content.open(place, listed=listed), self._label(node), node.inode
                )
            finally:
                snapshot.release()
        snapshot.handles += 1
        return self._files.add(OpenFile(reader, snapshot, node.session, self._label(node)))

    def _bind_file(self, node: Node, snapshot: Snapshot) -> int:
        """Where this inode's file stands in the current snapshot; ESTALE if it changed or vanished."""
        assert node.snapshot is not None
        path = node.snapshot.namespace.path(node.place)
        place = node.place if node.snapshot is snapshot else snapshot.namespace.resolve(path)
        if place is not None and place >= 0:
            snapshot.revive_due(place, trio.current_time())
            mine = snapshot is node.snapshot and not snapshot.revived(place)
            if mine or snapshot.inode_of(place) == node.inode:
                node.snapshot, node.place = snapshot, place
                return place
        raise SnapshotLost(f"{self._label(node)}: this file has changed or is gone")

    @staticmethod
    def _peek_reader(snapshot: Snapshot, place: int) -> Reader | None:
        target = snapshot.links.get(place)
        if isinstance(target, bytes):  # a link that is shown as a file, its target being its content
            return InMemory(target)
        if isinstance(target, MountfsError):
            raise target.again()
        return snapshot.content.peek_open(place)

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
        if data is None:
            data = await self._read_slowly(opened, offset, wanted)
        if len(data) != wanted:
            # The kernel would truncate the file silently on a short reply: this is the one place that forbids it.
            log.error("%s: %d bytes instead of %d at %d", opened.session.label, len(data), wanted, offset)
            raise MountfsError("a read came out short inside mountfs", advice="see the log, report it")
        return data

    async def _read_slowly(self, opened: OpenFile, offset: int, size: int) -> bytes | memoryview:
        deadline = self._config.network.deadline
        pending = _PendingRead(opened.session.around.provider.name, trio.CancelScope(), trio.current_time())
        pending.scope.deadline = trio.current_time() + deadline
        self._pending.append(pending)
        failure: MountfsError | None = None
        try:
            with pending.scope:
                return await opened.reader.read(offset, size)
        except MountfsError as exc:
            failure = exc
            raise
        finally:
            self._pending.remove(pending)
            self._note(opened.label, 0, pending.since, failure)
        error = DeadlineExceeded(
            f"{opened.label}: bytes {offset}-{offset + size} did not come within "
            f"{trio.current_time() - pending.since:.0f} s",
            advice="the service is slow or stuck: 'mountfs why' tells; network.deadline is the bound",
        )
        log.warning("%s", error)
        raise error

    async def watch_reads(self) -> None:
        """While max_background is small and more than half of it waits on one provider without news, the oldest goes.

        READs are background requests, a few at a time for the whole mount: readers stuck on one provider would keep
        everybody else's page cache from being filled (design.md §2)."""
        while True:
            await trio.sleep(1.0)
            room = self.max_background or 12
            by_provider = Counter(pending.provider for pending in self._pending)
            for provider, count in by_provider.items():
                if count * 2 <= room or room > 256:
                    continue
                mine = [pending for pending in self._pending if pending.provider == provider]
                oldest = min(mine, key=lambda pending: pending.since)
                if trio.current_time() - oldest.since > STUCK:
                    oldest.scope.cancel()

    async def release(self, handle: int) -> None:
        opened = self._files.pop(handle)
        if opened is None:
            raise BadHandle("no such file handle")
        opened.reader.release()
        opened.snapshot.release()

    # -- waiting -------------------------------------------------------------------------------------------------

    async def _wait(
        self,
        caller: Caller,
        work: Callable[[], Awaitable[T]],
        label: str,
        where: Inode,
        *,
        seconds: float | None = None,
    ) -> T:
        """``work`` under the deadline of one request, ended by a signal pending for the caller."""
        seconds = self._config.network.deadline if seconds is None else seconds
        results: list[T] = []
        error: MountfsError | None = None
        signalled = False

        async def watch(scope: trio.CancelScope) -> None:
            nonlocal signalled
            while True:
                await trio.sleep(SIGNAL_POLL)
                if caller.interrupted():
                    signalled = True
                    scope.cancel()

        began = trio.current_time()
        self._waiting_in[where] += 1
        try:
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(watch, nursery.cancel_scope)
                    try:
                        results.append(await work())
                    except MountfsError as exc:
                        error = exc
                    nursery.cancel_scope.cancel()
        finally:
            self._waiting_in[where] -= 1
            if not self._waiting_in[where]:
                del self._waiting_in[where]
        if error is None and not results:
            error = self._given_up(label, seconds, signalled=signalled)
        self._note(label, caller.pid, began, error)
        if error is not None:
            raise error
        return results[0]

    @staticmethod
    def _given_up(label: str, seconds: float, *, signalled: bool) -> MountfsError:
        if signalled:
            return Interrupted(f"{label}: the caller was told to stop")
        failure = DeadlineExceeded(
            f"{label}: no answer within {seconds:g} s",
            advice=f"run 'mountfs fetch {label}' for a large session, or raise network.deadline",
        )
        log.warning("%s", failure)
        return failure

    def waits_in(self, inode: Inode) -> bool:
        """Whether a request waits in this directory: the kernel holds its lock, so it must not be invalidated now."""
        return inode in self._waiting_in

    # -- changes -------------------------------------------------------------------------------------------------

    def changed(self, session: Session, old: Snapshot, new: Snapshot) -> None:
        """A session shows another snapshot: the kernel drops the names that changed or vanished, and those that are new
        in directories it knows, since it may remember that they were not there."""
        provider = session.around.provider.name
        for node in list(self._table.values()):
            if node.session is not session:
                continue
            tree = old if node.snapshot is None else node.snapshot
            path = tree.namespace.path(node.place)
            place = new.namespace.resolve(path)
            if place is None or (place < 0) != node.is_directory or (place >= 0 and new.inode_of(place) != node.inode):
                self.invalidate(provider, self._parent(node), bytes(tree.namespace.name(node.place)))
            elif place < 0 and new is not old:
                before = old.namespace.resolve(path)
                known = set(old.namespace.listing(before).names) if before is not None and before < 0 else set()
                for name in set(new.namespace.listing(place).names) - known:
                    self.invalidate(provider, node.inode, name)

    # -- the rest ------------------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, int]:
        """Counts for ``status``."""
        return {
            "inodes": len(self._table),
            "open_files": len(self._files),
            "open_directories": len(self._directories),
            "waiting": sum(self._waiting_in.values()),
            "pending_reads": len(self._pending),
        }

    def statfs(self) -> tuple[int, int]:
        """(bytes of all sessions entered so far, files known): what ``df`` shows as used."""
        snapshots = [s.current for p in self._providers.values() for s in p.seen() if s.current is not None]
        return sum(s.size for s in snapshots), sum(s.namespace.files for s in snapshots)

    # -- for status, why and refresh --------------------------------------------------------------------------------

    def _note(self, label: str, pid: int, began: float, error: MountfsError | None) -> None:
        """Remembers a wait that failed or was slow, for ``why``."""
        seconds = trio.current_time() - began
        if error is None and seconds < SLOW:
            return
        self._events.append(Event(label, pid, self._wall(), seconds, error))

    def events(self, path: str) -> list[dict[str, object]]:
        """The last failed or slow waits at or under ``path``, the newest first."""
        return [event.facts() for event in reversed(self._events) if (event.label + "/").startswith(path + "/")]

    def forget_name(self, sessions: Sessions, name: str) -> None:
        """A session's name may stand for something else now: the kernel asks again."""
        self.invalidate(sessions.name, self._provider_node(sessions).inode, name.encode())

    def forget_names(self, sessions: Sessions) -> None:
        """All of a provider's."""
        for session in sessions.seen():
            self.forget_name(sessions, session.id)

    def _label(self, node: Node) -> str:
        if node.session is None:
            return node.sessions.name if node.sessions is not None else "/"
        if node.snapshot is None:
            return node.session.label
        path = node.snapshot.namespace.path(node.place).decode("utf-8", "backslashreplace")
        return f"{node.session.label}/{path}" if path else node.session.label

    @property
    def providers(self) -> list[Sessions]:
        return list(self._providers.values())
