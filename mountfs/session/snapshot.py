"""A snapshot: one version of a session's members, as a tree with inode numbers. What it shows never changes.

Symbolic links are the one thing a directory cannot answer: whether a link is safe to show depends on its target,
which is member data. So a directory's links are read (``resolve_links``) before the directory is first listed or
looked into; a link that would lead out of its session is a regular file with the target as its content (zip.md,
"Types").

A directory keeps its number over snapshots (its users' working directory must not vanish), a file's number follows
its size and CRC, so that a changed file is a new inode and the kernel's pages of the old one are never shown.

*One object a version*: who rests is closed, and given another source to read from when it is visited again.

Concurrency: the tree is immutable; the rest changes on the trio task thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import trio
from cachetools import LRUCache

from mountfs.content import Reader
from mountfs.errors import ArchiveError, MountfsError
from mountfs.model import Brief, Inode, Kind, Member, Validator
from mountfs.store import Snapshot as Kept
from mountfs.tree import MemberList, Namespace
from mountfs.tree.inodes import Numbering
from mountfs.tree.route import Route
from mountfs.zipformat import safe_link

TOGETHER = 256  # links read at once
LISTED = 30.0  # seconds after which opening a file is not taken for a consequence of listing its directory


class Content(Protocol):
    """Where a snapshot's bytes come from: ``archive.members.ZipContent`` or ``files.FilesContent``."""

    salts: dict[int, int]

    @property
    def kept(self) -> Kept: ...
    @property
    def busy(self) -> bool: ...
    @property
    def dead(self) -> Mapping[int, MountfsError]: ...
    def peek_open(self, index: int, *, listed: bool) -> Reader | None: ...
    async def open(self, index: int, *, listed: bool) -> Reader: ...
    def peek_target(self, index: int) -> bytes | None: ...
    async def target(self, index: int) -> bytes: ...
    def revive(self, index: int) -> None: ...
    def refusal(self, index: int) -> MountfsError | None: ...
    @property
    def lost(self) -> bool: ...
    def ask_again(self) -> None: ...
    def share_members(self, members: MemberList) -> None: ...
    def foretell(
        self, expected: Callable[[int, int | None], Iterator[int]], walked: Callable[[int, int], bool]
    ) -> None: ...
    def close(self) -> None: ...


class Facts(NamedTuple):
    """What the kernel is told of one node: size in bytes, time in ns since 1970."""

    kind: Kind
    size: int
    mtime_ns: int
    executable: bool


