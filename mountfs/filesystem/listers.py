"""Who lists directories for their names alone.

Theory: a listing may bring each name's attributes (READDIRPLUS), which ``ls -l``, ``cp`` and ``tar`` then need not ask
for one by one; for ``find``, ``ls -R`` and completion they are work for nothing: 9 us a name, and an inode that the
kernel and we then keep. The kernel does not say which it is, and never asks for what it was told; so what a process
does with *names alone* tells. A *lister* (a process, by the pid of its requests) is given the names of its first
directories alone. The first file it looks up by itself makes it one that wants attributes, from then on: a walk pays
for that with the lookups of one directory. Who reads a directory of files, looks none of them up and goes on to the
next, is sure to want names: then every part of a long listing is names alone, not only the first. Directories always
come with their attributes, since who walks enters them.

What is wrong here costs time, never a wrong answer: what a listing does not bring is looked up.

Concurrency: synchronous, trio task thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from mountfs.session import Snapshot

LISTERS = 256
"""Processes remembered."""
QUIET = 60.0
"""Seconds without a listing after which a pid is a stranger again: it may be another process by now."""
LEAF = 16
"""Files that a directory without directories must have to show, left alone, what its lister wants."""
LARGE = 16_384
"""Above this a directory is not searched for directories, and shows nothing."""


@dataclass(slots=True)
class Lister:
    """``left``: files of the directory listed last, none of them looked up, if there was nothing else in it."""

    until: float = 0.0
    attributes: bool = False
    names: bool = False
    left: int = 0


class Listers:
    """The processes that list, by pid."""

    def __init__(self) -> None:
        self._known: dict[int, Lister] = {}

    def names_alone(self, pid: int, snapshot: Snapshot, directory: int, now: float, *, first: bool) -> bool:
        """Whether this part of a directory's listing (the ``first``, or one that follows) is of names alone."""
        if pid <= 0:  # of another namespace: it may be anybody
            return False
        lister = self._known.pop(pid, None)
        if lister is None or now > lister.until:
            lister = Lister()
            while len(self._known) >= LISTERS:
                del self._known[next(iter(self._known))]
        self._known[pid] = lister
        lister.until = now + QUIET
        if lister.attributes:
            return False
        if first:
            lister.names = lister.names or lister.left >= LEAF
            lister.left = _files(snapshot, directory)
        return first or lister.names

    def looked_up(self, pid: int) -> None:
        """A process asked for a file by its name."""
        if (lister := self._known.get(pid)) is not None:
            lister.attributes = True


def _files(snapshot: Snapshot, directory: int) -> int:
    """How many files a directory has, if there is nothing else in it and it is not too large to tell."""
    nodes = snapshot.namespace.listing(directory).nodes
    return len(nodes) if len(nodes) <= LARGE and min(nodes, default=-1) >= 0 else 0
