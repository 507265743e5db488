"""From a flat list of paths to sorted directories: the work behind ``Namespace``, done once.

Theory: two passes. The first puts every member into its directory, making the directories it lies under. The
second goes through one directory at a time, so that names are held for one directory only: the last of several
members with one name wins, files give way to directories, names are cleaned where the shape asks for it, and the
result is sorted. Directories are numbered as they are first met, parents before their children.

Concurrency: used by one thread, then thrown away.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter

from mountfs.errors import LimitExceeded
from mountfs.model import Shape
from mountfs.tree.members import MemberList
from mountfs.zipformat.names import Numbering
from mountfs.zipformat.order import in_order

NO_MEMBER = -1
"""In place of a member's index, for a directory that no member stands for."""

SHADOWED = "shadowed: a later member has that name"
DISPLACED = "renamed: a directory has that name"

BATCH = 16_384
"""Files named at once."""
KEPT_HEADS = 1024
"""Directory paths remembered while members arrive interleaved; the cost of forgetting is a walk from the root."""

_SUFFIXED = re.compile(rb"(.+)-\d{13}(\.[^.]*)?", re.DOTALL)


class Builder:
    """Builds once, at construction; then its attributes are taken over by the Namespace.

    ``parents``, ``levels``, ``names``, ``times``: of directories by number, the root being 0 (levels: components of
    its path). ``homes``: of members, the node of their directory, 0 for those not shown. ``nodes[bounds[n]:
    bounds[n + 1]]``: the children of directory n, sorted by name. ``renamed``: names that are not the member's own.
    """

    def __init__(self, members: MemberList, shape: Shape, *, root_mtime_ns: int, max_directories: int) -> None:
        self.parents = array("i", (-1,))
        self.levels = array("H", (0,))
        self.names: list[bytes] = [b""]
        self.homes = array("i", bytes(4 * len(members)))
        self.nodes = array("i")
        self.bounds = array("Q", (0,))
        self.renamed: dict[int, bytes] = {}
        self.remarks = Counter[str]()
        self._members = members
        self._shape = shape
        self._max_directories = max_directories
        self._numbers: dict[tuple[int, bytes], int] = {}
        self._stands_for = array("q", (NO_MEMBER,))
        self._files: dict[int, array[int]] = {}
        self._place(self._stripped())
        self.times = array("q", bytes(8 * len(self.names)))
        self._settle()
        self._date(root_mtime_ns)

    def _stripped(self) -> int:
        """Bytes to drop from the front of every path: those of ``shape.strip`` if every member lies under it."""
        strip = self._shape.strip
        if not strip:
            return 0
        prefix = strip + b"/"
        under = all(
            path.startswith(prefix) or (directory and path == strip) for _, path, directory in self._members.names()
        )
        return len(prefix) if under else 0

    def _place(self, skip: int) -> None:
        """Puts every member into its directory."""
        heads: dict[bytes, array[int]] = {}
        for index, whole, directory in self._members.names():
            path = whole[skip:] if skip else whole
            if directory:
                self._stands_for[self._directory(path)] = index
                continue
            head = path[: path.rfind(b"/") + 1]
            files = heads.get(head)
            if files is None:
                files = self._files.setdefault(self._directory(head), array("I"))
                if len(heads) >= KEPT_HEADS:
                    heads.clear()
                heads[head] = files
            files.append(index)

    def _directory(self, path: bytes) -> int:
        """The number of a directory; it and those above it are made where they are missing."""
        number = 0
        for name in filter(None, path.split(b"/")):
            found = self._numbers.get((number, name))
            if found is None:
                found = len(self.names)
                if found >= self._max_directories:
                    raise LimitExceeded(
                        f"the archive has more than {self._max_directories} directories",
                        advice="mountfs keeps them in memory; use another program for this archive",
                    )
                self._numbers[number, name] = found
                self.parents.append(-number - 1)
                self.levels.append(self.levels[number] + 1)
                self.names.append(name)
                self._stands_for.append(NO_MEMBER)
            number = found
        return number

    def _settle(self) -> None:
        """Makes the names of each directory unique and sorts them."""
        below: dict[int, dict[bytes, int]] = {}
        for (parent, name), number in self._numbers.items():
            below.setdefault(parent, {})[name] = -number - 1
        self._numbers.clear()
        homes, mtime_ns = self.homes, self._members.mtime_ns
        for number in range(len(self.names)):
            table = self._named(self._files.pop(number, array("I")))
            directories = below.pop(number, {})
            self._displace(table, directories)
            if self._shape.clean_suffix:
                self._clean(table, directories)
            node = -number - 1
            for index in table.values():
                homes[index] = node
            if self._stands_for[number] == NO_MEMBER:
                self.times[number] = max(map(mtime_ns, table.values()), default=0)
            table.update(directories)
            self.nodes.extend(map(table.__getitem__, in_order(table)))
            self.bounds.append(len(self.nodes))

    def _named(self, files: array[int]) -> dict[bytes, int]:
        """name -> index of a directory's files, the last of one name winning. In batches, so that a million files in
        one directory do not hold the interpreter's lock for long."""
        path, table = self._members.path, dict[bytes, int]()
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            table.update(zip((name[name.rfind(b"/") + 1 :] for name in map(path, batch)), batch, strict=True))
        if len(table) < len(files):
            self.remarks[SHADOWED] += len(files) - len(table)
        return table

    def _displace(self, table: dict[bytes, int], directories: dict[bytes, int]) -> None:
        """Files give way to directories of their name."""
        clashes = sorted(table.keys() & directories.keys())
        if not clashes:
            return
        numbering = Numbering({*table, *directories})
        for name in clashes:
            self._rename(table, name, numbering.free(name))
        self.remarks[DISPLACED] += len(clashes)

    def _clean(self, table: dict[bytes, int], directories: dict[bytes, int]) -> None:
        """Drops the millisecond suffix (providers.md §4) where what remains is unique in its directory."""
        cleaned = {name: b"".join(match.groups(b"")) for name in table if (match := _SUFFIXED.fullmatch(name))}
        wanted = Counter(cleaned.values())
        for name, clean in cleaned.items():
            if wanted[clean] == 1 and clean not in table and clean not in directories:
                self._rename(table, name, clean)

    def _rename(self, table: dict[bytes, int], old: bytes, new: bytes) -> None:
        index = table.pop(old)
        table[new] = index
        self.renamed[index] = new

    def _date(self, root_mtime_ns: int) -> None:
        """A directory's time is its member's, or else the newest of its children's; children come after parents."""
        for number in range(len(self.names) - 1, 0, -1):
            if self._stands_for[number] != NO_MEMBER:
                self.times[number] = self._members.mtime_ns(self._stands_for[number])
            above = -self.parents[number] - 1
            if self._stands_for[above] == NO_MEMBER:
                self.times[above] = max(self.times[above], self.times[number])
        self.times[0] = root_mtime_ns
