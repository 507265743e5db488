"""Many at once: one request serves all who wait, a stuck provider holds up nobody else, and who leaves strands
nobody."""

from __future__ import annotations

import os

import pytest
import trio
from drives import PROVIDERS, Drive, World, id_of, zip_of

from mountfs.demo import steps
from mountfs.demo.faults import Mode, Proxy
from mountfs.filesystem import Caller

FILES = {f"f{number}.txt": b"%d" % number * 100 for number in range(50)}
NOISE = os.urandom(8 << 20)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_single_flight(world: World, provider: str) -> None:
    """Thirty programs that enter a session at once cost one archive."""
    world.session(provider, zip_of(FILES))
    world.fake(provider).latency = 0.05
    path = f"{provider}/{id_of(provider)}"

    async def main(drive: Drive) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(drive.cat, f"{path}/f{number}.txt")
        archives = [line for line in drive.asked() if "zip" in line or "downloads" in line]
        assert len(archives) == 1

    world.run(main)


def test_one_listing_for_all(world: World) -> None:
    """Thirty listings at once are one request."""
    world.session("dari", pinned=False)
    world.fakes.dari.latency = 0.05

    async def main(drive: Drive) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(drive.ls, "dari")
        assert drive.asked() == ["dari GET /v1/sessions"]

    world.run(main)


def test_leader_leaves(world: World) -> None:
    """The first of two who wait for an archive gives up; the other gets it, from the same request."""
    world.session("dari", zip_of(FILES))
    world.fakes.dari.latency = 0.2

    async def main(drive: Drive) -> None:
        first = trio.CancelScope()

        async def leader() -> None:
            with first:
                await drive.ls("dari/s_1")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leader)
            await drive.settle(lambda: bool(world.fakes.dari.requests))
            nursery.start_soon(drive.ls, "dari/s_1")
            await drive.settle(lambda: drive.fs.statistics()["waiting"] == 2)
            first.cancel()
        assert sum("workspace.zip" in line for line in drive.asked()) == 1

    world.run(main)


def test_transfer_lingers(world: World) -> None:
    """An archive that takes longer than the deadline goes on coming, and the next access joins it: ``ETIMEDOUT`` at
    first, never from the start again."""
    world.session("dari", zip_of({"noise": NOISE}))
    world.set("network", deadline="0.3s", read_timeout="10s", lookup_timeout="0.3s")
    world.set("freshness", failing="0s")
    world.fakes.dari.bandwidth = 8e6

    async def main(drive: Drive) -> None:
        outcome = []
        for _ in range(30):
            outcome.append(await drive.error(drive.ls("dari/s_1")))
            if outcome[-1] == "":
                break
        assert outcome[0] == "ETIMEDOUT"
        assert outcome[-1] == ""
        assert sum("workspace.zip" in line for line in drive.asked()) == 1

    world.run(main)


def test_nobody_left(world: World) -> None:
    """The bytes of a member nobody waits for any more stop coming."""
    world.session("kaizen", zip_of({"noise": NOISE * 4}, stored=True))

    async def main(drive: Drive) -> None:
        await drive.ls("kaizen/s_1")
        world.fakes.store.bandwidth = 4e6
        async with drive.file("kaizen/s_1/noise") as handle:
            await handle.read(0, 4096)
        await drive.settle(lambda: world.fakes.store.active == 0)
        assert world.fakes.store.bytes_sent() < 16 << 20

    world.run(main)


def test_stuck_provider_leaves_the_others_alone(world: World) -> None:
    """Two hundred readers stuck on one provider, and another answers as if nothing were."""
    world.session("kaizen", zip_of(FILES))
    world.set("network", deadline="30s", lookup_timeout="30s", read_timeout="30s")
    with Proxy(world.fakes.dari.url) as proxy:
        world.session("dari")
        world.set("providers.dari", base_url=proxy.url)
        proxy.mode = Mode.BLACK_HOLE

        async def main(drive: Drive) -> None:
            async with trio.open_nursery() as nursery:
                for number in range(200):
                    nursery.start_soon(drive.error, drive.stat(f"dari/x_{number}"))
                await drive.settle(lambda: proxy.connections > 0)
                with trio.fail_after(10):
                    assert await drive.ls("browserbase") == []
                    assert await drive.cat("kaizen/s_1/f1.txt") == FILES["f1.txt"]
                nursery.cancel_scope.cancel()

        world.run(main)


