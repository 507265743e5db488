"""A live session through the whole of mountfs below the kernel: revalidation, snapshots, `refresh` (issue 4, items 1,
2).

What tests/filesystem/test_beliefs.py shows of the table's rows is not repeated here."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable

import pytest
import trio
from drives import Drive, World, id_of, zip_of

from mountfs.control import Mount, Verbs
from mountfs.control.report import provider_row
from mountfs.demo import steps
from mountfs.demo.fake import FakeSession
from mountfs.session import Snapshot

OLD = {"same.txt": b"same", "changed.txt": b"before", "gone.txt": b"gone", "d/deep.txt": b"deep"}
NEW = {"same.txt": b"same", "changed.txt": b"after!", "new.txt": b"new", "d/deep.txt": b"deep"}
YEARS = 10 * 365 * 86_400.0
LIVE = {"dari": "active", "browserbase": "RUNNING", "kaizen": ""}
ROOT = "dari/s_1"


def live(world: World, archive: bytes, provider: str = "dari", *, etags: bool = True) -> FakeSession:
    """A session that still runs; ``etags``: whether its archive has a validator."""
    session = world.session(provider, archive)
    session.status, session.ended = LIVE[provider], None
    world.fake(provider).etags = "strong" if etags else None
    return session


def archives(world: World) -> list[int]:
    """The statuses with which Dari answered questions for the archive."""
    return [record.status for record in world.fakes.dari.requests if "workspace" in record.path]


async def eventually(drive: Drive, path: str, names: list[str]) -> None:
    """A directory shows these names before long."""
    found: list[str] = []
    for _ in range(2000):
        found = await drive.ls(path)
        if found == names:
            return
        await trio.sleep(0.005)
    assert found == names


async def settled(done: Callable[[], bool]) -> None:
    """Waits for something in the background."""
    with trio.fail_after(10):
        while not done():  # noqa: ASYNC110 - it happens beneath us
            await trio.sleep(0.005)


def verbs(drive: Drive, place: str = "/nowhere") -> Verbs:
    """The verbs of the control socket on a drive's parts."""
    shop = drive.fs.providers[0].around.shop
    mount = Mount(place, "0", 0.0, {})
    return Verbs(drive.fs, shop.store, shop.workers, mount, wall=time.time, memory=lambda: (0, 0))


async def refresh(drive: Drive, *paths: str) -> list[str]:
    """What ``mountfs refresh`` asks of the daemon; the errors, "" for none."""

    async def no_news(_: object) -> None:
        pass

    answer = await verbs(drive).table()["refresh"]({"paths": list(paths)}, no_news)
    return [row["error"] for row in answer["refreshed"]]


# -- revalidation --------------------------------------------------------------------------------------------------


def test_one_conditional_request_however_many_ask(world: World) -> None:
    """When the belief has run out, twenty programs at once cost one status and one conditional request, answered
    304."""
    live(world, zip_of(OLD))

    async def main(drive: Drive) -> None:
        await drive.ls(ROOT)
        for _ in range(3):
            drive.later(31)
            drive.asked()
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(drive.ls, ROOT)
            assert archives(world) == [304]
            assert len(drive.asked()) == 2

    world.run(main)


def test_ended_and_unchanged_is_terminal(world: World) -> None:
    """A session that ends without another change is asked once more (304), and believed for ever from then on."""
    session = live(world, zip_of(OLD))

    async def main(drive: Drive) -> None:
        await drive.tree(ROOT)
        session.status, session.ended = "completed", time.time()
        drive.later(31)
        await drive.ls(ROOT)
        assert archives(world)[-1] == 304
        drive.asked()
        drive.later(YEARS)
        await drive.tree(ROOT)
        assert drive.asked() == []

    world.run(main)

    async def after_restart(drive: Drive) -> None:
        assert len(await drive.tree(ROOT)) == 5
        assert drive.asked() == []

    world.run(after_restart)


