"""A member that failed its check: dead under its inode, given another chance later, from bytes fetched again."""

from __future__ import annotations

import base64
import os

import pytest
import trio
from drives import Drive, World, zip_of

TEXT = base64.b64encode(os.urandom(5 << 20))
SMALL = base64.b64encode(os.urandom(1500))


def flipped(archive: bytes, at: int) -> bytes:
    return archive[:at] + bytes((archive[at] ^ 1,)) + archive[at + 1 :]


def damaged(world: World, *, big: bool, stored: bool = True) -> bytes:
    """A Kaizen session whose member ``bad.txt`` has a wrong byte; answers the sound archive."""
    sound = zip_of({"bad.txt": TEXT if big else SMALL, "good.txt": b"good", "fill.bin": TEXT[::-1]}, stored=stored)
    session = world.session("kaizen", flipped(sound, 60 if not big else 3 << 20))
    session.etag = '"one"'
    return sound


@pytest.mark.parametrize("big", [True, False], ids=["large", "small"])
@pytest.mark.parametrize("etags", [True, False], ids=["strong", "none"])
def test_whole_archive_stays_damaged(world: World, big: bool, etags: bool) -> None:
    """Where the service gives no ranges the member stays EIO, however long one waits, and its neighbour stays well."""
    damaged(world, big=big, stored=False)
    world.fakes.store.ranges = False
    if not etags:
        world.fakes.kaizen.sessions["s_1"].etag = None
        world.fakes.store.etags = None

    async def main(drive: Drive) -> None:
        for _ in range(4):
            assert await drive.error(drive.cat("kaizen/s_1/bad.txt")) == "EIO"
            assert await drive.cat("kaizen/s_1/good.txt") == b"good"
            drive.later(3600)

    world.run(main)


@pytest.mark.parametrize("big", [True, False], ids=["large", "small"])
def test_second_chance(world: World, big: bool) -> None:
    """With ranges the member is fetched again after a while, under a new inode, and is well if its bytes are."""
    sound = damaged(world, big=big)

    async def main(drive: Drive) -> None:
        before = await drive.stat("kaizen/s_1/bad.txt")
        attributes, held = await drive.walk("kaizen/s_1/bad.txt")
        await drive.error(drive.cat("kaizen/s_1/bad.txt"))
        await drive.settle(lambda: bool(await_dead(drive)))
        assert await drive.error(drive.fs.open(attributes.inode)) == "EIO"
        drive.asked()
        assert await drive.error(drive.fs.open(attributes.inode)) == "EIO"
        assert drive.asked() == []
        world.fakes.kaizen.sessions["s_1"].archive = sound
        drive.later(3)
        after = await drive.stat("kaizen/s_1/bad.txt")
        assert after.inode != before.inode
        assert await drive.error(drive.fs.open(attributes.inode)) in {"ESTALE", "EIO"}
        assert await drive.cat("kaizen/s_1/bad.txt") == (TEXT if big else SMALL)
        drive.forget(held)

    world.run(main)


def await_dead(drive: Drive) -> bool:
    """Whether some member is known to be damaged."""
    found = [
        session.current.content.dead
        for provider in drive.fs.providers
        for session in provider.seen()
        if session.current is not None
    ]
    return any(found)


@pytest.mark.parametrize("stored", [False, True], ids=["deflated", "stored"])
def test_dead_under_its_inode_for_open_handles(world: World, stored: bool) -> None:
    """A handle that was open when the damage came to light fails too, wherever it reads; also once others read sound
    bytes under a new inode: what it gave before was not of those."""
    sound = damaged(world, big=True, stored=stored)

    async def main(drive: Drive) -> None:
        async with drive.file("kaizen/s_1/bad.txt") as early, drive.file("kaizen/s_1/bad.txt") as late:
            assert await early.read(0, 4096) == TEXT[:4096]
            assert await drive.error(late.read_all()) == "EIO"
            assert await drive.error(early.read(0, 4096)) == "EIO"
            assert await drive.error(early.read(1 << 20, 4096)) == "EIO"
            world.fakes.kaizen.sessions["s_1"].archive = sound
            drive.later(3)
            assert (await drive.stat("kaizen/s_1/bad.txt")).inode != early.inode
            assert await drive.cat("kaizen/s_1/bad.txt") == TEXT
            assert await drive.error(early.read(1 << 20, 4096)) == "EIO"

    world.run(main)


def test_only_once_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged member leaves one line, however often it is asked for."""
    damaged(world, big=False)

    async def main(drive: Drive) -> None:
        for _ in range(3):
            assert await drive.error(drive.cat("kaizen/s_1/bad.txt")) == "EIO"

    world.run(main)
    assert sum("bad.txt" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("etags", [True, False], ids=["strong", "none"])
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
def test_refresh_fetches_it_again(world: World, ranges: bool, etags: bool) -> None:
    """``mountfs refresh`` fetches a damaged archive again, also where its validator did not change; the member
    then has a new inode."""
    sound = damaged(world, big=True, stored=False)
    session = world.fakes.kaizen.sessions["s_1"]
    world.fakes.store.ranges = ranges
    if not etags:
        session.etag, world.fakes.store.etags = None, None

    async def main(drive: Drive) -> None:
        before = await drive.stat("kaizen/s_1/bad.txt")
        assert await drive.error(drive.cat("kaizen/s_1/bad.txt")) == "EIO"
        session.archive = sound
        (kaizen,) = [provider for provider in drive.fs.providers if provider.name == "kaizen"]
        await (await kaizen.lookup("s_1")).renew()
        assert await drive.cat("kaizen/s_1/bad.txt") == TEXT
        assert (await drive.stat("kaizen/s_1/bad.txt")).inode != before.inode
        assert await drive.cat("kaizen/s_1/good.txt") == b"good"

    world.run(main)


def test_live_session_recovers_by_itself(world: World) -> None:
    """A live session whose archive came damaged is well with its next version, though that has the same directory."""
    sound = zip_of({"bad.txt": TEXT, "good.txt": b"good"})
    session = world.session("dari", flipped(sound, 3 << 20))
    session.status = "active"

    async def main(drive: Drive) -> None:
        before = await drive.stat("dari/s_1/bad.txt")
        assert await drive.error(drive.cat("dari/s_1/bad.txt")) == "EIO"
        session.archive = sound
        found = ""
        for _ in range(100):
            drive.later(31)
            if not (found := await drive.error(drive.cat("dari/s_1/bad.txt"))):
                break
            await trio.sleep(0.02)
        assert found == ""
        assert (await drive.stat("dari/s_1/bad.txt")).inode != before.inode

    world.run(main)
