"""What is open beneath a session: as much as is being read, and nothing is closed under a reader."""

from __future__ import annotations

import base64
import contextlib
import os
from contextlib import AsyncExitStack
from typing import cast

import pytest
import trio
from drives import Drive, World, id_of, zip_of

from mountfs.archive import members
from mountfs.archive.members import ZipContent
from mountfs.demo.fake import FakeFile

PACKED = {f"{name}.txt": base64.b64encode(os.urandom(3 << 19)) for name in "abcde"}


def descriptors() -> int:
    """Those of files: how many connections are kept alive is another matter."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith("/")
    return found


def test_more_large_members_open_than_are_kept_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many large members are open at once, opening one more gives up none of them, nor itself."""
    monkeypatch.setattr(members, "READY", 2)
    world.session("kaizen", zip_of(PACKED))

    async def main(drive: Drive) -> None:
        async with AsyncExitStack() as stack:
            handles = [await stack.enter_async_context(drive.file(f"kaizen/s_1/{name}")) for name in PACKED]
            assert [await handle.read_all() for handle in handles] == list(PACKED.values())

    world.run(main)


@pytest.mark.parametrize("provider", ["kaizen", "browserbase"])
def test_what_was_read_is_not_held_open(world: World, provider: str) -> None:
    """A finished member is a file of the cache: nobody reads it, nothing of it is open."""
    session = world.session(provider, zip_of(PACKED))
    session.files = [FakeFile(f"id-{name}", name, data, created=1_760_000_000) for name, data in PACKED.items()]
    if provider == "browserbase":
        world.set("providers.browserbase", files="api")

    async def main(drive: Drive) -> None:
        path = f"{provider}/{id_of(provider)}"
        names = list(PACKED)
        assert await drive.cat(f"{path}/{names[0]}") == PACKED[names[0]]
        before = descriptors()
        for name in names[1:]:
            assert await drive.cat(f"{path}/{name}") == PACKED[name]
        assert descriptors() <= before
        drive.asked()
        assert await drive.tree(path) == PACKED
        assert drive.asked() == []

    world.run(main)


def test_many_open_one_small_file_at_once(world: World) -> None:
    """Those who join another's reading of a kept file open nothing of their own."""
    session = world.session("browserbase")
    session.files = [FakeFile("id-1", "small.txt", b"small", created=1_760_000_000)]
    world.set("providers.browserbase", files="api")
    world.set("cache", dir=str(world.cache), memory="0")
    path = f"browserbase/{session.id}/small.txt"

    async def main(drive: Drive) -> None:
        assert await drive.cat(path) == b"small"
        before = descriptors()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(drive.cat, path)
        assert descriptors() <= before

    world.run(main)


def test_a_failing_cache_disk_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What fails on this machine is one line in the log, with the file's path; the next failure is another."""
    world.session("kaizen", zip_of({"big.bin": os.urandom(5 << 20)}, stored=True))

    async def main(drive: Drive) -> None:
        async with drive.file("kaizen/s_1/big.bin") as handle:
            assert len(await handle.read(0)) > 0
            snapshot = drive.fs.providers[0].seen()[0].current
            assert snapshot is not None
            await drive.settle(lambda: not cast("ZipContent", snapshot.content).archive.transfers)
            [data] = [each for each in world.cache.rglob("data") if each.stat().st_size > 1 << 20]
            os.truncate(data, 0)  # as a disk that lost its blocks
            for _ in range(2):
                caplog.clear()
                assert await drive.error(handle.read(0)) == "EIO"
                [line] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
                assert line.startswith("kaizen/s_1/big.bin: ")

    world.run(main)
