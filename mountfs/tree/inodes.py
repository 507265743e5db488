"""Inode numbers and the table of those the kernel knows.

*Numbers.* An inode is a 64-bit hash of the account, the session, the path and, for a file, its size, CRC and a salt:
so an unchanged member keeps its number over snapshots and restarts, and a changed one gets a new one (``keep_cache``
would otherwise show the old pages). Two names that collide are told apart by probing: the newcomer takes the next
number.

*The table* holds one node an inode for as long as the kernel has a reference (lookups minus forgets), and nothing else:
the root and what the kernel never asked for cost nothing.

Concurrency: pure and synchronous; used from the trio task thread only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

from mountfs.model import Inode

ROOT = Inode(1)
_MASK = (1 << 63) - 1  # positive for programs that keep st_ino in a signed 64-bit integer (sqlite, Java)
_NUMBER = struct.Struct("<Q")
_FACTS = struct.Struct("<xQQQ")  # the first byte is a NUL: no name holds one


class Known(Protocol):
    """What a node in the table carries: its number, and how many lookups the kernel was answered."""

    inode: Inode
    lookups: int


N = TypeVar("N", bound=Known)
H = TypeVar("H")


class Numbering:
    """Hashes under one prefix (an account and a session), so that a member costs one short update (about 1 µs)."""

    def __init__(self, *prefix: str) -> None:
        self._prefix = blake2b(b"".join(len(p).to_bytes(4, "little") + p.encode() for p in prefix), digest_size=8)

    def of(self, path: bytes, size: int = -1, crc: int = 0, salt: int = 0) -> Inode:
        """The first candidate for ``path``; a file's ``size`` (in bytes), ``crc`` and ``salt`` are what makes a changed
        one another."""
        head, slash, name = path.rpartition(b"/")
        return self.under(head + slash)(name, size, crc, salt)

    def under(self, directory: bytes) -> Callable[..., Inode]:
        """``of`` for the names of one directory (its path with a final slash, or nothing): hashes the path once."""
        begun = self._prefix.copy()
        begun.update(b"/" + directory)
        copy, pack, unpack = begun.copy, _FACTS.pack, _NUMBER.unpack

        def of(name: bytes, size: int = -1, crc: int = 0, salt: int = 0) -> Inode:
            state = copy()
            state.update(name + pack(size, crc, salt) if size >= 0 else name)
            number = unpack(state.digest())[0] & _MASK
            return number if number > ROOT else number + 2  # type: ignore[no-any-return]  # Inode() costs 60 ns

        return of


class InodeTable(Generic[N]):
    """inode -> node, for what the kernel refers to."""

    def __init__(self) -> None:
        self._nodes: dict[Inode, N] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, inode: Inode) -> N | None:
        return self._nodes.get(inode)

    def values(self) -> Iterable[N]:
        return self._nodes.values()

    def place(self, candidate: Inode, same: Callable[[N], bool], make: Callable[[Inode], N]) -> N:
        """The node that is the ``same``, made if the table has none; its number is ``candidate`` or the next free one.
        It enters the table with no lookup: ``remember`` or ``drop_unused`` decides whether it stays."""
        inode = candidate
        while (node := self._nodes.get(inode)) is not None:
            if same(node):
                return node
            inode = Inode((inode + 1) & _MASK or 2)
        node = self._nodes[inode] = make(inode)
        return node

    def add(self, node: N) -> N:
        """A node whose number is not in the table; the same holds for it as for one that was ``placed``."""
        self._nodes[node.inode] = node
        return node

    def remember(self, node: N) -> None:
        """Counts one lookup the kernel was answered."""
        node.lookups += 1

    def drop_unused(self, node: N) -> None:
        """Removes a node that was looked at without the kernel being told of it."""
        if node.lookups <= 0:
            self._nodes.pop(node.inode, None)

    def forget(self, inode: Inode, count: int) -> N | None:
        """The kernel dropped ``count`` lookups; answers the node if it is gone from the table by that."""
        node = self._nodes.get(inode)
        if node is None:
            return None
        node.lookups -= count
        if node.lookups > 0:
            return None
        return self._nodes.pop(inode)


class Handles(Generic[H]):
    """handle -> per-open state. Numbers are never reused, so a late request cannot meet another file's handle."""

    def __init__(self) -> None:
        self._open: dict[int, H] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._open)

    def add(self, state: H) -> int:
        number = self._next
        self._next += 1
        self._open[number] = state
        return number

    def get(self, number: int) -> H | None:
        return self._open.get(number)

    def pop(self, number: int) -> H | None:
        return self._open.pop(number, None)

    def values(self) -> list[H]:
        return list(self._open.values())