def test_same_members_are_the_same_snapshot(world: World) -> None:
    """Without a validator the archive is fetched again; the same names, sizes and CRCs are the same snapshot, and the
    second copy is not kept beside it."""
    session = live(world, zip_of(OLD), etags=False)

    async def main(drive: Drive) -> None:
        before = {name: (await drive.stat(f"{ROOT}/{name}")).inode for name in await drive.ls(ROOT)}
        shown = drive.fs.providers[1].seen()[0].current
        session.archive = zip_of(OLD, stored=True)  # other bytes, the same members
        drive.later(31)
        drive.asked()
        await drive.ls(ROOT)
        await settled(lambda: archives(world) == [200])
        await settled(lambda: drive.fs.providers[1].seen()[0].belief.holds(trio.current_time()))
        assert drive.fs.providers[1].seen()[0].current is shown
        assert {name: (await drive.stat(f"{ROOT}/{name}")).inode for name in await drive.ls(ROOT)} == before
        await settled(lambda: len(os.listdir(world.cache / "v1" / "snapshots")) <= 2)  # its own, and the gate

    world.run(main)


def test_ended_without_validator_is_terminal(world: World) -> None:
    """Without a validator, too, one fetch after the end with the same members makes it terminal, over restarts."""
    session = live(world, zip_of(OLD), etags=False)

    async def main(drive: Drive) -> None:
        await drive.tree(ROOT)
        session.status, session.ended = "completed", time.time()
        drive.later(31)
        drive.asked()
        await drive.ls(ROOT)
        await settled(lambda: archives(world) == [200])
        await settled(lambda: drive.fs.providers[1].seen()[0].belief.left(trio.current_time()) > YEARS)
        drive.asked()
        drive.later(YEARS)
        await drive.tree(ROOT)
        assert drive.asked() == []

    world.run(main)

    async def after_restart(drive: Drive) -> None:
        assert len(await drive.tree(ROOT)) == 5
        assert drive.asked() == []

    world.run(after_restart)


def test_refetch_waits_ten_times_the_download(world: World) -> None:
    """Without a validator, a download that took long is not repeated sooner than ten times that."""
    live(world, zip_of(OLD), etags=False)

    async def main(drive: Drive) -> None:
        await drive.ls(ROOT)
        session = drive.fs.providers[1].seen()[0]
        session._download_seconds = 60.0
        drive.asked()
        for _ in range(5):
            drive.later(100)
            await drive.tree(ROOT)
        assert drive.asked() == []
        drive.later(101)
        await drive.ls(ROOT)
        await settled(lambda: archives(world) == [200])

    world.run(main)


def test_validator_of_a_new_copy_is_used(world: World) -> None:
    """An archive packed anew with the same members has another validator: the next look sends that, and moves
    nothing."""
    session = live(world, zip_of(OLD))

    async def main(drive: Drive) -> None:
        await drive.ls(ROOT)
        session.archive = zip_of(OLD, stored=True)
        for expected in ([200], [304]):
            drive.later(31)
            drive.asked()
            await drive.ls(ROOT)
            assert archives(world) == expected

    world.run(main)


