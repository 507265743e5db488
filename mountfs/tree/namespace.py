"""The tree of one snapshot: which names stand in which directory, and which member each of them is.

Theory: members are a flat list of paths that nobody checked against one another; ``builder.py`` makes a tree of
them in which a name stands once. A *node* is a number: a member's index for files and links, ``ROOT`` = -1, -2,
-3 … for directories.

Memory: three numbers a member. Names are not kept: the member list gives them on demand, since a search in a sorted
listing needs only some twenty of them. Listings in use are kept whole, least recently used first out, bounded by
their names.

Concurrency: building takes seconds for millions of members and belongs in a worker thread. Afterwards everything
but the cache of listings is immutable; that cache makes the object belong to one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import overload

from cachetools import LRUCache

from mountfs.model import Kind, Remarks, Shape
from mountfs.tree.builder import Builder
from mountfs.tree.members import MemberList

ROOT = -1

KEPT_NAMES = 65_536
"""Names in all kept listings together: some 6 MB."""
LISTING_COST = 8
"""What a listing costs besides its names, in names."""
WHOLE_LISTING = 16_384
"""Listings up to this long are made whole at their first use (about 10 ms); of longer ones each name on demand."""
MAX_DIRECTORIES = 200_000
"""More are allowed only where there are as many members. A deep path costs two bytes a level in an archive, and some
500 here while a tree is built."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One directory's names in byte order, and the node each stands for."""

    names: Sequence[bytes]
    nodes: Sequence[int]

    def __len__(self) -> int:
        return len(self.nodes)


class Namespace:
    """The tree of ``members``. ``files`` and ``directories``: how many are shown (the root counts). ``remarks``: what
    was odd in the members, and what was done about it here."""

    def __init__(
        self,
        members: MemberList,
        shape: Shape,
        *,
        root_mtime_ns: int,
        max_directories: int | None = None,
        listings: MutableMapping[int, Listing] | None = None,
    ) -> None:
        """``root_mtime_ns``: the root's time. ``max_directories``: None for what is sensible. ``listings``: keeps
        listings in use, instead of a cache of our own.

        Raises LimitExceeded above ``max_directories``.
        """
        if max_directories is None:
            max_directories = max(MAX_DIRECTORIES, len(members))
        built = Builder(members, shape, root_mtime_ns=root_mtime_ns, max_directories=max_directories)
        self.members = members
        self._listings: MutableMapping[int, Listing] = (
            LRUCache(KEPT_NAMES, getsizeof=_cost) if listings is None else listings
        )
        self._latest = (0, Listing((), ()))
        self._renamed = built.renamed
        self._homes = built.homes
        self._nodes = memoryview(built.nodes).toreadonly()
        self._bounds = built.bounds
        self._parents = built.parents
        self._levels = built.levels
        self._names = built.names
        self._times = built.times
        self.directories = len(built.names)
        self.files = len(built.nodes) - (self.directories - 1)
        self.remarks = Remarks(dict(Counter(members.remarks.counts) + built.remarks))

    def child(self, directory: int, name: bytes) -> int | None:
        """The node of that name in a directory, None where there is none."""
        listing = self.listing(directory)
        place = bisect_left(listing.names, name)
        if place < len(listing.names) and listing.names[place] == name:
            return listing.nodes[place]
        return None

    def listing(self, directory: int) -> Listing:
        """A directory's names and nodes, in byte order of the names: the same at every call."""
        if directory == self._latest[0]:  # nearly always: a search in the cache takes 2 us
            return self._latest[1]
        kept = self._listings.get(directory)
        if kept is None:
            number = -directory - 1
            nodes = self._nodes[self._bounds[number] : self._bounds[number + 1]]
            if len(nodes) > WHOLE_LISTING:
                return Listing(_Names(self, nodes), nodes)
            kept = Listing(tuple(map(self.name, nodes)), nodes)
            self._listings[directory] = kept
        self._latest = directory, kept
        return kept

    def resolve(self, path: bytes) -> int | None:
        """The node at a path from the root, ``b""`` being the root; None where there is none."""
        node: int | None = ROOT
        for name in filter(None, path.split(b"/")):
            if node is None or node >= 0:
                return None
            node = self.child(node, name)
        return node

    def path(self, node: int) -> bytes:
        """A node's path from the root, as it is shown."""
        names = []
        while node != ROOT:
            names.append(self.name(node))
            node = self.parent(node)
        return b"/".join(reversed(names))

    def name(self, node: int) -> bytes:
        """A node's own name; the root's is empty."""
        if node < 0:
            return self._names[-node - 1]
        if node in self._renamed:
            return self._renamed[node]
        path = self.members.path(node)
        return path[path.rfind(b"/") + 1 :]

    def parent(self, node: int) -> int:
        """The directory that holds a node. The root is its own; 0 for a member that is not shown as a file."""
        return self._parents[-node - 1] if node < 0 else self._homes[node]

    def depth(self, node: int) -> int:
        """How many directories lie above a node inside its session, the root not counted."""
        if node < 0:
            return max(self._levels[-node - 1] - 1, 0)
        return self._levels[-self._homes[node] - 1]

    def mtime_ns(self, directory: int) -> int:
        """A directory's time: its member's, or where none stands for it the newest of its children's."""
        return self._times[-directory - 1]

    def links(self, directory: int) -> Sequence[int]:
        """The members in a directory that are symbolic links (as far as the member list can know)."""
        if not self.members.any_links:
            return ()
        kind = self.members.kind
        return [node for node in self.listing(directory).nodes if node >= 0 and kind(node) is Kind.SYMLINK]


class _Names(Sequence[bytes]):
    """The names of a long listing, each made when it is asked for."""

    def __init__(self, namespace: Namespace, nodes: Sequence[int]) -> None:
        self._namespace = namespace
        self._nodes = nodes

    def __len__(self) -> int:
        return len(self._nodes)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(place, slice):
            return tuple(map(self._namespace.name, self._nodes[place]))
        return self._namespace.name(self._nodes[place])


def _cost(listing: Listing) -> int:
    return len(listing) + LISTING_COST
