"""Everything fetched once stays useful: after a restart with the service down, and with ``--offline`` (issue 4, item
5)."""

from __future__ import annotations

import time

import pytest
from drives import PROVIDERS, Drive, World, id_of, zip_of

from mountfs.demo import steps

FILES = {"a.txt": b"alpha", "d/b.txt": b"beta" * 1000, "big.txt": b"0123456789abcdef" * 200_000}
SHOWN = {**FILES, "d/": b""}


def fill(world: World) -> dict[str, dict[str, bytes]]:
    """Five sessions a provider, read once; the paths and what is in them."""
    expected = {}
    for provider in PROVIDERS:
        for number in range(5):
            files = {**FILES, f"only-{number}.txt": b"%d" % number}
            world.session(provider, zip_of(files), number=number, pinned=False)
            expected[f"{provider}/{id_of(provider, number)}"] = {**files, "d/": b""}

    async def main(drive: Drive) -> None:
        for path, files in expected.items():
            assert await drive.tree(path) == files

    world.run(main)
    forget_requests(world)
    return expected


def forget_requests(world: World) -> None:
    """Once the fakes have none under way: a transfer that was cut off at the end is recorded when its sending ends."""
    until = time.monotonic() + 10
    while any(fake.active for fake in world.fakes.all):
        assert time.monotonic() < until, "a request does not end"
        time.sleep(0.01)
    world.fakes.clear_requests()


def down(world: World, how: str) -> None:
    """The services are not to be had."""
    for fake in world.fakes.all:
        if how == "black hole":
            fake.inject(steps.BlackHole(), times=None)
        elif how == "500":
            fake.inject(steps.Answer(503, "down"), times=None)
        else:
            world.set(f"providers.{fake.name}", base_url="http://127.0.0.1:9") if fake.name != "store" else None


@pytest.mark.parametrize("how", ["black hole", "500"])
def test_terminal_sessions_without_the_service(world: World, how: str) -> None:
    """After a restart with the service down every cached session lists and reads without a request for it."""
    expected = fill(world)
    down(world, how)

    async def main(drive: Drive) -> None:
        for path, files in expected.items():
            began = time.monotonic()
            assert await drive.tree(path) == files
            assert time.monotonic() - began < 2
        assert drive.asked() == []

    world.run(main)


def test_listing_without_the_service(world: World) -> None:
    """A provider whose list cannot be had shows what is cached, and can be walked wholly."""
    expected = fill(world)
    down(world, "500")

    async def main(drive: Drive) -> None:
        for provider in PROVIDERS:
            assert await drive.ls(provider) == sorted(
                path.split("/")[1] for path in expected if path.startswith(provider)
            )
        drive.asked()
        for provider in PROVIDERS:
            await drive.tree(provider)
        assert drive.asked() == []

    world.run(main)


def test_live_session_without_the_service(world: World) -> None:
    """A session that was live is shown from the cache when the service does not answer: one look, then none for a
    while."""
    session = world.session("dari", zip_of(FILES))
    session.status, session.ended = "active", None
    world.set("freshness", live="0.01s")
    world.set("network", lookup_timeout="2s")

    async def first(drive: Drive) -> None:
        assert await drive.tree("dari/s_1") == SHOWN

    world.run(first)
    down(world, "black hole")
    world.set("freshness", live="30s")

    async def second(drive: Drive) -> None:
        drive.later(31)
        began = time.monotonic()
        for _ in range(5):
            assert await drive.tree("dari/s_1") == SHOWN
        assert time.monotonic() - began < 8

    world.run(second)


def test_file_by_file_without_the_service(world: World) -> None:
    """Browserbase's per-file form, cached: listed and read after a restart without a request waited for."""
    world.session("browserbase", zip_of(FILES)).ended = time.time() - 3600
    world.set("providers.browserbase", files="api")
    world.fakes.browserbase.files_api = True
    path = f"browserbase/{id_of('browserbase')}"
    shown: dict[str, bytes] = {}

    async def first(drive: Drive) -> None:
        shown.update(await drive.tree(path))

    world.run(first)
    assert shown
    down(world, "black hole")

    async def second(drive: Drive) -> None:
        began = time.monotonic()
        assert await drive.tree(path) == shown
        assert time.monotonic() - began < 2

    world.run(second)


def test_offline_asks_nothing(world: World) -> None:
    """``--offline`` makes no request at all: cached sessions are whole, all else fails at once, also what was live."""
    expected = fill(world)
    live = world.session("dari", zip_of(FILES), number=9, pinned=False)
    live.status, live.ended = "active", None
    ranged = {f"f{number}.bin": bytes([number]) * 2_000_000 for number in range(12)}
    world.session("kaizen", zip_of(ranged, stored=True), number=9, pinned=False)

    async def before(drive: Drive) -> None:
        assert await drive.tree("dari/s_9") == SHOWN
        assert await drive.cat("kaizen/s_9/f0.bin") == ranged["f0.bin"]

    world.run(before)
    forget_requests(world)

    async def main(drive: Drive) -> None:
        for provider in PROVIDERS:
            await drive.ls(provider)
        for path, files in expected.items():
            assert await drive.tree(path) == files
        drive.later(10 * 86_400)
        assert await drive.tree("dari/s_9") == SHOWN
        assert await drive.cat("kaizen/s_9/f0.bin") == ranged["f0.bin"]
        assert await drive.error(drive.stat("dari/never_seen")) == "ENOENT"
        assert await drive.error(drive.cat("kaizen/s_9/f11.bin")) == "ESTALE"
        assert drive.asked() == []

    world.run(main, offline=True)
