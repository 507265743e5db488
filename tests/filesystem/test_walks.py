"""What is fetched ahead of a walk: that in which its next members are expected, first."""

from __future__ import annotations

import gc
import io
import itertools
import random
import weakref
import zipfile
from collections.abc import Callable
from typing import cast

import pytest
import trio
from drives import Drive, World, zip_of

from mountfs.archive.members import ZipContent
from mountfs.archive.transfers import Archive
from mountfs.archive.window import FIRST_CHUNK, PARALLEL, touch
from mountfs.errors import SnapshotLost
from mountfs.model import Span

DIRECTORIES, FILES = 24, 12
NOISE = random.Random(5).randbytes(4 << 20)
SIZE = FIRST_CHUNK // FILES - 200
"""A directory's files fill a chunk, nearly."""
KINDS: dict[str, Callable[[list[tuple[int, str]]], list[tuple[int, str]]]] = {
    "cp": sorted,  # by inode number
    "tar": list,  # as listed
}


@pytest.mark.parametrize("program", KINDS)
def test_the_next_directories_are_fetched_first(world: World, program: str) -> None:
    """... in the order in which the program will come to them."""
    names = [f"d{at // FILES:02}/f{at % FILES:02}" for at in range(DIRECTORIES * FILES)]
    shuffled = random.Random(1).sample(range(DIRECTORIES), DIRECTORIES)
    laid = sorted(names, key=lambda name: (shuffled[int(name[1:3])], name))
    data = zip_of({name: NOISE[at * 1000 :][:SIZE] for at, name in enumerate(laid)}, stored=True)
    world.session("kaizen", data)
    offsets = {info.filename: info.header_offset for info in zipfile.ZipFile(io.BytesIO(data)).infolist()}

    async def main(drive: Drive) -> None:
        root = "kaizen/s_1"

        async def listed(path: str, program: str) -> list[str]:
            found = [((await drive.stat(f"{path}/{name}")).inode, name) for name in sorted(await drive.ls(path))]
            return [name for _, name in KINDS[program](found)]

        directories = await listed(root, program)
        home = f"{root}/{directories[0]}"
        files, others = await listed(home, program), await listed(home, "tar" if program == "cp" else "cp")
        pairs = set(itertools.pairwise(others))
        # Three in a row that nobody who goes the other way opens one after the other.
        first, second, third = next(
            row for row in zip(files, files[1:], files[2:], strict=False) if pairs.isdisjoint((row[:2], row[1:]))
        )
        for name in (first, second):
            await drive.cat(f"{home}/{name}")
        world.fakes.store.latency = 30.0  # what is on its way stays so
        archive = archive_of(drive)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.cat, f"{home}/{third}")
            await drive.settle(lambda: len(archive.transfers) >= PARALLEL)
            started = [Span(transfer.start, transfer.stop) for transfer in archive.transfers]
            nursery.cancel_scope.cancel()
        homes = [Span(offsets[f"{name}/f00"], offsets[f"{name}/f00"] + FIRST_CHUNK - 1000) for name in directories]
        # Each directory lies in two chunks, and one of the first's may come in pieces.
        assert any(touch(span, homes[1]) for span in started)

    world.run(main)


@pytest.mark.parametrize("program", KINDS)
def test_a_copy_is_known_by_its_second_file(world: World, program: str) -> None:
    """No person takes two names in the order of their numbers; two that stand side by side anybody may take."""
    world.session("kaizen", zip_of({f"f{at:02}": NOISE[at * 1000 :][:SIZE] for at in range(90)}, stored=True))

    async def main(drive: Drive) -> None:
        root = "kaizen/s_1"
        names = sorted(await drive.ls(root))
        numbered = sorted([((await drive.stat(f"{root}/{name}")).inode, name) for name in names])
        copied = [name for _, name in numbered]
        by_number, listed = set(itertools.pairwise(copied)), set(itertools.pairwise(names))
        first, second = min(by_number - listed if program == "cp" else listed - by_number)
        for name in (first, second):
            await drive.cat(f"{root}/{name}")
        assert archive_of(drive).walk.running == (program == "cp")

    world.run(main)


def test_what_is_waited_for_comes_first(world: World) -> None:
    """A walk's chunk is fetched from the member on that somebody waits for; what lies before it comes beside that."""
    world.session("kaizen", zip_of({f"f{at:03}": NOISE[at * 1000 :][:SIZE] for at in range(900)}, stored=True))

    async def main(drive: Drive) -> None:
        names = await drive.ls("kaizen/s_1")
        archive = archive_of(drive)
        archive.latency = 0.2  # chunks of 8 MiB
        archive.walk.fetched = 1 << 40  # nothing is fetched ahead
        for name in names[:4]:
            await drive.cat(f"kaizen/s_1/{name}")
        await drive.settle(lambda: not archive.transfers)
        world.fakes.store.latency = 30.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.cat, "kaizen/s_1/f850")
            await drive.settle(lambda: len(archive.transfers) >= 2)
            (needed, before) = archive.transfers
            nursery.cancel_scope.cancel()
        assert needed.start % FIRST_CHUNK  # the member's own first byte
        assert needed.stop - needed.start > 2 * SIZE  # and those that follow it
        assert (before.start % FIRST_CHUNK, before.stop) == (0, needed.start)

    world.run(main)


def test_nothing_is_fetched_ahead_of_a_version_that_is_lost(world: World) -> None:
    """Whoever goes on through the old snapshot's directories is told at once, and at no cost."""
    world.session("kaizen", zip_of({f"f{at:02}": NOISE[at * 1000 :][:SIZE] for at in range(90)}, stored=True))

    async def main(drive: Drive) -> None:
        names = await drive.ls("kaizen/s_1")
        for name in names[:3]:
            await drive.cat(f"kaizen/s_1/{name}")
        archive = archive_of(drive)
        assert archive.walk.running
        await drive.settle(lambda: not archive.transfers)
        archive.kept.forget(Span(0, archive.total))
        archive.lost = SnapshotLost("it has changed")
        assert await drive.error(drive.cat(f"kaizen/s_1/{names[50]}"))
        assert not archive.walk.running

    world.run(main)


def test_a_session_that_was_walked_can_be_let_go(world: World) -> None:
    """Nothing of it waits for the garbage collector, although the walk could have gone on."""
    files = {f"d{at % 4}/f{at:04}": NOISE[at * 100 :][:1500] for at in range(4000)}
    world.session("kaizen", zip_of(files, stored=True))

    async def main(drive: Drive) -> None:
        names = await drive.ls("kaizen/s_1/d1")
        for name in names[:6]:
            await drive.cat(f"kaizen/s_1/d1/{name}")
        await drive.settle(lambda: not archive_of(drive).transfers)
        session = drive.fs.providers[0].seen()[0]
        assert session.current is not None
        left = weakref.ref(session.current)
        gc.disable()
        try:
            assert session.rest(0)
            assert left() is None
        finally:
            gc.enable()

    world.run(main)


def archive_of(drive: Drive) -> Archive:
    """The archive of the only session."""
    snapshot = drive.fs.providers[0].seen()[0].current
    assert snapshot is not None
    return cast("ZipContent", snapshot.content).archive
