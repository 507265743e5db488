"""The bound of the cache, seen from above: what is read is right however little fits, and ``max_size`` holds."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
import trio
from drives import Drive, World, id_of, zip_of

from mountfs.demo import steps

MIB = 1 << 20


def du(directory: Path) -> int:
    """Bytes on disk below it."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def members(seed: int, size: int) -> dict[str, bytes]:
    """Large and small, stored as they are (noise) and inflating to four times as much."""
    return {
        "large.bin": noise(seed, size // 2),
        "small/a.bin": noise(seed + 1, size // 8),
        "small/b.bin": noise(seed + 2, size // 8),
        "text.txt": noise(seed + 3, size // 4) * 4,
    }


async def within_bound(world: World, bound: int) -> None:
    """The bound is held within a second."""
    until = time.monotonic() + 1.5
    while (used := du(world.cache)) > bound:
        assert time.monotonic() < until, f"{used} bytes in a cache of {bound}"
        await trio.sleep(0.05)


@pytest.mark.parametrize("provider", ["dari", "kaizen"])
def test_more_sessions_than_fit(world: World, provider: str) -> None:
    """Seven sessions of 1.5 MiB, one after the other, and the first again, through a cache of 6 MiB: every byte
    right, the bound held, and what was used last is kept: what a session needed is not thought in use because it was
    looked at once."""
    bound = 6 * MIB
    world.set("cache", max_size="6MiB", min_free="0B")
    expected = {}
    for number in range(7):
        expected[number] = members(10 * number, 3 * MIB // 2)
        world.session(provider, zip_of(expected[number]), number=number)

    async def main(drive: Drive) -> None:
        for number in [*expected, 0]:
            assert await drive.tree(f"{provider}/{id_of(provider, number)}") == {**expected[number], "small/": b""}
            await within_bound(world, bound)
        drive.asked()
        await drive.tree(f"{provider}/{id_of(provider, 0)}")
        assert drive.asked() == []

    world.run(main)


@pytest.mark.parametrize("stored", [True, False])
def test_session_larger_than_the_cache_with_ranges(world: World, stored: bool) -> None:
    """A session larger than ``max_size`` reads right where ranges allow."""
    world.set("cache", max_size="1MiB", min_free="0B", memory="1MiB")
    files = members(1, 8 * MIB)
    world.session("kaizen", zip_of(files, stored=stored))

    async def main(drive: Drive) -> None:
        for _ in range(2):
            assert await drive.tree("kaizen/s_1") == {**files, "small/": b""}
            await within_bound(world, MIB)

    world.run(main)


def test_seeking_in_a_member_larger_than_the_cache(world: World) -> None:
    """Random reads inside members that fit nowhere are right."""
    world.set("cache", max_size="1MiB", min_free="0B", memory="1MiB")
    files = {"stored.bin": noise(5, 4 * MIB), "text.txt": noise(6, MIB) * 12}
    world.session("kaizen", zip_of(files))
    choice = random.Random(1)

    async def main(drive: Drive) -> None:
        for name, data in files.items():
            async with drive.file(f"kaizen/s_1/{name}") as handle:
                for _ in range(12):
                    offset = choice.randrange(len(data))
                    assert await handle.read(offset, 70_000) == data[offset : offset + 70_000]

    world.run(main)


@pytest.mark.parametrize("length", [True, False])
def test_session_larger_than_the_cache_without_ranges(
    world: World, caplog: pytest.LogCaptureFixture, length: bool
) -> None:
    """Without ranges a session larger than ``max_size`` is EFBIG, and the line names the setting; others still work."""
    world.set("cache", max_size="1MiB", min_free="0B")
    world.session("dari", zip_of(members(1, 4 * MIB)))
    world.session("dari", zip_of({"a.txt": b"alpha"}), number=2)
    if not length:
        world.fakes.dari.inject(steps.Header("content-length", None), times=None, path="s_1")

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari/s_1")) == "EFBIG"
        assert any("cache.max_size" in line for line in caplog.messages)
        assert await drive.tree("dari/s_2") == {"a.txt": b"alpha"}
        await within_bound(world, MIB)

    world.run(main)
