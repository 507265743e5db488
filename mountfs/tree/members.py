"""What a tree is built from: a flat list of members, whatever their source.

Theory: a zip's ``Directory`` keeps its members packed and is a ``MemberList`` by itself; a short list that was
made some other way (one URL a file) becomes one as a ``MemberTable``.

Concurrency: immutable once built.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from mountfs.model import Brief, Kind, Member, MemberPath, Remarks
from mountfs.zipformat.names import Numbering

REPEATED = "renamed: an earlier file has that name"


class MemberList(Protocol):
    """Members by index, in the order in which later ones replace earlier ones. Hidden ones have an index too, but
    are left out of ``names``."""

    @property
    def remarks(self) -> Remarks:
        """What was odd in the source."""

    @property
    def any_links(self) -> bool:
        """Whether any member is a symbolic link: without one, no directory need be searched for them."""

    def __len__(self) -> int:
        """All members, hidden ones included."""

    def __getitem__(self, index: int, /) -> Member: ...

    def names(self) -> Iterator[tuple[int, MemberPath, bool]]:
        """(index, path, whether it is a directory) of every member that is shown, by rising index."""

    def path(self, index: int, /) -> MemberPath: ...

    def kind(self, index: int, /) -> Kind: ...

    def mtime_ns(self, index: int, /) -> int: ...

    def brief(self, index: int, /) -> Brief: ...

    def stamp(self, index: int, /) -> tuple[int, int]:
        """(size in bytes, CRC-32): what makes a changed file another."""

    def digest(self) -> bytes: ...


class MemberTable:
    """A list of members as they are."""

    def __init__(self, members: Iterable[Member], remarks: Remarks | None = None) -> None:
        self._members = tuple(members)
        self.remarks = remarks or Remarks()
        self.any_links = any(member.kind is Kind.SYMLINK for member in self._members)

    @classmethod
    def numbered(cls, members: Iterable[Member], remarks: Remarks | None = None) -> MemberTable:
        """A table in which a repeated path does not shadow the earlier one but becomes ``a (1).pdf`` (providers.md §4):
        the first of them keeps its name."""
        kept: list[Member] = []
        counts = Counter[str](remarks.counts if remarks else {})
        numbering = Numbering(set())
        for member in members:
            path = member.path
            if path in numbering.taken:
                head, slash, name = path.rpartition(b"/")
                found = numbering.free(name, under=head + slash)
                counts[REPEATED] += 1
                member = replace(member, path=MemberPath(found))  # noqa: PLW2901
            numbering.taken.add(member.path)
            kept.append(member)
        return cls(kept, Remarks(dict(counts)))

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: int) -> Member:
        return self._members[index]

    def names(self) -> Iterator[tuple[int, MemberPath, bool]]:
        for index, member in enumerate(self._members):
            yield index, member.path, member.kind is Kind.DIRECTORY

    def path(self, index: int) -> MemberPath:
        return self._members[index].path

    def kind(self, index: int) -> Kind:
        return self._members[index].kind

    def mtime_ns(self, index: int) -> int:
        return self._members[index].mtime_ns

    def brief(self, index: int) -> Brief:
        member = self._members[index]
        return Brief(member.size, member.crc, member.mtime_ns, member.kind, member.executable)

    def stamp(self, index: int) -> tuple[int, int]:
        member = self._members[index]
        return member.size, member.crc

    def digest(self) -> bytes:
        """Equal for tables of the same names, sizes and CRCs."""
        rows = sorted((member.path, member.size, member.crc) for member in self._members)
        return hashlib.blake2b(repr(rows).encode(), digest_size=32).digest()
