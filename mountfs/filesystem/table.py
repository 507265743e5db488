"""Which node an inode is: the table of what the kernel knows, bound to sessions and their snapshots.

A directory's node is bound anew to the current snapshot when that changes (it keeps its number: its users' working
directory must not vanish); a file's is not, for its inode is its version. Names that changed are dropped in the
kernel by ``invalidate``, never a directory that stays one.

Concurrency: synchronous, trio task thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from mountfs.errors import NotADirectory, NotFound, SnapshotLost
from mountfs.filesystem.nodes import (
    DIRECTORY_MODE,
    DOTS,
    EXECUTABLE,
    FILE_MODE,
    MODES,
    Attributes,
    Node,
    OpenDirectory,
    Row,
)
from mountfs.model import Inode, Kind
from mountfs.session import Facts, Session, Sessions, Snapshot
from mountfs.tree import ROOT as ROOT_NODE
from mountfs.tree.inodes import ROOT, InodeTable, Numbering
from mountfs.zipformat import printable

FOREVER_TTL = 86_400.0  # what "for ever" is to the kernel: a day; an immutable tree is asked for again once a day


class Nodes:
    """The table. ``invalidate``: tells the kernel to drop a name (provider, directory, name); set by whoever mounts."""

    def __init__(self) -> None:
        self.invalidate: Callable[[str, Inode, bytes], None] = lambda *_: None
        self.root = Node(ROOT)
        self._table: InodeTable[Node] = InodeTable()
        self._numbering = Numbering("providers")

    def __len__(self) -> int:
        return len(self._table)

    def node(self, inode: Inode) -> Node:
        if inode == ROOT:
            return self.root
        node = self._table.get(inode)
        if node is None:
            raise SnapshotLost(f"inode {inode} is not known any more")
        return node

    def provider_node(self, sessions: Sessions) -> Node:
        return self._table.place(
            self._numbering.of(sessions.name.encode()),
            lambda node: node.sessions is sessions and node.session is None,
            lambda inode: Node(inode, sessions=sessions),
        )

    def session_node(self, sessions: Sessions, session: Session) -> Node:
        return self._table.place(
            session.numbering.of(b""),
            lambda node: node.session is session and node.place == ROOT_NODE,
            lambda inode: Node(inode, sessions=sessions, session=session),
        )

    def tree_node(self, sessions: Sessions, session: Session, snapshot: Snapshot, place: int) -> Node:
        """The node of a member or directory of a snapshot."""
        if place == ROOT_NODE:
            return self.session_node(sessions, session)
        return self._placed(sessions, session, snapshot, place, Inode(snapshot.inode_of(place)))

    def _placed(self, sessions: Sessions, session: Session, snapshot: Snapshot, place: int, candidate: Inode) -> Node:
        known = self._table.get(candidate)
        if known is None:
            return self._table.add(Node(candidate, sessions, session, snapshot, place))
        if known.snapshot is snapshot and known.place == place:
            return known

        def same(node: Node) -> bool:
            if node.session is not session or node.snapshot is None or node.is_directory != (place < 0):
                return False
            if node.snapshot.namespace.path(node.place) != snapshot.namespace.path(place):
                return False
            node.snapshot, node.place = snapshot, place
            return True

        return self._table.place(
            candidate,
            same,
            lambda inode: Node(inode, sessions, session, snapshot, place),
        )

    def rows(self, opened: OpenDirectory, first: int, *, names_alone: bool = False) -> Iterator[Row]:
        """The names of a directory inside a session from the ``first`` on, in the order of its snapshot. About 4 us
        each (1.5 where files come as names alone): what other methods do in steps is done in one here."""
        sessions, session, snapshot = opened.node.sessions, opened.node.session, opened.snapshot
        assert sessions is not None
        assert session is not None
        assert snapshot is not None
        ttl = min(session.seconds_left(), FOREVER_TTL)
        listing, number = snapshot.namespace.listing(opened.place), snapshot.numberer(opened.place)
        names, nodes, facts, salts = listing.names, listing.nodes, self._facts, snapshot.content.salts
        stamp, links = snapshot.members.stamp, snapshot.members.any_links
        for at in range(first, len(nodes)):
            name, place = names[at], nodes[at]
            if names_alone and place >= 0 and not (links and snapshot.members.kind(place) is Kind.SYMLINK):
                inode = number(name, *stamp(place), salts.get(place, 0) if salts else 0)
                yield name, inode, None, FILE_MODE, 0, 0, 0.0, at + DOTS + 1
                continue
            mode, size, mtime_ns, candidate = facts(snapshot, place, name, number)
            node = self._placed(sessions, session, snapshot, place, candidate)
            yield name, node.inode, node, mode, size, mtime_ns, ttl, at + DOTS + 1

    def child(self, node: Node, snapshot: Snapshot, name: bytes) -> tuple[Attributes, Node] | None:
        """A name in a directory inside a session; None where more than a look is needed (a link's target, a member that
        failed its check). Raises NotFound."""
        sessions, session = node.sessions, node.session
        assert sessions is not None
        assert session is not None
        known = node.snapshot is snapshot and node.place < 0
        directory = node.place if known else self.place_in(node, snapshot)
        place = snapshot.namespace.child(directory, name)
        if place is None:
            raise NotFound(f"no {os.fsdecode(name)!r} here")
        if snapshot.dead_until or (place >= 0 and snapshot.needs_target(place)):
            return None
        mode, size, mtime_ns, candidate = self._facts(snapshot, place, name, snapshot.numberer(directory))
        child = self._placed(sessions, session, snapshot, place, candidate)
        return Attributes(child.inode, mode, size, mtime_ns, min(session.seconds_left(), FOREVER_TTL)), child

    @staticmethod
    def _facts(
        snapshot: Snapshot, place: int, name: bytes, number: Callable[..., Inode]
    ) -> tuple[int, int, int, Inode]:
        """(mode, size, time, first candidate for its number) of a name in a directory numbered by ``number``."""
        if place < 0:
            return DIRECTORY_MODE, 0, snapshot.namespace.mtime_ns(place), number(name)
        size, crc, mtime_ns, kind, executable = snapshot.members.brief(place)
        salts = snapshot.content.salts
        candidate = number(name, size, crc, salts.get(place, 0) if salts else 0)
        if kind is Kind.FILE:
            return FILE_MODE | EXECUTABLE if executable else FILE_MODE, size, mtime_ns, candidate
        facts = snapshot.facts(place)
        return _mode(facts), facts.size, facts.mtime_ns, candidate

    def remember(self, node: Node) -> None:
        """The kernel was told of this node, and will forget it one day."""
        self._table.remember(node)

    def forget(self, inode: Inode, count: int) -> None:
        """The kernel gave back ``count`` lookups of an inode."""
        if inode != ROOT:
            self._table.forget(inode, count)

    def attributes(self, node: Node) -> Attributes:
        if node.session is None:
            return Attributes(node.inode, DIRECTORY_MODE, 0, 0, FOREVER_TTL)
        ttl = min(node.session.seconds_left(), FOREVER_TTL)
        if node.snapshot is None:
            assert node.sessions is not None
            ttl = min(max(ttl, node.sessions.listing_left()), FOREVER_TTL)  # its name and times are the listing's word
            return Attributes(node.inode, DIRECTORY_MODE, 0, node.session.mtime_ns, ttl)
        facts = node.snapshot.facts(node.place)
        return Attributes(node.inode, _mode(facts), facts.size, facts.mtime_ns, ttl)

    def get(self, inode: Inode) -> Node | None:
        """The node of an inode; None if it is not known."""
        return self.root if inode == ROOT else self._table.get(inode)

    def unused(self, node: Node) -> None:
        """A dentry did not fit into the reply: the kernel never heard of it."""
        self._table.drop_unused(node)

    def place_in(self, node: Node, snapshot: Snapshot) -> int:
        """Where a directory's node stands in ``snapshot``; binds the node to it."""
        if not node.is_directory:
            raise NotADirectory("not a directory")
        if node.snapshot is None:
            return ROOT_NODE
        if node.snapshot is not snapshot:
            place = snapshot.namespace.resolve(node.snapshot.namespace.path(node.place))
            if place is None or place >= 0:
                raise SnapshotLost(f"{self.label(node)}: this directory is gone")
            node.snapshot, node.place = snapshot, place
        return node.place

    def parent(self, node: Node) -> Inode:
        if node.sessions is None or node.session is None:
            return ROOT
        if node.snapshot is None or node.place == ROOT_NODE:
            return self.provider_node(node.sessions).inode
        known = len(self._table)
        above = self.tree_node(node.sessions, node.session, node.snapshot, node.snapshot.namespace.parent(node.place))
        if len(self._table) > known:
            self._table.drop_unused(above)  # made for this answer alone: the kernel was not told of it
        return above.inode

    def changed(self, session: Session, old: Snapshot, new: Snapshot) -> None:
        """A session shows another snapshot: the kernel drops the names that changed or vanished, and those that are new
        in directories it knows, since it may remember that they were not there."""
        provider = session.around.provider.name
        # Looks at every inode the kernel knows: 20 ms a million.
        for node in [node for node in self._table.values() if node.session is session]:
            tree = old if node.snapshot is None else node.snapshot
            path = tree.namespace.path(node.place)
            place = new.namespace.resolve(path)
            if place is None or (place < 0) != node.is_directory or (place >= 0 and new.inode_of(place) != node.inode):
                self.invalidate(provider, self.parent(node), bytes(tree.namespace.name(node.place)))
                continue
            if place >= 0:
                new.know_target(place, tree, node.place)
                if new.needs_target(place):
                    continue
            elif new is not old:
                before = old.namespace.resolve(path)
                known = set(old.namespace.listing(before).names) if before is not None and before < 0 else set()
                for name in set(new.namespace.listing(place).names) - known:
                    self.invalidate(provider, node.inode, name)
            if node.snapshot is not None:  # else the old version would be kept as long as the inode
                node.snapshot, node.place = new, place

    def forget_name(self, sessions: Sessions, name: str) -> None:
        """A session's name may stand for something else now: the kernel asks again."""
        self.invalidate(sessions.name, self.provider_node(sessions).inode, name.encode())

    def forget_names(self, sessions: Sessions) -> None:
        """All of a provider's."""
        for session in sessions.seen():
            self.forget_name(sessions, session.id)

    def label(self, node: Node) -> str:
        if node.session is None:
            return node.sessions.name if node.sessions is not None else "/"
        if node.snapshot is None:
            return node.session.label
        path = printable(node.snapshot.namespace.path(node.place))
        return f"{node.session.label}/{path}" if path else node.session.label


def _mode(facts: Facts) -> int:
    # By identity, not through a table: hashing an enum member is a Python call, and this is made for every dentry.
    if facts.kind is Kind.FILE:
        return FILE_MODE | EXECUTABLE if facts.executable else FILE_MODE
    return MODES[facts.kind]
