"""In which order a walk comes to the members of a tree.

Theory: a walk goes through a directory's names, and into each directory when its turn comes. ``tar``, ``grep -r`` and
most programs take the names as they were listed; ``cp -r`` and ``mv`` sort them by inode number first (coreutils, for
disks whose inodes lie in that order), and our numbers are hashes, so that is any order but the archive's. Both can be
foretold from one member on; which of the two it is, two members opened one after the other tell.

Concurrency: pure and synchronous; trio task thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mountfs.tree.namespace import ROOT, Namespace

TELLING = 32
"""Files that a directory must have for two that are opened in the order of their numbers to be hardly an accident: of
any two of 32, one pair in 33."""
MOST = 2048
"""Names of a directory whose order is worth 2 us a name; where a larger one comes, nothing more is foretold."""


class Route:
    """``number``: the inode number of a node. By it a walk is expected to go, until it is seen to go as listed."""

    def __init__(self) -> None:
        self._as_listed = False
        self._sorted: tuple[int, Sequence[int]] = (0, ())
        """The directory sorted last, and how: whoever comes to it in an order of his own is unforeseen each time."""

    def after(
        self, node: int, previous: int | None, namespace: Namespace, number: Callable[[int], int]
    ) -> Iterator[int]:
        """The members that come after ``node``; ``previous``: the one that was opened before it."""
        if previous is not None and previous != node and namespace.parent(previous) == namespace.parent(node):
            self._learn(node, previous, namespace, number)
        return self._following(node, namespace, number)

    def gives_away(self, node: int, previous: int, namespace: Namespace, number: Callable[[int], int]) -> bool:
        """Whether ``node`` comes right after ``previous`` by number, and in no order that a person or a shell takes."""
        directory = namespace.parent(node)
        if node == previous or namespace.parent(previous) != directory:
            return False
        listed = self._files(directory, namespace, number, as_listed=True)  # first: it needs no sorting
        if len(listed) < TELLING or self._follows(node, previous, listed):
            return False
        return self._follows(node, previous, self._files(directory, namespace, number, as_listed=False))

    def _learn(self, node: int, previous: int, namespace: Namespace, number: Callable[[int], int]) -> None:
        directory = namespace.parent(node)
        for as_listed in (False, True):
            if self._follows(node, previous, self._files(directory, namespace, number, as_listed=as_listed)):
                self._as_listed = as_listed
                return

    def _following(self, node: int, namespace: Namespace, number: Callable[[int], int]) -> Iterator[int]:
        while node != ROOT:
            directory = namespace.parent(node)
            names = self._names(directory, namespace, number, as_listed=self._as_listed)
            if node not in names:
                return
            # Deepest last: what a directory holds goes before what follows it.
            left = list(reversed(names[names.index(node) + 1 :]))
            while left:
                each = left.pop()
                if each >= 0:
                    yield each
                elif inner := self._names(each, namespace, number, as_listed=self._as_listed):
                    left.extend(reversed(inner))
            node = directory

    @staticmethod
    def _follows(node: int, previous: int, files: list[int]) -> bool:
        return previous in files and files[files.index(previous) + 1 :][:1] == [node]

    def _files(
        self, directory: int, namespace: Namespace, number: Callable[[int], int], *, as_listed: bool
    ) -> list[int]:
        return [each for each in self._names(directory, namespace, number, as_listed=as_listed) if each >= 0]

    def _names(
        self, directory: int, namespace: Namespace, number: Callable[[int], int], *, as_listed: bool
    ) -> Sequence[int]:
        nodes = namespace.listing(directory).nodes
        if len(nodes) > MOST:
            return ()
        if as_listed:
            return list(nodes)
        if self._sorted[0] != directory:
            self._sorted = directory, sorted(nodes, key=number)
        return self._sorted[1]
