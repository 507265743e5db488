"""Whatever goes wrong on the way, a read gives the right bytes or an errno, and once the way is sound again so is
all."""

from __future__ import annotations

import base64
import random

import pytest
import trio
from drives import READ, Drive, World, zip_of

from mountfs.demo import steps
from mountfs.demo.wire import Step
from mountfs.errors import MountfsError

RNG = random.Random(5)
NOISE = RNG.randbytes(2 << 20)
FILES = {f"d{number % 3}/n{number}": RNG.randbytes(30_000 + number * 1000) for number in range(40)} | {
    "text": base64.b64encode(NOISE),
    "noise": NOISE,
}


def fault(rng: random.Random, *, flips: bool) -> Step:
    """Some way to go wrong. ``flips``: also bytes that arrive wrong."""
    at = rng.choice([0, 1, 1000, 50_000, 400_000, 2_000_000])
    return rng.choice(
        [
            steps.Reset(at),
            steps.Truncate(at),
            steps.Reset(None),
            steps.Answer(500),
            steps.Answer(503, headers={"retry-after-ms": "5"}),
            steps.Answer(403, "<Error><Code>AccessDenied</Code></Error>"),
            steps.Answer(404),
            steps.wrong_range(),
            steps.changed_etag(),
            steps.Stall(at),
            steps.Header("etag", None),
            steps.IgnoreRange(),
            steps.FlipByte(at) if flips else steps.Reset(at),
            steps.Gzip(),
        ]
    )


@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")  # a request cut off while it was sent
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
@pytest.mark.parametrize("seed", range(4))
def test_right_or_an_error(world: World, seed: int, ranges: bool) -> None:
    """Random faults, random reads by several programs; then none, and everything is there, right to the last byte."""
    rng = random.Random(seed)
    stored = seed % 2 == 0
    # A large stored member rests on ETag and length until all of it is here; a whole body cannot be had again in part.
    flips = ranges and not stored
    world.session("kaizen", zip_of(FILES, stored=stored))
    world.fakes.store.ranges = ranges
    world.set("network", retries=1, deadline="2s", read_timeout="0.2s", lookup_timeout="1s")

    async def program(drive: Drive, number: int) -> None:
        own = random.Random(f"{seed} {number}")
        for _ in range(12):
            name = own.choice(list(FILES))
            try:
                await drive.ls(own.choice(["kaizen/s_1", "kaizen/s_1/d1", "kaizen"]))
                async with drive.file(f"kaizen/s_1/{name}") as handle:
                    at = own.randrange(len(FILES[name]))
                    assert await handle.read(at) == FILES[name][at : at + READ]
                    if own.random() < 0.5:
                        assert await handle.read_all() == FILES[name]
            except MountfsError:
                drive.later(own.choice([0, 0, 1, 3]))

    async def main(drive: Drive) -> None:
        for _ in range(12):
            world.fakes.store.inject(
                fault(rng, flips=flips), times=rng.randrange(1, 3), ranged=rng.choice([None, True])
            )
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(program, drive, number)
        world.fakes.store.script.clear()
        found: dict[str, bytes] = {}
        for last in reversed(range(60)):
            drive.later(100)
            try:
                found = await drive.tree("kaizen/s_1")
                break
            except MountfsError:
                if not last:
                    raise
        assert {name: data for name, data in found.items() if data} == FILES

    world.run(main)
