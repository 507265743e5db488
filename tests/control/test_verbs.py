"""What can be asked of a daemon, asked without a mount."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from drives import World, zip_of

from mountfs import daemon
from mountfs.control import Mount, Verbs, describe
from mountfs.control.report import health
from mountfs.demo.server import Fakes
from mountfs.errors import Absent, MountfsError, NotFound

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Fakes of this test's own."""
    with Fakes() as fakes:
        yield World(fakes, tmp_path)


def asked(world: World, main: Callable[[Ask, daemon.Parts], Awaitable[None]]) -> None:
    """Runs ``main`` with a way to ask; what it raises is raised."""
    failure: list[BaseException] = []

    async def nothing(_news: Any) -> None:
        pass

    async def run() -> None:
        with trio.fail_after(30):
            async with daemon.parts(world.config()) as built:
                mount = Mount("/mnt/x", "0", 0.0, {"read_ahead_kb": "128"}, None)
                verbs = Verbs(
                    built.filesystem, built.store, built.workers, mount, wall=lambda: 10.0, memory=lambda: (1, 2)
                )

                async def ask(verb: str, **args: Any) -> Any:
                    answer = await verbs.table()[verb](args, nothing)
                    json.dumps(answer)
                    return answer

                try:
                    await main(ask, built)
                except (AssertionError, MountfsError) as exc:  # a nursery would wrap it
                    failure.append(exc)

    trio.run(run)
    if failure:
        raise failure[0]


def test_status(world: World) -> None:
    """Everything there is to see is JSON, and holds neither key nor URL."""
    world.session("dari", zip_of({"a.txt": b"alpha"}))
    world.session("kaizen", zip_of({"a.txt": b"alpha"}))

    async def main(ask: Ask, built: daemon.Parts) -> None:
        await ask("fetch", path="dari/s_1")
        await ask("fetch", path="kaizen/s_1")
        told = await ask("status")
        assert [row["name"] for row in told["providers"]] == ["kaizen", "dari", "browserbase"]
        assert {row["provider"]: row["here"] for row in told["sessions"]}.keys() == {"kaizen", "dari"}
        assert told["uptime"] == 10.0
        assert len({row["identity"] for row in told["providers"]}) == 3
        text = json.dumps(told)
        for fake in world.fakes.all:
            assert not fake.key or fake.key not in text
            assert fake.url not in text

    asked(world, main)


def test_fetch_and_sessions(world: World) -> None:
    """A provider's sessions are told; one is fetched; one that is not there is Absent."""
    world.session("dari", zip_of({"a.txt": bytes(100_000)}, stored=True))

    async def main(ask: Ask, built: daemon.Parts) -> None:
        assert (await ask("sessions", path="dari"))["sessions"] == ["s_1"]
        row = await ask("fetch", path="dari/s_1")
        assert row["session"] == "dari/s_1"
        assert row["bytes"] == row["total"] > 100_000
        for path, error in (("dari/s_other", Absent), ("dari", NotFound), ("nobody/x", NotFound)):
            with pytest.raises(error):
                await ask("fetch", path=path)

    asked(world, main)


def test_refresh(world: World) -> None:
    """A refresh says whether something changed, or why that could not be known."""
    session = world.session("dari", zip_of({"a.txt": b"alpha"}))

    async def main(ask: Ask, built: daemon.Parts) -> None:
        await ask("fetch", path="dari/s_1")
        (row,) = (await ask("refresh", paths=["dari/s_1"]))["refreshed"]
        assert row == {"label": "dari/s_1", "changed": False, "error": ""}
        session.archive = zip_of({"b.txt": b"beta"})
        (row,) = (await ask("refresh", paths=["dari/s_1/deeper"]))["refreshed"]
        assert row["changed"]
        world.fakes.dari.fail_next(403, 2)
        (row,) = (await ask("refresh", paths=["dari/s_1"]))["refreshed"]
        assert "403" in row["error"]
        assert (await ask("refresh", paths=["dari"]))["refreshed"][0]["label"] == "dari"

    asked(world, main)


def test_why(world: World) -> None:
    """A name that was refused, a file that is damaged, a name never asked for: each has its words."""
    broken = bytearray(zip_of({"a.txt": b"alpha" * 40}, stored=True))
    broken[broken.index(b"alphaalpha") + 2] ^= 1
    world.session("dari", bytes(broken))

    async def main(ask: Ask, built: daemon.Parts) -> None:
        assert not (await ask("why", path="dari/s_2"))["known"]
        dari = next(each for each in built.filesystem.providers if each.name == "dari")
        with pytest.raises(Absent):
            await dari.lookup("s_2")
        assert "404" in (await ask("why", path="dari/s_2"))["answer"]
        snapshot = await (await dari.lookup("s_1")).enter()
        with pytest.raises(MountfsError):
            await snapshot.content.open(0, listed=False)
        member = (await ask("why", path="dari/s_1/a.txt"))["member"]
        assert member["errno"].startswith("EIO")
        assert "CRC-32" in member["fault"]
        assert (await ask("why", path="dari/s_1/none"))["member"] is None

    asked(world, main)


def test_level_and_tasks(world: World) -> None:
    """The level changes at once; a wrong one is refused; the tasks are told with where they wait."""

    async def main(ask: Ask, built: daemon.Parts) -> None:
        assert await ask("log_level", level="debug") == {"level": "debug"}
        assert logging.getLogger().level == logging.DEBUG
        with pytest.raises(NotFound):
            await ask("log_level", level="loud")
        told = await ask("tasks")
        assert told["waiting"] == []
        assert any("_housekeeping" in line for line in told["tasks"])
        assert describe(built.filesystem).startswith("waiting requests:\n  none\ntasks:\n")
        assert "pid" in await ask("ping")

    asked(world, main)


@pytest.mark.parametrize(
    ("requests", "word"),
    [
        ({}, "not asked yet"),
        ({200: 1, 500: 3}, "ok"),
        ({404: 1}, "ok"),
        ({401: 2}, "key rejected"),
        ({0: 5}, "unreachable"),
        ({500: 1}, "failing"),
    ],
)
def test_health(requests: dict[int, int], word: str) -> None:
    """A provider's health is what its answers say."""
    assert health(offline=False, requests=requests, breaker_open=False) == word
    assert health(offline=False, requests=requests, breaker_open=True) == "unreachable"
    assert health(offline=True, requests=requests, breaker_open=False) == "offline"
