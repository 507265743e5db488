"""Who is told names alone: by what a process does with the names it was given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drives import Drive, World, zip_of

from mountfs.filesystem.listers import LEAF, LISTERS, QUIET, Listers
from mountfs.session import Snapshot

PID = 77


Scene = Callable[[Listers, Snapshot, Callable[[str], int]], None]
Look = Callable[[Scene], None]


@pytest.fixture
def look(world: World) -> Look:
    """Runs a scene with the snapshot of a session: two directories of files, one of files and a directory, a small
    one; and what finds a directory in it."""
    files = {f"{name}/{at}": b"x" for name in ("one", "two", "mixed") for at in range(LEAF)}
    world.session("kaizen", zip_of({**files, "mixed/deep/f": b"x", "few/f": b"x"}))

    def run(scene: Scene) -> None:
        async def main(drive: Drive) -> None:
            await drive.ls("kaizen/s_1")
            snapshot = drive.fs.providers[0].seen()[0].current
            assert snapshot is not None

            def place(path: str) -> int:
                found = snapshot.namespace.resolve(path.encode())
                assert found is not None
                return found

            scene(Listers(), snapshot, place)

        world.run(main)

    return run


def test_strangers_are_given_names_first(look: Look) -> None:
    """The first part of a directory is names alone; what follows is not, before it is known what they want."""

    def scene(listers: Listers, snapshot: Snapshot, place: Callable[[str], int]) -> None:
        assert listers.names_alone(PID, snapshot, place("one"), 0.0, first=True)
        assert not listers.names_alone(PID, snapshot, place("one"), 0.0, first=False)

    look(scene)


def test_who_looks_a_file_up_wants_attributes(look: Look) -> None:
    def scene(listers: Listers, snapshot: Snapshot, place: Callable[[str], int]) -> None:
        assert listers.names_alone(PID, snapshot, place("one"), 0.0, first=True)
        listers.looked_up(PID)
        assert not listers.names_alone(PID, snapshot, place("two"), 1.0, first=True)
        assert listers.names_alone(PID + 1, snapshot, place("two"), 1.0, first=True)
        listers.looked_up(PID + 2)  # who never listed anything
        assert listers.names_alone(PID + 2, snapshot, place("two"), 1.0, first=True)

    look(scene)


@pytest.mark.parametrize(("first", "sure"), [("one", True), ("mixed", False), ("few", False)])
def test_who_leaves_a_directory_of_files_alone_wants_names(look: Look, first: str, sure: bool) -> None:
    """... of files and nothing else, and not only a few: a copy lists directories in directories before it opens the
    first file."""

    def scene(listers: Listers, snapshot: Snapshot, place: Callable[[str], int]) -> None:
        assert listers.names_alone(PID, snapshot, place(first), 0.0, first=True)
        assert listers.names_alone(PID, snapshot, place("two"), 1.0, first=True)
        assert listers.names_alone(PID, snapshot, place("two"), 1.0, first=False) is sure
        listers.looked_up(PID)  # and may still change its mind
        assert not listers.names_alone(PID, snapshot, place("two"), 1.0, first=False)

    look(scene)


def test_a_number_is_a_stranger_again_after_a_while(look: Look) -> None:
    def scene(listers: Listers, snapshot: Snapshot, place: Callable[[str], int]) -> None:
        assert listers.names_alone(PID, snapshot, place("one"), 0.0, first=True)
        listers.looked_up(PID)
        assert not listers.names_alone(PID, snapshot, place("one"), QUIET, first=True)
        assert listers.names_alone(PID, snapshot, place("one"), 2 * QUIET + 1, first=True)

    look(scene)


def test_only_so_many_are_remembered(look: Look) -> None:
    def scene(listers: Listers, snapshot: Snapshot, place: Callable[[str], int]) -> None:
        one = place("one")
        assert not listers.names_alone(0, snapshot, one, 0.0, first=True)  # of another namespace
        assert listers.names_alone(PID, snapshot, one, 0.0, first=True)
        listers.looked_up(PID)
        for pid in range(1000, 1000 + LISTERS - 1):
            assert listers.names_alone(pid, snapshot, one, 0.0, first=True)
        assert not listers.names_alone(PID, snapshot, one, 0.0, first=True)  # used again: the next to go is another
        for pid in range(2000, 2000 + LISTERS):
            assert listers.names_alone(pid, snapshot, one, 0.0, first=True)
        assert listers.names_alone(PID, snapshot, one, 0.0, first=True)

    look(scene)
