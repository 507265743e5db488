"""Two file systems on one cache directory, each with a store of its own as two daemons have (issue 4, item 4)."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio
from drives import Drive, MovableClock, World, id_of, zip_of

from mountfs.daemon import tree

SESSIONS = 50


def members(seed: int) -> dict[str, bytes]:
    choice = random.Random(seed)
    return {"a.bin": choice.randbytes(60_000), "d/b.txt": b"%d " % seed * 20_000, "d/c.bin": choice.randbytes(9_000)}


def both(world: World, paths: list[str], expected: list[dict[str, bytes]]) -> None:
    """Copies everything through both at once, each in an order of its own."""
    config = world.config()

    async def copy(drive: Drive, seed: int) -> None:
        order = list(range(len(paths)))
        random.Random(seed).shuffle(order)
        limit = trio.CapacityLimiter(8)

        async def one(number: int) -> None:
            async with limit:
                assert await drive.tree(paths[number]) == {**expected[number], "d/": b""}

        async with trio.open_nursery() as nursery:
            for number in order:
                nursery.start_soon(one, number)

    async def main() -> None:
        with trio.fail_after(60) as scope:
            async with tree(config) as first, tree(config) as second, trio.open_nursery() as nursery:
                for number, filesystem in enumerate((first, second)):
                    nursery.start_soon(copy, Drive(filesystem, MovableClock(), world.fakes, scope), number)

    trio.run(main)


def test_whole_downloads_once(world: World) -> None:
    """Fifty sessions without ranges, copied through two daemons at once: each archive is asked for once."""
    expected = [members(number) for number in range(SESSIONS)]
    for number, files in enumerate(expected):
        world.session("dari", zip_of(files), number=number, pinned=False)
    both(world, [f"dari/{id_of('dari', number)}" for number in range(SESSIONS)], expected)
    asked = Counter(record.path for record in world.fakes.dari.requests if "workspace" in record.path)
    assert set(asked.values()) == {1}
    assert len(asked) == SESSIONS


@pytest.mark.parametrize("size", ["small", "large"])
def test_ranges_once(world: World, size: str) -> None:
    """Fifty sessions with ranges: no byte of an archive is sent twice, but for an end of it that was asked for
    twice."""
    count = SESSIONS if size == "small" else 6
    expected = [members(number) for number in range(count)]
    if size == "large":
        for number, files in enumerate(expected):
            files["big.bin"] = random.Random(number).randbytes(6 << 20)
    archives = [zip_of(files) for files in expected]
    for number, archive in enumerate(archives):
        world.session("kaizen", archive, number=number, pinned=False)
    both(world, [f"kaizen/{id_of('kaizen', number)}" for number in range(count)], expected)
    total = sum(len(archive) for archive in archives)
    assert world.fakes.store.bytes_sent() <= total * 1.02


def test_one_sees_what_the_other_fetched(world: World) -> None:
    """What one daemon fetched the other lists and reads without a request."""
    world.session("dari", zip_of(members(1)), pinned=False)

    async def main() -> None:
        config = world.config()
        with trio.fail_after(30) as scope:
            async with tree(config) as first, tree(config) as second:
                one, two = (Drive(each, MovableClock(), world.fakes, scope) for each in (first, second))
                await one.tree("dari/s_1")
                assert "s_1" in await two.ls("dari")
                two.asked()
                assert await two.tree("dari/s_1") == {**members(1), "d/": b""}
                assert two.asked() == []

    trio.run(main)
