"""All compression methods end to end, small and large, from a store with ranges and from one without."""

from __future__ import annotations

import random

import pytest
import trio
from drives import READ, Drive, OpenHandle, World
from hostile.methods import LARGE, METHODS, SMALL, damaged, name, sound

FILES = {name(method, large=large): LARGE if large else SMALL for method in METHODS for large in (False, True)}
CACHES = ["10GiB", "1MiB"]
"""A spool on disk; a ring in memory, for what is larger than half of it."""


def serve(world: World, archive: bytes, form: str) -> None:
    world.session("kaizen", archive)
    if form == "whole":
        world.fakes.store.ranges, world.fakes.store.etags = False, None


@pytest.mark.parametrize("form", ["ranges", "whole"])
def test_all(world: World, form: str) -> None:
    """Every member reads back as it was written; the second time from what is kept."""
    serve(world, sound(), form)

    async def main(drive: Drive) -> None:
        assert await drive.tree("kaizen/s_1") == FILES
        drive.asked()
        assert await drive.tree("kaizen/s_1") == FILES
        assert drive.asked() == []

    world.run(main)


@pytest.mark.parametrize("max_size", CACHES)
@pytest.mark.parametrize("method", METHODS)
def test_random_places(world: World, method: int, max_size: str) -> None:
    """Reads at random places of a large member, by several readers at once, are right: from a spool, and from a ring
    where the cache may hold hardly anything."""
    world.set("cache", dir=str(world.cache), max_size=max_size, min_free="0B")
    world.session("kaizen", sound())

    async def reader(handle: OpenHandle, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(8):
            at, size = rng.randrange(len(LARGE)), rng.choice([1, 4096, READ])
            assert await handle.read(at, size) == LARGE[at : at + size]

    async def main(drive: Drive) -> None:
        path = f"kaizen/s_1/{name(method, large=True)}"
        async with drive.file(path) as one, drive.file(path) as two, trio.open_nursery() as nursery:
            for seed, handle in enumerate((one, two, one)):
                nursery.start_soon(reader, handle, seed)

    world.run(main)


ONLY_ITS_OWN = "4MiB"
"""A cache that holds an archive of one method, and of whose half a large member is larger: read through a ring."""
DAMAGES = [("ranges", cache, ()) for cache in CACHES]
DAMAGES += [("whole", CACHES[0], ()), *(("whole", ONLY_ITS_OWN, (method,)) for method in METHODS)]


@pytest.mark.parametrize(("form", "max_size", "methods"), DAMAGES)
def test_damage(world: World, form: str, max_size: str, methods: tuple[int, ...]) -> None:
    """One flipped bit: EIO, of a small member before its first byte, of a large one before its last; nothing that was
    read before was wrong; their neighbour is well."""
    world.set("cache", dir=str(world.cache), max_size=max_size, min_free="0B")
    serve(world, damaged(*methods), form)

    async def main(drive: Drive) -> None:
        for method in methods or METHODS:
            small, large = (f"kaizen/s_1/{name(method, large=size)}" for size in (False, True))
            assert await drive.error(drive.cat(small)) == "EIO"
            if method == 0:  # its parts rest on range, length and ETag until all of it was here
                continue
            async with drive.file(large) as handle:
                assert await handle.read(0, READ) == LARGE[:READ]
                assert await drive.error(handle.read_all()) == "EIO"
                assert await drive.error(handle.read(0, READ)) == "EIO"
        assert await drive.cat("kaizen/s_1/ok") == b"ok"

    world.run(main)
