"""A large member read through a ring in memory: every byte right, wherever it is read, and no more made than needed."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
from drives import READ, Drive, OpenHandle, World, id_of
from zips import Part, archive

from mountfs.archive.pump import CHECKPOINT, CHECKPOINTS, InflatePump
from mountfs.content import RING, Progressive, Pump, Ring
from mountfs.demo.fake import FakeFile
from mountfs.errors import CacheError, CacheFull, MemberDamaged, MountfsError
from mountfs.model import Kind, Member, MemberPath

MIB = 1 << 20
BLOCK = 16 << 10
STEP = 256 << 10
SIZE = 40 * MIB


def block(number: int) -> bytes:
    return b"%07d " % number * (BLOCK // 8)


def place(offset: int, size: int) -> bytes:
    """What stands there in a member whose every block is another and deflates to nearly nothing."""
    first, last = offset // BLOCK, -(-(offset + size) // BLOCK)
    whole = b"".join(map(block, range(first, last)))
    return whole[offset - first * BLOCK :][:size]


def pump_of(drive: Drive) -> InflatePump:
    """The pump of the one large member that is open."""
    (found,) = (
        shared._pump
        for provider in drive.fs.providers
        for session in provider.seen()
        if session.current is not None
        for shared in session.current.content._progressive.values()  # type: ignore[attr-defined]
    )
    assert isinstance(found, InflatePump)
    return found


@pytest.fixture
def big(world: World) -> str:
    """A deflated member of 40 MiB, a hundred times what the cache may hold."""
    data = b"".join(map(block, range(SIZE // BLOCK)))
    world.session("kaizen", archive(Part("big", data, method=8), Part("pad", random.Random(1).randbytes(5 * MIB))))
    world.set("cache", dir=str(world.cache), max_size="400KiB", min_free="0B")
    return "kaizen/s_1/big"


def test_random_places(world: World, big: str) -> None:
    """After one way through, a read anywhere costs at most the way from the checkpoint before it."""

    async def main(drive: Drive) -> None:
        async with drive.file(big) as handle:
            for at in range(0, SIZE, READ):
                assert await handle.read(at) == place(at, READ)
            assert await handle.read(SIZE) == b""
            pump = pump_of(drive)
            once = pump.made
            assert once < SIZE + CHECKPOINT
            rng = random.Random(3)
            for _ in range(40):
                at = rng.randrange(SIZE - READ)
                assert await handle.read(at) == place(at, READ)
            # From the start to the end at first, as no checkpoints were kept before there was a reason to.
            assert pump.made < once + 40 * (CHECKPOINT + 4 * MIB)
            assert 5 <= len(pump._checkpoints) <= CHECKPOINTS

    world.run(main)


def test_backwards(world: World, big: str) -> None:
    """From the end to the start."""

    async def main(drive: Drive) -> None:
        async with drive.file(big) as handle:
            for at in range(SIZE - MIB, -1, -MIB):
                assert await handle.read(at) == place(at, READ)

    world.run(main)


def test_readers_far_apart(world: World, big: str) -> None:
    """Four readers going forward from different places take turns; none starves, none reads another's bytes."""

    async def reader(handle: OpenHandle, start: int) -> None:
        for at in range(start, start + 2 * MIB, READ):
            assert await handle.read(at) == place(at, READ)

    async def main(drive: Drive) -> None:
        async with drive.file(big) as handle, trio.open_nursery() as nursery:
            for quarter in range(4):
                nursery.start_soon(reader, handle, quarter * SIZE // 4)

    world.run(main)


def test_head_of_a_bomb_inflates_a_window(world: World, big: str) -> None:
    """The first bytes of what deflates a hundred-fold do not cost the rest."""

    async def main(drive: Drive) -> None:
        async with drive.file(big) as handle:
            await handle.read(0, 4096)
            assert pump_of(drive).made <= 4 * MIB

    world.run(main)


def test_per_file_api(world: World) -> None:
    """A file downloaded through a ring is read right backwards too, without waiting for an idle connection."""
    data = random.Random(4).randbytes(12 * MIB)
    world.session("browserbase").files = [FakeFile("id-1", "big.bin", data)]
    world.set("providers.browserbase", files="api")
    world.set("cache", dir=str(world.cache), max_size="400KiB", min_free="0B")

    async def main(drive: Drive) -> None:
        async with drive.file(f"browserbase/{id_of('browserbase')}/big.bin") as handle:
            for at in (11 * MIB, 5 * MIB, 0, 11 * MIB + 5):
                assert await handle.read(at) == data[at : at + READ]

    world.run(main)


# -- the parts -----------------------------------------------------------------------------------------------------


class Counting(Pump):
    """Makes the member of ``place`` a step at a time. ``bad``: its check fails."""

    def __init__(self, size: int, *, bad: bool = False) -> None:
        self._size = size
        self._bad = bad
        self.at = 0
        self.made = 0

    async def step(self, emit: Callable[[bytes], None], news: Callable[[], None], target: Callable[[], int]) -> bool:
        await trio.lowlevel.checkpoint()
        if self.at >= self._size:
            if self._bad:
                raise MemberDamaged("bad")
            return True
        data = place(self.at, min(STEP, self._size - self.at))
        await trio.to_thread.run_sync(emit, data)
        self.at += len(data)
        self.made += len(data)
        return False

    def rewind(self, offset: int) -> int:
        self.at = 0
        return 0


class Filling:
    """A sink that is full after so many bytes."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._data = b""

    def append(self, data: bytes) -> None:
        if len(self._data) + len(data) > self._room:
            raise CacheFull("full")
        self._data += data

    def low(self) -> int:
        return 0

    def peek(self, offset: int, size: int, into: memoryview | None = None) -> bytes | None:
        return None

    def read(self, offset: int, size: int) -> bytes:
        if offset + size > len(self._data):
            raise CacheError("gone")
        return self._data[offset : offset + size]

    def finish(self) -> None:
        pass

    def discard(self) -> None:
        self._data = b""


def run(main: Callable[[Callable[..., Progressive]], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:

                def make(pump: Pump, size: int, sink: Ring | Filling) -> Progressive:
                    return Progressive(
                        Member(MemberPath(b"m"), Kind.FILE, size, 0),
                        pump,
                        sink,
                        start=nursery.start_soon,
                        disk=trio.to_thread.run_sync,
                        failed=lambda error: None,
                        finished=lambda: None,
                        label="m",
                    )

                await main(make)
                nursery.cancel_scope.cancel()

    trio.run(bounded)


def test_a_disk_that_fills_up_under_a_reader() -> None:
    """The spool gives way to a ring while a member is read; what comes before is made again when it is wanted."""
    size = RING + 4 * MIB

    async def main(make: Callable[..., Progressive]) -> None:
        pump = Counting(size)
        shared = make(pump, size, Filling(3 * MIB))
        for at in [*range(0, size - READ, READ), 0, size - READ, MIB]:
            assert await shared.read(at, READ) == place(at, READ)
        assert pump.made <= 5 * size

    run(main)


def test_a_cancelled_turn_strands_nobody() -> None:
    """A reader that wanted the pump elsewhere leaves; the others get their bytes."""
    size = 4 * RING

    async def main(make: Callable[..., Progressive]) -> None:
        shared = make(Counting(size), size, Ring())
        await shared.read(size - READ - 4096, READ)
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(0):
                    await shared.read(0, READ)
                nursery.start_soon(shared.read, 3 * RING, READ)
        assert await shared.read(RING, READ) == place(RING, READ)

    run(main)


def test_the_check_holds_in_a_ring_too() -> None:
    """However it is read, the last block of a member that fails its check is not shown, and then nothing is."""
    size = RING + MIB

    async def main(make: Callable[..., Progressive]) -> None:
        shared = make(Counting(size, bad=True), size, Ring())
        assert await shared.read(0, READ) == place(0, READ)
        assert await shared.read(size - 2 * READ, READ) == place(size - 2 * READ, READ)
        for at in (size - READ, 0):
            with pytest.raises(MemberDamaged):
                await shared.read(at, READ)

    run(main)


def test_given_up_while_somebody_waits() -> None:
    """A reader of what was dropped gets an error, not silence."""

    async def main(make: Callable[..., Progressive]) -> None:
        shared = make(Counting(RING), RING, Ring())
        await shared.read(0, 1)
        shared.close()
        with pytest.raises(MountfsError, match="given up"):
            await shared.read(RING - READ, READ)

    run(main)
