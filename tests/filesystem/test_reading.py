"""Reading: exactly the bytes asked for, wherever they come from and in whatever order they are wanted."""

from __future__ import annotations

import base64
import random

import pytest
import trio
from drives import READ, Drive, OpenHandle, World, zip_of

from mountfs.demo import steps

RNG = random.Random(2)
NOISE = RNG.randbytes(5 << 20)
TEXT = base64.b64encode(NOISE)
LOG = b"".join(b"%08d a line that repeats itself\n" % number for number in range(300_000))
"""11 MiB that deflate to one or two."""
FILES = {
    "empty": b"",
    "one": b"1",
    "page": NOISE[:4096],
    "small.txt": TEXT[:70_000],
    "edge": NOISE[: 1 << 20],
    "over": NOISE[: (1 << 20) + 1],
    "text": TEXT,
    "log": LOG,
}


@pytest.fixture(params=["ranges", "weak", "whole", "no-suffix", "encoded"])
def session(request: pytest.FixtureRequest, world: World) -> str:
    """One session with members of every size, deflated, from a server of each kind."""
    world.session("kaizen", zip_of(FILES))
    store = world.fakes.store
    match request.param:
        case "weak":
            store.etags = "weak"
        case "whole":
            store.ranges, store.etags = False, None
        case "no-suffix":
            store.ranges = "no-suffix"
        case "encoded":
            store.inject(steps.Gzip(), times=None)
    return "kaizen/s_1"


def test_everything(world: World, session: str) -> None:
    """Every member reads back as it was written."""

    async def main(drive: Drive) -> None:
        assert await drive.tree(session) == FILES
        drive.asked()
        assert await drive.tree(session) == FILES
        assert drive.asked() == []

    world.run(main)


@pytest.mark.parametrize("stored", [False, True], ids=["deflated", "stored"])
@pytest.mark.parametrize("name", ["edge", "over", "text", "log"])
def test_random_places(world: World, name: str, stored: bool) -> None:
    """Random reads of random lengths, by several handles at once, past the end too."""
    world.session("kaizen", zip_of(FILES, stored=stored))
    data = FILES[name]

    async def reader(handle: OpenHandle, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(25):
            at = rng.randrange(len(data) + 5000)
            size = rng.choice([1, 100, 4096, READ, 1 << 20])
            assert await handle.read(at, size) == data[at : at + size]

    async def main(drive: Drive) -> None:
        path = f"kaizen/s_1/{name}"
        async with drive.file(path) as one, drive.file(path) as two, trio.open_nursery() as nursery:
            for seed, handle in enumerate((one, two, one, two)):
                nursery.start_soon(reader, handle, seed)

    world.run(main)


@pytest.mark.parametrize("stored", [False, True], ids=["deflated", "stored"])
def test_backwards(world: World, stored: bool) -> None:
    """A large member read from its end to its start."""
    world.session("kaizen", zip_of({"text": TEXT}, stored=stored))

    async def main(drive: Drive) -> None:
        async with drive.file("kaizen/s_1/text") as handle:
            for at in range(len(TEXT) // READ * READ, -1, -READ):
                assert await handle.read(at) == TEXT[at : at + READ]

    world.run(main)


def test_head_of_a_large_member_costs_a_window(world: World) -> None:
    """The first bytes of a large member cost about a window, deflated or stored; not the member."""
    noise = NOISE * 4
    world.session("kaizen", zip_of({"big": base64.b64encode(noise)}), number=1)
    world.session("kaizen", zip_of({"big": noise}, stored=True), number=2)

    async def main(drive: Drive) -> None:
        for session in ("s_1", "s_2"):
            await drive.ls(f"kaizen/{session}")
            world.fakes.clear_requests()
            async with drive.file(f"kaizen/{session}/big") as handle:
                await handle.read(0, 4096)
            assert world.fakes.store.bytes_sent() < 2 << 20

    world.run(main)


def test_small_members_share_a_window(world: World) -> None:
    """A lone small member costs its own span of a large archive."""
    files = {f"f{number}": NOISE[number * 9000 : number * 9000 + 9000] for number in range(500)}
    world.session("kaizen", zip_of(files, stored=True))

    async def main(drive: Drive) -> None:
        await drive.stat("kaizen/s_1/f7")
        world.fakes.clear_requests()
        assert await drive.cat("kaizen/s_1/f7") == files["f7"]
        assert [record.bytes_sent < 20_000 for record in world.fakes.store.requests] == [True]

    world.run(main)


@pytest.mark.parametrize("memory", ["0", "64KiB"])
def test_tiny_memory(world: World, memory: str) -> None:
    """With hardly any memory cache everything is still read right."""
    world.session("kaizen", zip_of(FILES))
    world.set("cache", dir=str(world.cache), memory=memory)

    async def main(drive: Drive) -> None:
        assert await drive.tree("kaizen/s_1") == FILES

    world.run(main)


def test_archive_larger_than_the_cache(world: World) -> None:
    """A session larger than ``max_size`` still reads right where ranges allow, and the bound holds."""
    files = {f"n{number}": RNG.randbytes(300_000) for number in range(30)} | {"log": LOG, "noise": NOISE}
    world.session("kaizen", zip_of(files))
    world.set("cache", dir=str(world.cache), max_size="4MiB")

    async def main(drive: Drive) -> None:
        assert await drive.tree("kaizen/s_1") == files

    world.run(main)


def test_symbolic_links(world: World) -> None:
    """A link inside its session is a link; one that leads out of it is a file whose content is the target."""
    from zips import LINK, Part, archive

    world.session(
        "dari",
        archive(
            Part("a.txt", b"alpha"),
            Part("d/in", b"../a.txt", mode=LINK),
            Part("d/out", b"../../../etc/passwd", mode=LINK),
            Part("absolute", b"/etc/passwd", mode=LINK),
        ),
    )

    async def main(drive: Drive) -> None:
        assert await drive.tree("dari/s_1") == {
            "a.txt": b"alpha",
            "absolute": b"/etc/passwd",
            "d/": b"",
            "d/in": b"-> ../a.txt",
            "d/out": b"../../../etc/passwd",
        }
        assert (await drive.stat("dari/s_1/d/out")).size == 19

    world.run(main)


def test_inode_numbers_stay_over_a_restart(world: World) -> None:
    """An unchanged member keeps its inode number over restarts, and over snapshots (its users may keep it open)."""
    world.session("dari", zip_of(FILES))

    async def main(drive: Drive) -> list[int]:
        return [(await drive.stat(f"dari/s_1{name}")).inode for name in ("", "/one", "/log")]

    assert world.run(main) == world.run(main)
