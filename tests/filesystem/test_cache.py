"""The disk cache under a file system: its bound holds whatever was looked at, nothing in use goes, and deleting it at
any moment loses nothing but time."""

from __future__ import annotations

import contextlib
import os
import shutil
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from drives import Drive, World, zip_of

from mountfs.demo.fake import Fake
from mountfs.store.descriptors import Descriptors

MIB = 1 << 20


def disk_use(place: Path) -> int:
    """Bytes below a directory, as ``du`` counts them."""
    total = 0
    for where, _, names in os.walk(place):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def open_files(place: Path) -> list[str]:
    """What this process has open below a directory."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(str(place))]


@pytest.fixture(params=["kaizen", "dari"], ids=["ranges", "whole"])
def sessions(request: pytest.FixtureRequest, world: World) -> tuple[Fake, list[bytes]]:
    """Eight sessions of 3 MiB, in a cache of 10 MiB."""
    contents = [os.urandom(3 * MIB) for _ in range(8)]
    for number, content in enumerate(contents):
        world.session(request.param, zip_of({"noise": content, "a.txt": b"%d" % number}, stored=True), number=number)
    world.set("cache", dir=str(world.cache), max_size="10MiB", min_free="0", memory="0")
    return world.fake(request.param), contents


def test_bound_holds_over_many_sessions(world: World, sessions: tuple[Fake, list[bytes]]) -> None:
    """After more sessions were read than the cache may hold it is within its bound, and all of them read right."""
    fake, contents = sessions

    async def main(drive: Drive) -> None:
        for _ in range(2):
            for number, content in enumerate(contents):
                assert await drive.cat(f"{fake.name}/s_{number}/noise") == content
                assert await drive.cat(f"{fake.name}/s_{number}/a.txt") == b"%d" % number
        await drive.settle(lambda: disk_use(world.cache) <= 10 * MIB)

    world.run(main)


def test_least_recently_used_goes_first(world: World, sessions: tuple[Fake, list[bytes]]) -> None:
    """What was read last is still there without a request; what was read first is fetched again."""
    fake, contents = sessions

    async def main(drive: Drive) -> None:
        for number in range(8):
            await drive.cat(f"{fake.name}/s_{number}/noise")
            drive.later(1)
        await drive.settle(lambda: disk_use(world.cache) <= 10 * MIB)
        drive.asked()
        assert await drive.cat(f"{fake.name}/s_7/noise") == contents[7]
        assert drive.asked() == []
        assert await drive.cat(f"{fake.name}/s_0/noise") == contents[0]
        assert drive.asked() != []

    world.run(main)


def test_open_files_are_kept(world: World, sessions: tuple[Fake, list[bytes]]) -> None:
    """An open file reads on, without a request, while the cache is turned over."""
    fake, contents = sessions

    async def main(drive: Drive) -> None:
        async with drive.file(f"{fake.name}/s_0/noise") as handle:
            assert await handle.read_all() == contents[0]
            for number in range(1, 8):
                await drive.cat(f"{fake.name}/s_{number}/noise")
            await drive.settle(lambda: disk_use(world.cache) <= 10 * MIB)
            drive.asked()
            assert await handle.read_all() == contents[0]
            assert drive.asked() == []

    world.run(main)


@pytest.fixture
def few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store closes each file as soon as it opens another."""
    monkeypatch.setattr("mountfs.store.core.Descriptors", partial(Descriptors, lambda: 0, fewest=1))


@pytest.mark.usefixtures("few_descriptors")
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "inflated"])
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "begun"])
def test_what_is_deleted_while_it_is_closed_is_fetched_again(world: World, stored: bool, finished: bool) -> None:
    """The descriptors of an open file went to others, and then its cache was deleted: it reads on and gets its bytes,
    from the service once more; and what is opened next is whole as well."""
    content = bytes(range(256)) * 5000 + os.urandom(2 * MIB) + bytes(range(256)) * 9000
    world.session("kaizen", zip_of({"large": content}, stored=stored))
    world.session("kaizen", zip_of({"other": os.urandom(2 * MIB)}, stored=True), number=2)
    world.set("cache", dir=str(world.cache), memory="0")

    async def main(drive: Drive) -> None:
        if finished:
            assert await drive.cat("kaizen/s_1/large") == content
        async with drive.file("kaizen/s_1/large") as handle:
            assert await handle.read(0) == content[: 128 << 10]
            await drive.cat("kaizen/s_2/other")
            shutil.rmtree(world.cache)
            assert await handle.read_all() == content
            assert await handle.read(0) == content[: 128 << 10]
        drive.later(3600)
        assert await drive.cat("kaizen/s_1/large") == content

    world.run(main)