@dataclass(eq=False, slots=True, weakref_slot=True)
class Snapshot:
    """``members``: indexable by node."""

    name: str
    members: MemberList
    namespace: Namespace
    content: Content
    numbering: Numbering
    validator: Validator
    fetched: float
    whole: bool
    size: int
    links: dict[int, bytes | MountfsError] = field(default_factory=dict)
    numberers: LRUCache[int, Callable[..., Inode]] = field(default_factory=lambda: LRUCache(1024))
    latest_numberer: tuple[int, Callable[..., Inode]] = (0, Numbering("").of)
    listed_at: LRUCache[int, float] = field(default_factory=lambda: LRUCache(1024))
    dead_until: dict[int, float] = field(default_factory=dict)
    route: Route = field(default_factory=Route)
    handles: int = 0
    superseded: bool = False
    closed: bool = False

    def reopened(self, opening: Snapshot) -> bool:
        """Takes over what a new ``opening`` of the same version reads from; False where it is another version.

        Inodes the kernel knows keep the snapshot in which they were last looked at: were each opening one of its own,
        there would be one more tree, source and set of caches each time a session rests and is visited again."""
        if self.name != opening.name or len(self.members) != len(opening.members):
            return False
        self.content, self.closed = opening.content, False
        self.content.share_members(self.members)
        self.content.foretell(self.expected, self.walked)
        self.validator, self.fetched = opening.validator, opening.fetched
        self.whole, self.size = opening.whole, opening.size
        return True

    def same_members(self, other: Snapshot) -> bool:
        """Whether both have the same names with the same sizes and CRCs. Takes 3 us a member: for a worker thread."""
        return self.members.digest() == other.members.digest()

    def oddities(self) -> str:
        """What of the archive is not shown as it stands there, in one line; empty if nothing."""
        return "; ".join(f"{count} {reason}" for reason, count in sorted(self.namespace.remarks.counts.items()))

    def member(self, node: int) -> Member:
        return self.members[node]

    def facts(self, node: int) -> Facts:
        """Of any node; a link must have been resolved."""
        if node < 0:
            return Facts(Kind.DIRECTORY, 0, self.namespace.mtime_ns(node), executable=True)
        return self._facts(node, self.members.brief(node))

    def _facts(self, node: int, brief: Brief) -> Facts:
        if brief.kind is not Kind.SYMLINK:
            return Facts(brief.kind, brief.size, brief.mtime_ns, brief.executable)
        target = self.links.get(node)
        if isinstance(target, bytes):
            kind = Kind.SYMLINK if safe_link(target, self.namespace.depth(node)) else Kind.FILE
            return Facts(kind, len(target), brief.mtime_ns, executable=False)
        return Facts(Kind.FILE, brief.size, brief.mtime_ns, executable=False)

    def inode_of(self, node: int) -> Inode:
        """The first candidate for this node's number."""
        namespace = self.namespace
        if node < 0:
            return self.numbering.of(namespace.path(node))
        brief = self.members.brief(node)
        return self.numberer(namespace.parent(node))(namespace.name(node), brief.size, brief.crc, self._salt(node))

    def numberer(self, directory: int) -> Callable[..., Inode]:
        """How the names of a directory are numbered: its path hashed once, the last few directories remembered, and
        the last one without a search."""
        if directory == self.latest_numberer[0]:
            return self.latest_numberer[1]
        number = self.numberers.get(directory)
        if number is None:
            path = self.namespace.path(directory)
            number = self.numberers[directory] = self.numbering.under(path + b"/" if path else b"")
        self.latest_numberer = directory, number
        return number

    def expected(self, node: int, previous: int | None) -> Iterator[int]:
        """The members that a walk comes to after ``node``, as far as can be told. ``previous``: the one before it."""
        return self.route.after(node, previous, self.namespace, self.inode_of)

    def walked(self, node: int, previous: int) -> bool:
        """Whether hardly anything but a copy opens ``node`` right after ``previous``."""
        return self.route.gives_away(node, previous, self.namespace, self.inode_of)

    def _salt(self, node: int) -> int:
        return self.content.salts.get(node, 0)

    def unresolved(self, directory: int) -> list[int]:
        """The links of a directory whose targets are not known yet."""
        return [index for index in self.namespace.links(directory) if index not in self.links]

    async def resolve_links(self, indices: list[int]) -> None:
        """Reads targets, many at once. A damaged link is remembered as such and fails alone; a failing service fails
        all."""
        for at in range(0, len(indices), TOGETHER):
            left = []
            for index in indices[at : at + TOGETHER]:
                if index not in self.links:
                    if (target := self.content.peek_target(index)) is not None:
                        self.links[index] = target
                    else:
                        left.append(index)
            await self._resolve(left)

    async def _resolve(self, indices: list[int]) -> None:
        failures: list[MountfsError] = []

        async def resolve(index: int) -> None:
            try:
                self.links[index] = await self.content.target(index)
            except ArchiveError as exc:
                self.links[index] = exc
            except MountfsError as exc:
                failures.append(exc)

        async with trio.open_nursery() as nursery:
            for index in indices:
                nursery.start_soon(resolve, index)
        if failures:
            raise failures[0]

    def know_target(self, node: int, old: Snapshot, place: int) -> None:
        """``node`` is the same link as ``place`` in an older version: it has the same path, size and CRC."""
        if self.needs_target(node) and place in old.links:
            self.links[node] = old.links[place]

    def needs_target(self, node: int) -> bool:
        """Whether a node is a link whose target is not known yet."""
        members = self.members
        return members.any_links and members.kind(node) is Kind.SYMLINK and node not in self.links

    def listed(self, directory: int, now: float) -> None:
        """Somebody lists this directory, or has just done so: what is opened in it next may be a walk."""
        self.listed_at[directory] = now

    def was_listed(self, node: int, now: float) -> bool:
        """Whether a node's directory was listed a short while ago."""
        return now - self.listed_at.get(self.namespace.parent(node), -LISTED) < LISTED

    def revived(self, node: int) -> bool:
        """Whether a member got a second chance: its old inode is dead."""
        return self._salt(node) > 0

    def note_dead(self, node: int, until: float) -> None:
        """A member failed its check: it stays dead until then (monotonic clock), each time four times as long."""
        times = self._salt(node)
        self.dead_until[node] = until + 2.0 * (4.0 ** min(times, 6) - 1)

    def replaces(self, old: Snapshot) -> None:
        """Members that were damaged in ``old`` get another inode here, for the kernel keeps the pages it was given."""
        for node in {*old.content.salts, *old.content.dead}:
            here = self.namespace.resolve(old.namespace.path(node))
            if here is not None and here >= 0:
                self.content.salts[here] = old.content.salts.get(node, 0) + (node in old.content.dead)

    def revive_all(self) -> bool:
        """Gives every damaged member another chance, now; answers whether all could be given one."""
        for node in list(self.content.dead):
            self.dead_until.pop(node, None)
            self.content.revive(node)
        return not self.content.dead

    def revive_due(self, node: int, now: float) -> None:
        """Gives a member that failed its check another chance, under a new inode, once its time has come."""
        if node in self.dead_until and now >= self.dead_until[node]:
            del self.dead_until[node]
            self.content.revive(node)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps it open while somebody waits for something of it."""
        self.handles += 1
        try:
            yield
        finally:
            self.release()

    @property
    def idle(self) -> bool:
        """Whether it may be let go and opened again later: nobody uses it, and it knows nothing that opening it again
        would not tell (a member that failed its check stays dead)."""
        return not (self.handles or self.content.busy or self.content.dead or self.content.salts)

    def release(self) -> None:
        """One handle less: a snapshot that is not shown any more is closed with its last."""
        self.handles -= 1
        if self.superseded and self.handles == 0:
            self.close()

    def close(self) -> None:
        """Nobody needs it any more."""
        if not self.closed:
            self.closed = True
            self.content.close()