def test_failed_revalidation_warns_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A failed look keeps the old snapshot and leaves one warning, however many programs waited for it."""
    live(world, zip_of(OLD))

    async def main(drive: Drive) -> None:
        before = await drive.tree(ROOT)
        drive.later(31)
        world.fakes.dari.inject(steps.Answer(500, "broken"), times=None)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(drive.ls, ROOT)
        assert await drive.tree(ROOT) == before
        assert sum("could not be refreshed" in line for line in caplog.messages) == 1
        world.fakes.dari.script.clear()

    world.run(main)


def test_stuck_revalidation_is_waited_for_once(world: World) -> None:
    """A look that gets no answer is waited for once; after that the old contents are shown at once, not each time
    later."""
    live(world, zip_of(OLD))
    world.set("network", lookup_timeout="2s", deadline="20s", read_timeout="20s")

    async def main(drive: Drive) -> None:
        await drive.tree(ROOT)
        drive.later(31)
        world.fakes.dari.inject(steps.BlackHole(), times=None)
        await drive.ls(ROOT)
        waits = 0
        for _ in range(10):
            began = time.monotonic()
            await drive.tree(ROOT)
            waits += time.monotonic() - began > 1.9
        assert waits <= 1
        world.fakes.dari.script.clear()

    world.run(main)


def test_first_look_after_a_restart(world: World) -> None:
    """What the cache has of a live session is not believed again for the whole time after a restart: it is looked
    at."""
    session = live(world, zip_of(OLD))

    async def first(drive: Drive) -> None:
        await drive.tree(ROOT)

    world.run(first)
    session.archive = zip_of(NEW)

    async def at_once(drive: Drive) -> None:
        assert "new.txt" not in await drive.ls(ROOT)

    world.run(at_once)
    world.set("freshness", live="0.01s")

    async def later(drive: Drive) -> None:
        assert "new.txt" in await drive.ls(ROOT)

    world.run(later)


# -- snapshots -----------------------------------------------------------------------------------------------------


def test_only_changed_members_get_new_inodes(world: World) -> None:
    """Unchanged members keep inode and cached bytes, changed ones get a new inode, vanished ones are gone."""
    session = live(world, zip_of(OLD))

    async def main(drive: Drive) -> None:
        await drive.tree(ROOT)
        before = {
            name: (await drive.stat(f"{ROOT}/{name}")).inode for name in ("same.txt", "changed.txt", "d", "d/deep.txt")
        }
        session.archive = zip_of(NEW)
        drive.later(31)
        assert await drive.tree(ROOT) == {**NEW, "d/": b""}
        after = {name: (await drive.stat(f"{ROOT}/{name}")).inode for name in before}
        assert {name for name in before if before[name] != after[name]} == {"changed.txt"}
        assert await drive.error(drive.stat(f"{ROOT}/gone.txt")) == "ENOENT"

    world.run(main)


def test_the_kernel_is_told(world: World) -> None:
    """Names that changed, vanished or are new are invalidated; unchanged ones and directories are not."""
    session = live(world, zip_of(OLD))

    async def main(drive: Drive) -> None:
        told: list[bytes] = []
        drive.fs.nodes.invalidate = lambda _provider, _parent, name: told.append(name)
        held = []
        for name in ["", *OLD]:
            held += (await drive.walk(f"{ROOT}/{name}"))[1]
        session.archive = zip_of(NEW)
        drive.later(31)
        await drive.ls(ROOT)
        assert sorted(told) == [b"changed.txt", b"gone.txt", b"new.txt"]
        drive.forget(held)

    world.run(main)


@pytest.mark.parametrize("etags", [True, False])
def test_handle_reads_its_snapshot_to_the_end(world: World, etags: bool) -> None:
    """A file opened before a change is read to its end from its own snapshot, over two changes, then let go."""
    big = os.urandom(3 << 20)
    session = live(world, zip_of({"big.bin": big, "zip.txt": b"abc" * 1_000_000}), etags=etags)

    async def main(drive: Drive) -> None:
        async with drive.file(f"{ROOT}/big.bin") as handle, drive.file(f"{ROOT}/zip.txt") as packed:
            assert await handle.read(0, 4096) == big[:4096]
            for number in range(2):
                session.archive = zip_of({"big.bin": os.urandom(3 << 20), f"new{number}": b"new"})
                drive.later(31)
                await eventually(drive, ROOT, ["big.bin", f"new{number}"])
            assert await handle.read_all() == big
            assert await packed.read_all() == b"abc" * 1_000_000
        assert await drive.error(drive.stat(f"{ROOT}/zip.txt")) == "ENOENT"
        assert await drive.cat(f"{ROOT}/big.bin") == (await drive_bytes(session, "big.bin"))

    world.run(main)


async def drive_bytes(session: FakeSession, name: str) -> bytes:
    """A member of what the service has now."""
    import io
    import zipfile

    assert isinstance(session.archive, bytes)
    with zipfile.ZipFile(io.BytesIO(session.archive)) as archive:
        return archive.read(name)


def test_listing_goes_on_as_it_began(world: World) -> None:
    """A directory that is being listed continues its own listing after a change; cookies stay valid."""
    many = {f"f{number:03}": b"x" for number in range(200)}
    session = live(world, zip_of(many))

    async def main(drive: Drive) -> None:
        async with drive.directory(ROOT) as handle:
            first = [dentry for dentry, _ in zip(drive.fs.readdir(handle, 0), range(50), strict=False)]
            session.archive = zip_of(NEW)
            drive.later(700)
            assert "new.txt" in await drive.ls(ROOT)
            rest = list(drive.fs.readdir(handle, first[-1].cookie))
            names = [dentry.name.decode() for dentry in [*first, *rest]]
            assert names == [".", "..", *sorted(many)]

    world.run(main)


def test_old_file_inode_is_stale_at_open(world: World) -> None:
    """An inode of a changed file, opened after the change, is ESTALE: the kernel looks its name up again."""
    session = live(world, zip_of(OLD))

    async def main(drive: Drive) -> None:
        attributes, held = await drive.walk(f"{ROOT}/changed.txt")
        session.archive = zip_of(NEW)
        drive.later(31)
        assert await drive.error(drive.fs.open(attributes.inode)) == "ESTALE"
        drive.forget(held)
        assert await drive.cat(f"{ROOT}/changed.txt") == b"after!"

    world.run(main)


# -- coming and going ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["kaizen", "dari", "browserbase"])
def test_absent_becomes_present(world: World, provider: str) -> None:
    """An unlisted id that is absent is ENOENT without a request for ``absent``, then it is there."""
    id = id_of(provider, 7)  # noqa: A001
    world.fake(provider).ranges = False

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.stat(f"{provider}/{id}")) == "ENOENT"
        world.fake(provider).add(id, zip_of(OLD))
        drive.asked()
        drive.later(59)
        assert await drive.error(drive.stat(f"{provider}/{id}")) == "ENOENT"
        assert drive.asked() == []
        drive.later(2)
        assert sorted(await drive.ls(f"{provider}/{id}")) == ["changed.txt", "d", "gone.txt", "same.txt"]

    world.run(main)


def test_ready_wait_asks_again_before_it_gives_up(world: World) -> None:
    """``ready_wait`` shorter than ``pending`` still waits for readiness: it does not wait for a belief only."""
    session = world.session("dari", zip_of(OLD))
    session.ready = False
    world.set("freshness", ready_wait="3s", pending="5s")

    async def main(drive: Drive) -> None:
        async with trio.open_nursery() as nursery:
            found: list[str] = []

            async def look() -> None:
                found.extend(await drive.ls(ROOT))

            nursery.start_soon(look)
            await settled(lambda: bool(archives(world)))
            session.ready = True
        assert sorted(found) == ["changed.txt", "d", "gone.txt", "same.txt"]

    world.run(main)


def test_ready_wait_ends_in_busy(world: World) -> None:
    """A session that does not become ready within ``ready_wait`` is EBUSY, and its directory still exists."""
    world.session("dari", zip_of(OLD)).ready = False
    world.set("freshness", ready_wait="0.3s", pending="0.1s")

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls(ROOT)) == "EBUSY"
        await drive.stat(ROOT)

    world.run(main)


def test_empty_fills_up_after_the_end(world: World) -> None:
    """Browserbase, just ended and still syncing: the empty archive fills, is terminal from then on, also after a
    restart."""
    session = world.session("browserbase", zip_of({}))
    session.ended = time.time() - 20
    world.set("freshness", empty="0.2s")
    path = f"browserbase/{id_of('browserbase')}"

    async def main(drive: Drive) -> None:
        assert await drive.ls(path) == []

    world.run(main)
    session.archive = zip_of(OLD)

    async def filled(drive: Drive) -> None:
        await eventually(drive, path, ["changed.txt", "d", "gone.txt", "same.txt"])
        drive.asked()
        drive.later(YEARS)
        assert len(await drive.ls(path)) == 4
        assert drive.asked() == []

    world.run(filled)
    world.run(filled, offline=True)


def test_listing_that_fails_keeps_the_last_good_one(world: World) -> None:
    """A listing that fails shows the last good one, marked stale in ``status``; when it works again the mark is
    gone."""
    world.session("dari", zip_of(OLD), pinned=False)

    async def main(drive: Drive) -> None:
        assert await drive.ls("dari") == ["s_1"]
        world.fakes.dari.inject(steps.Answer(500, "broken"), times=None)
        drive.later(31)
        assert await drive.ls("dari") == ["s_1"]
        row = provider_row(drive.fs.providers[1])
        assert row["listing_stale"] is True
        assert "500" in row["last_error"]
        world.fakes.dari.script.clear()
        drive.later(31)
        assert await drive.ls("dari") == ["s_1"]
        assert provider_row(drive.fs.providers[1])["listing_stale"] is False

    world.run(main)


# -- refresh -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("etags", [True, False])
def test_refresh_shows_the_change_now(world: World, etags: bool) -> None:
    """``refresh`` of a session looks now, whatever is believed, of a terminal one too."""
    session = live(world, zip_of(OLD), etags=etags)
    session.status = "completed"

    async def main(drive: Drive) -> None:
        await drive.tree(ROOT)
        session.archive = zip_of(NEW)
        assert "gone.txt" in await drive.ls(ROOT)
        await refresh(drive, ROOT)
        assert await drive.tree(ROOT) == {**NEW, "d/": b""}
        drive.asked()
        drive.later(YEARS)
        await drive.tree(ROOT)
        assert drive.asked() == []

    world.run(main)


def test_refresh_of_the_unchanged_stays_terminal(world: World) -> None:
    """``refresh`` of a terminal session that did not change costs a 304, and it is believed for ever as before."""
    live(world, zip_of(OLD)).status = "completed"

    async def main(drive: Drive) -> None:
        await drive.tree(ROOT)
        drive.asked()
        await refresh(drive, ROOT)
        assert archives(world) == [304]
        drive.asked()
        drive.later(YEARS)
        await drive.tree(ROOT)
        assert drive.asked() == []

    world.run(main)


def test_refresh_that_fails_says_so(world: World) -> None:
    """``refresh`` while the service fails is an error; what was there is still shown."""
    live(world, zip_of(OLD)).status = "completed"

    async def main(drive: Drive) -> None:
        before = await drive.tree(ROOT)
        world.fakes.dari.inject(steps.Answer(500, "broken"), times=None)
        (error,) = await refresh(drive, ROOT)
        assert "500" in error
        assert await drive.tree(ROOT) == before
        world.fakes.dari.script.clear()

    world.run(main)


def test_refresh_forgets_an_absence(world: World) -> None:
    """``refresh`` of a name that was absent shows it at once when it is there now."""

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.stat("dari/s_9")) == "ENOENT"
        world.fakes.dari.add("s_9", zip_of(OLD))
        await refresh(drive, "dari/s_9")
        assert len(await drive.ls("dari/s_9")) == 4

    world.run(main)


def test_refresh_of_a_provider(world: World) -> None:
    """``refresh PROVIDER`` asks for the list and for every session of it again."""
    session = live(world, zip_of(OLD))
    session.status = "completed"

    async def main(drive: Drive) -> None:
        await drive.tree(ROOT)
        await drive.ls("dari")
        world.session("dari", zip_of(OLD), number=5, pinned=False)
        session.archive = zip_of(NEW)
        await refresh(drive, "dari")
        assert await drive.ls("dari") == ["s_1", "s_5"]
        assert "new.txt" in await drive.ls(ROOT)

    world.run(main)


# -- what old versions leave behind ----------------------------------------------------------------------------------


def snapshots() -> int:
    """How many snapshots there are in memory."""
    gc.collect()
    return sum(type(each) is Snapshot for each in gc.get_objects())


@pytest.mark.parametrize("evicted", [False, True], ids=["watched", "evicted between"])
def test_old_versions_are_let_go(world: World, *, evicted: bool) -> None:
    """The kernel knows every name of a session, and asks for none again, while version after version comes and goes:
    there are never more snapshots than the one that is shown, and one that a vanished name still stands for."""
    kept = {"same.txt": b"same", "d/e/deep.txt": b"deep"}
    session = live(world, zip_of({**kept, "0.txt": b"0"}))

    async def main(drive: Drive) -> None:
        before = snapshots()
        held = [(await drive.walk(f"{ROOT}/{name}"))[1] for name in ("same.txt", "d/e/deep.txt", "0.txt")]
        told: list[bytes] = []
        drive.fs.nodes.invalidate = lambda _provider, _inode, name: told.append(name)
        [known] = next(each for each in drive.fs.providers if each.name == "dari").seen()
        for version in range(1, 8):
            drive.later(60)
            session.archive = zip_of({**kept, f"{version}.txt": b"new"})
            if evicted:
                assert known.rest(1.0)
                assert known.around.shop.store.clear() > 0
            assert await drive.ls(ROOT) == [f"{version}.txt", "d", "same.txt"]
            assert b"0.txt" in told
            assert snapshots() - before <= 2
        drive.forget(held.pop())  # what the kernel does with a name it was told of
        assert snapshots() - before == 1
        for each in held:
            drive.forget(each)

    world.run(main)