def test_crawler_is_kept_out(world: World) -> None:
    """A program that indexes drives is refused what is not cached (EACCES), and sees what is."""
    world.session("dari", zip_of(FILES))
    with open("/proc/self/comm", encoding="ascii") as comm:
        name = comm.read().strip()
    world.set("crawlers", processes=[name])

    async def main(drive: Drive) -> None:
        attributes, held = await drive.walk("dari/s_1")
        me = Caller(os.getpid())
        assert await drive.error(drive.fs.opendir(attributes.inode, me)) == "EACCES"
        assert drive.asked() == []
        await drive.ls("dari/s_1")
        await drive.fs.releasedir(await drive.fs.opendir(attributes.inode, me))
        drive.forget(held)

    world.run(main)


def test_failures_of_one_session_leave_the_others_alone(world: World) -> None:
    """5xx for one session's archive belong to that session."""
    world.session("dari", zip_of(FILES))
    world.session("dari", zip_of(FILES), number=2)
    world.fakes.dari.inject(steps.Answer(500), times=None, path="s_1")

    async def main(drive: Drive) -> None:
        for _ in range(5):
            drive.later(3)
            assert await drive.error(drive.ls("dari/s_1")) == "EREMOTEIO"
        assert len(await drive.ls("dari/s_2")) == 50

    world.run(main)


def test_handles_are_given_back(world: World) -> None:
    """After everything was closed, no handle, no inode and no transfer is left."""
    for number in range(1, 6):
        world.session("kaizen", zip_of(FILES), number=number)

    async def main(drive: Drive) -> None:
        for number in range(1, 6):
            await drive.tree(f"kaizen/s_{number}")
        left = drive.fs.statistics()
        assert (left["inodes"], left["open_files"], left["open_directories"], left["waiting"]) == (0, 0, 0, 0)

    world.run(main)


def test_stuck_reads_are_given_up_where_the_kernel_has_little_room(world: World) -> None:
    """While the kernel sends few READs at a time and most of them wait on one provider without news, the oldest is
    answered ETIMEDOUT, one after the other, until others' reads have room."""
    world.session("kaizen", zip_of({"noise": NOISE * 3}, stored=True))
    world.set("network", deadline="3000s", read_timeout="3000s", connect_timeout="3000s")
    outcome: list[str] = []

    async def main(drive: Drive) -> None:
        def pending() -> int:
            return drive.fs.statistics()["pending_reads"]

        async def reader(number: int) -> None:
            async with drive.file("kaizen/s_1/noise") as handle:
                outcome.append(await drive.error(handle.read(number * (2 << 20))))

        drive.fs.waiting.max_background = 12
        await drive.error(drive.ls("kaizen/s_1"))
        async with drive.file("kaizen/s_1/noise"), trio.open_nursery() as nursery:
            world.fakes.store.inject(steps.BlackHole(), times=None)
            nursery.start_soon(drive.fs.waiting.watch_reads)
            for number in range(1, 11):
                nursery.start_soon(reader, number)
            await drive.settle(lambda: pending() == 10)
            drive.later(11)
            for left in (9, 8, 7, 6):
                await drive.settle(lambda left=left: pending() == left)  # type: ignore[misc]
                drive.later(1)
            assert outcome == ["ETIMEDOUT"] * 4
            for _ in range(5):
                drive.later(1)
                await trio.lowlevel.checkpoint()
            assert pending() == 6
            nursery.cancel_scope.cancel()

    world.run(main)
