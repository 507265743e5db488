"""Interrupted downloads, expired URLs and dead services, seen from the file system: what is asked for again, and what
not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import trio
from drives import Drive, World, zip_of

from mountfs.demo import steps
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.wire import Ask

BIG = os.urandom(6 << 20)
ARCHIVE = zip_of({"a.bin": BIG, "b.txt": b"beta"}, stored=True)
HALF = 3 << 20


def asked_for(drive: Drive) -> list[str]:
    """The ranges asked of the store since the last look; "" for all of it."""
    return [line.partition("bytes=")[2] for line in drive.asked() if line.startswith("store")]


def test_a_broken_range_is_gone_on_with_where_it_broke_off(world: World) -> None:
    """What has come is not asked for again."""
    world.session("kaizen", ARCHIVE)
    world.set("network", retries=2)

    async def main(drive: Drive) -> None:
        await drive.ls("kaizen/s_1")
        world.fakes.store.inject(steps.Truncate(100_000), ranged=True)
        async with drive.file("kaizen/s_1/a.bin") as handle:
            assert await handle.read(0) == BIG[: 128 << 10]
        broken, resumed = asked_for(drive)[1:3]
        assert broken == "0-131071"
        start, stop = map(int, resumed.split("-"))
        assert 90_000 < start <= 100_000
        assert stop == 131_071

    world.run(main)


def test_a_way_that_always_breaks_off_still_moves(world: World) -> None:
    """As long as something comes each time: retries are for those in vain."""
    world.session("kaizen", ARCHIVE)
    world.set("network", retries=1)

    async def main(drive: Drive) -> None:
        await drive.ls("kaizen/s_1")
        world.fakes.store.inject(steps.Truncate(300_000), times=None, ranged=True)
        assert await drive.cat("kaizen/s_1/a.bin") == BIG

    world.run(main)


def test_a_broken_whole_download_goes_on_with_a_range(world: World) -> None:
    """Where the server ignored the first range but has a strong ETag."""
    world.session("kaizen", ARCHIVE)
    world.set("network", retries=2)

    async def main(drive: Drive) -> None:
        with Proxy(world.fakes.store.url) as proxy:
            world.fakes.store.public_url = proxy.url
            proxy.inject(Broken(HALF))
            assert await drive.cat("kaizen/s_1/a.bin") == BIG
            first, second = [each.range for each in proxy.requests]
            assert first is not None
            assert first.startswith("bytes=-")
            assert second is not None
            start, stop = map(int, second.removeprefix("bytes=").split("-"))
            assert HALF - (1 << 20) < start <= HALF
            assert stop == len(ARCHIVE) - 1

    world.run(main)


class Broken(steps.Truncate):
    """Everything is sent, whatever range was asked for, and breaks off."""

    def ask(self, ask: Ask) -> Ask:
        return steps.IgnoreRange().ask(ask)


def test_a_broken_download_of_nothing_in_particular_starts_over(world: World) -> None:
    """Without a strong ETag bytes of two replies are never joined."""
    session = world.session("dari", ARCHIVE)
    session.live = lambda number: ARCHIVE if number else zip_of({"a.bin": BIG[::-1], "b.txt": b"beta"}, stored=True)
    world.set("network", retries=2)
    world.fakes.dari.inject(steps.Truncate(HALF), path="workspace")

    async def main(drive: Drive) -> None:
        assert await drive.cat("dari/s_1/a.bin") in (BIG, BIG[::-1])
        assert sum("workspace" in line for line in drive.asked()) == 2

    world.run(main)


@pytest.mark.parametrize("twice", [False, True])
def test_an_expired_url_is_minted_once(world: World, twice: bool) -> None:
    """However many reads meet it; a second refusal is an error, and not a third URL."""
    world.session("kaizen", ARCHIVE)

    async def main(drive: Drive) -> None:
        await drive.ls("kaizen/s_1")
        drive.asked()
        if twice:
            world.fakes.store.lifetime = 0
        world.fakes.store.expire_all()
        errnos = [""] * 3

        async def read(number: int) -> None:
            errnos[number] = await drive.error(drive.cat("kaizen/s_1/a.bin"))

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(read, number)
        assert set(errnos) == {"EREMOTEIO" if twice else ""}
        assert sum("getFileArchiveUrl" in line for line in drive.asked()) == 1

    world.run(main)


@pytest.mark.parametrize("longer", [False, True], ids=["another ETag", "another length"])
def test_what_a_new_url_leads_to_is_compared(world: World, longer: bool) -> None:
    """The object behind the new URL is another one: its bytes are not joined to those that are here."""
    session = world.session("kaizen", ARCHIVE)
    session.etag = '"same"' if longer else None

    async def main(drive: Drive) -> None:
        await drive.ls("kaizen/s_1")
        async with drive.file("kaizen/s_1/a.bin") as handle:
            assert await handle.read(0) == BIG[: 128 << 10]
            session.archive = zip_of({"a.bin": BIG[::-1] + b"x" * longer, "b.txt": b"beta"}, stored=True)
            world.fakes.store.expire_all()
            assert await drive.error(handle.read(5 << 20)) == "ESTALE"
        await drive.ls("kaizen/s_1")
        assert await drive.cat("kaizen/s_1/a.bin") == BIG[::-1] + b"x" * longer

    world.run(main)


@pytest.fixture
def api(world: World) -> Iterator[Proxy]:
    """A fault proxy in front of Dari."""
    with Proxy(world.fakes.dari.url) as proxy:
        world.set("providers.dari", base_url=proxy.url)
        yield proxy


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACK_HOLE, Mode.HANG_UP])
def test_a_dead_service_answers_at_once_and_is_tried_again_soon(world: World, api: Proxy, mode: Mode) -> None:
    """Three sessions pay for it, the fourth does not even try; five seconds later it is tried, and is back."""
    for number in range(1, 6):
        world.session("dari", number=number)
    world.set("network", deadline="0.3s", lookup_timeout="0.3s", read_timeout="0.2s")
    api.mode = mode

    async def main(drive: Drive) -> None:
        first = [await drive.error(drive.ls(f"dari/s_{number}")) for number in (1, 2, 3)]
        before = len(api.requests), api.connections
        assert await drive.error(drive.ls("dari/s_4")) == first[-1] != ""
        assert (len(api.requests), api.connections) == before
        api.clear()
        api.reset_all()
        drive.later(5.1)
        assert await drive.ls("dari/s_4") == ["a.txt"]
        assert await drive.ls("dari/s_5") == ["a.txt"]

    world.run(main)
