"""What is fetched ahead of a walk: that in which its next members are expected, first."""

from __future__ import annotations

import io
import itertools
import random
import zipfile
from collections.abc import Callable
from typing import cast

import pytest
import trio
from drives import Drive, World, zip_of

from mountfs.archive.members import ZipContent
from mountfs.archive.window import FIRST_CHUNK, PARALLEL, touch
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
            row for row in zip(files, files[1:], files[2:], strict=False) if row[1:] not in pairs
        )
        for name in (first, second):
            await drive.cat(f"{home}/{name}")
        world.fakes.store.latency = 30.0  # what is on its way stays so
        snapshot = drive.fs.providers[0].seen()[0].current
        assert snapshot is not None
        archive = cast("ZipContent", snapshot.content).archive
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.cat, f"{home}/{third}")
            await drive.settle(lambda: len(archive.transfers) >= PARALLEL)
            started = [Span(transfer.start, transfer.stop) for transfer in archive.transfers]
            nursery.cancel_scope.cancel()
        homes = [Span(offsets[f"{name}/f00"], offsets[f"{name}/f00"] + FIRST_CHUNK - 1000) for name in directories]
        # Each directory lies in two chunks, and one of the first's may come in pieces.
        assert any(touch(span, homes[1]) for span in started)

    world.run(main)
