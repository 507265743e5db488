"""From the moment a session answers which snapshot it shows until somebody has it open, nobody may close it.

Each of these was an EIO without a line in the log: "Bad file descriptor" of a cache file that had been closed."""

from __future__ import annotations

import base64
import gc
import os
import weakref

import pytest
import trio
from drives import Drive, World, id_of, zip_of

from mountfs.demo import steps
from mountfs.demo.fake import FakeFile
from mountfs.session import Session

STORED = os.urandom(3 << 19)
PACKED = base64.b64encode(os.urandom(3 << 19))


def session_of(drive: Drive, provider: str) -> Session:
    """The session everybody visits."""
    sessions = next(each for each in drive.fs.providers if each.name == provider)
    found = sessions.find(id_of(provider))
    assert found is not None
    return found


async def visit_and_rest(session: Session) -> None:
    """A visitor with nothing to read, after whom room is made in the cache: as soon as it has its answer, so between
    the other visitors' answer and their next step."""
    await session.enter()
    session.rest(0.0)


@pytest.mark.parametrize("name", ["big.bin", "big.txt"])
@pytest.mark.parametrize("provider", ["dari", "browserbase"])
def test_what_a_visitor_was_given_is_not_let_go(world: World, provider: str, name: str) -> None:
    """Several wait for one look at the service. When it is answered one of them has room made, before the next one has
    opened what both were given."""
    content = {"big.bin": STORED, "big.txt": PACKED}
    session = world.session(provider, zip_of(content, stored=name == "big.bin"))
    session.status, session.ended = "RUNNING" if provider == "browserbase" else "active", None
    world.fake(provider).etags = "strong"
    path = f"{provider}/{session.id}"

    async def main(drive: Drive) -> None:
        read: list[bytes] = []

        async def cat() -> None:
            read.append(await drive.cat(f"{path}/{name}"))

        for _ in range(3):
            await drive.cat(f"{path}/{name}")
            drive.later(31)
            async with trio.open_nursery() as nursery:  # trio runs them in this order or in the opposite one
                nursery.start_soon(visit_and_rest, session_of(drive, provider))
                nursery.start_soon(cat)
                nursery.start_soon(visit_and_rest, session_of(drive, provider))
            assert read.pop() == content[name]

    world.run(main)


def test_listed_while_it_is_asked_for(world: World) -> None:
    """A name is asked for; before the answer a listing tells of it, and it is entered. It stays one session."""
    session = world.session("dari", zip_of({"a.txt": b"alpha"}), pinned=False)
    path = f"dari/{session.id}"

    async def main(drive: Drive) -> None:
        world.fakes.dari.inject(steps.Delay(1.0), path=session.id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.stat, path)
            await drive.settle(lambda: any(session.id in line for line in drive.asked()))
            assert await drive.ls("dari") == [session.id]
            assert await drive.cat(f"{path}/a.txt") == b"alpha"
            first = session_of(drive, "dari")
        assert session_of(drive, "dari") is first

    world.run(main)


def test_a_new_version_while_a_file_is_being_opened(world: World) -> None:
    """An open waits for its first byte; meanwhile the session changes. The file is read to its end all the same."""
    session = world.session("browserbase")
    session.status, session.ended = "RUNNING", None
    first = FakeFile("id-1", "big.bin", STORED, created=1_760_000_000)
    session.files = [first]
    world.set("providers.browserbase", files="api")
    world.set("freshness", live="1s")
    path = f"browserbase/{session.id}"

    async def main(drive: Drive) -> None:
        assert await drive.ls(path) == ["big.bin"]
        old = session_of(drive, "browserbase").current
        world.fakes.browserbase.inject(steps.Delay(1.0), path="id-1")
        read: list[bytes] = []

        async def cat() -> None:
            async with drive.file(f"{path}/big.bin") as handle:
                assert old is not None
                assert old.superseded
                read.append(await handle.read_all())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cat)
            await drive.settle(lambda: any("id-1" in line for line in drive.asked()))
            session.files = [first, FakeFile("id-2", "new.txt", b"new", created=1_760_000_001)]
            drive.later(1.5)
            assert await drive.ls(path) == ["big.bin", "new.txt"]
        assert read == [STORED]
        assert old is not None
        assert old.closed

    world.run(main)


def test_a_rested_session_stays_one_snapshot(world: World) -> None:
    """Inodes the kernel knows keep the snapshot of a session that rested; whoever opens it again gets that very one,
    and everything reads as before. What it read from goes at once, and waits for no garbage collector."""
    world.session("kaizen", zip_of({"a.txt": b"alpha", "dir/b.txt": b"beta"}))

    async def main(drive: Drive) -> None:
        assert await drive.cat("kaizen/s_1/dir/b.txt") == b"beta"
        [session] = drive.fs.providers[0].seen()
        first = session.current
        assert first is not None
        gc.disable()
        for _ in range(3):
            drive.later(1)
            assert session.rest(0.5)
            assert session.current is None
            assert first.closed
            before = weakref.ref(first.content)
            assert await drive.cat("kaizen/s_1/dir/b.txt") == b"beta"
            assert before() is None
            assert session.current is first
            assert not first.closed

    try:
        world.run(main)
    finally:
        gc.enable()