@pytest.mark.usefixtures("few_descriptors")
def test_many_large_files_are_read_through_few_descriptors(world: World) -> None:
    """Twelve inflated and twelve stored members of two sessions, all open at once and read in turns."""
    contents = {f"f{number}": bytes([number, 255 - number]) * (MIB * 3 // 4) for number in range(12)}
    world.session("kaizen", zip_of(contents), number=1)
    world.session("kaizen", zip_of(contents, stored=True), number=2)

    async def main(drive: Drive) -> None:
        for _ in range(2):  # while they are made, and from what was made
            async with AsyncExitStack() as stack:
                handles = [
                    (content, await stack.enter_async_context(drive.file(f"kaizen/s_{session}/{name}")))
                    for name, content in contents.items()
                    for session in (1, 2)
                ]
                for at in range(0, MIB, 256 << 10):
                    for content, handle in handles:
                        assert await handle.read(at) == content[at : at + (128 << 10)]
                assert len(open_files(world.cache / "v1" / "snapshots")) < 8
                for content, handle in handles:
                    assert await handle.read_all() == content

    world.run(main)


def test_deleting_the_cache_loses_only_time(world: World, sessions: tuple[Fake, list[bytes]]) -> None:
    """The directory is deleted under a running file system: what is open reads on, everything else is there again."""
    fake, contents = sessions

    async def main(drive: Drive) -> None:
        async with drive.file(f"{fake.name}/s_0/noise") as handle:
            assert await handle.read(0) == contents[0][: 128 << 10]
            shutil.rmtree(world.cache)
            assert await handle.read_all() == contents[0]
        for number, content in enumerate(contents):
            assert await drive.cat(f"{fake.name}/s_{number}/noise") == content
        shutil.rmtree(world.cache, ignore_errors=True)
        for number, content in enumerate(contents):
            assert await drive.cat(f"{fake.name}/s_{number}/noise") == content

    world.run(main)


def test_descriptors_do_not_pile_up(world: World) -> None:
    """Sessions that nobody looks into any more are let go, and their files with them."""
    for number in range(60):
        world.session("dari", number=number)

    async def main(drive: Drive) -> None:
        await drive.ls("dari")
        before = len(os.listdir("/proc/self/fd"))
        for number in range(60):
            await drive.cat(f"dari/s_{number}/a.txt")
        drive.later(3600)
        await drive.settle(lambda: len(os.listdir("/proc/self/fd")) < before + 30)
        drive.asked()
        assert await drive.cat("dari/s_0/a.txt") == b"alpha"
        assert drive.asked() == []

    world.run(main)


def test_nothing_secret_is_kept(world: World) -> None:
    """No key and no signed URL is written into the cache, and nobody else may look into it."""
    for provider in ("kaizen", "dari", "browserbase"):
        world.session(provider)

    async def main(drive: Drive) -> None:
        for provider in ("kaizen", "dari", "browserbase"):
            for name in await drive.ls(provider):
                await drive.tree(f"{provider}/{name}")

    world.run(main)
    for where, _, names in os.walk(world.cache):
        assert os.stat(where).st_mode & 0o077 == 0
        for name in names:
            path = Path(where, name)
            assert path.stat().st_mode & 0o077 == 0
            data = path.read_bytes()
            for secret in (b"X-Amz-Signature", b"SECRET", *(fake.key.encode() for fake in world.fakes.services)):
                assert secret not in data


def test_accounts_are_apart(world: World) -> None:
    """Another key sees nothing of what the first one's account has in the cache."""
    world.session("dari", zip_of({"mine.txt": b"mine"}))

    async def first(drive: Drive) -> None:
        assert await drive.ls("dari/s_1") == ["mine.txt"]

    world.run(first)
    world.wrong_key("dari")

    async def second(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari/s_1")) == "EKEYREJECTED"

    world.run(second)
