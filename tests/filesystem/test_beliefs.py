"""The first table of design.md §2, a test a row: what a user gets for each answer, how long it is believed without
another request, and that the session recovers afterwards."""

from __future__ import annotations

import stat
import time

import pytest
import trio
from drives import PROVIDERS, Drive, World, id_of, zip_of

from mountfs.demo import steps
from mountfs.demo.fake import EMPTY_ZIP, FakeSession

YEARS = 10 * 365 * 86_400.0
OLD = zip_of({"a.txt": b"alpha", "old.txt": b"old"})
NEW = zip_of({"a.txt": b"alpha", "new.txt": b"new"})
LIVE = {"dari": "active", "browserbase": "RUNNING"}


def path_of(provider: str) -> str:
    return f"{provider}/{id_of(provider)}"


def live(world: World, provider: str = "dari", *, etags: bool = True) -> FakeSession:
    """A session that still runs; ``etags``: whether its archive has a validator."""
    session = world.session(provider, OLD)
    session.status = LIVE[provider]
    session.ended = None
    world.fake(provider).etags = "strong" if etags else None
    return session


@pytest.mark.parametrize("provider", PROVIDERS)
def test_terminal_is_believed_for_ever(world: World, provider: str) -> None:
    """A terminal session's tree is immutable: years later it costs no request (Kaizen, without a status, the same)."""
    world.session(provider, OLD)

    async def main(drive: Drive) -> None:
        before = await drive.tree(path_of(provider))
        assert before == {"a.txt": b"alpha", "old.txt": b"old"}
        assert drive.asked()
        drive.later(YEARS)
        assert await drive.tree(path_of(provider)) == before
        assert (await drive.stat(f"{path_of(provider)}/a.txt")).ttl >= 3600
        assert drive.asked() == []

    world.run(main)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_terminal_survives_a_restart_without_a_request(world: World, provider: str) -> None:
    """What was read of a terminal session is there after a restart, and offline, without a request."""
    world.session(provider, OLD)

    async def first(drive: Drive) -> None:
        await drive.tree(path_of(provider))
        drive.asked()

    world.run(first)

    async def second(drive: Drive) -> None:
        assert await drive.tree(path_of(provider)) == {"a.txt": b"alpha", "old.txt": b"old"}
        assert drive.asked() == []

    world.run(second)
    world.run(second, offline=True)


@pytest.mark.parametrize("provider", ["dari", "browserbase"])
@pytest.mark.parametrize("status", ["live", "odd"])
def test_live_is_revalidated_after_thirty_seconds(world: World, provider: str, status: str) -> None:
    """A live session (or one of unknown status) is believed 30 s, then one conditional request asks whether it is
    still so."""
    session = live(world, provider)
    if status == "odd":
        session.status = "HIBERNATING"

    async def main(drive: Drive) -> None:
        await drive.tree(path_of(provider))
        drive.asked()
        drive.later(29)
        await drive.tree(path_of(provider))
        assert drive.asked() == []
        drive.later(2)
        await drive.ls(path_of(provider))
        fake = world.fake(provider)
        archive = [record for record in fake.requests if "if-none-match" in record.headers]
        assert [record.status for record in archive] == [304]
        assert len(fake.requests) == 2  # and the status before it
        drive.asked()
        await drive.tree(path_of(provider))
        assert drive.asked() == []

    world.run(main)


def test_live_shows_what_changed(world: World) -> None:
    """When the archive of a live session changed, the next opendir shows the new one; the unchanged file keeps its
    inode."""
    session = live(world)

    async def main(drive: Drive) -> None:
        assert "old.txt" in await drive.ls("dari/s_1")
        kept = (await drive.stat("dari/s_1/a.txt")).inode
        session.archive = NEW
        assert "old.txt" in await drive.ls("dari/s_1")
        drive.later(31)
        assert await drive.tree("dari/s_1") == {"a.txt": b"alpha", "new.txt": b"new"}
        assert (await drive.stat("dari/s_1/a.txt")).inode == kept

    world.run(main)


def test_live_changed_file_gets_a_new_inode(world: World) -> None:
    """A file whose bytes changed is another inode, else the kernel would show its old pages."""
    session = live(world)

    async def main(drive: Drive) -> None:
        before = await drive.stat("dari/s_1/a.txt") if await drive.ls("dari/s_1") else None
        session.archive = zip_of({"a.txt": b"omega", "old.txt": b"old"})
        drive.later(31)
        await drive.ls("dari/s_1")
        after = await drive.stat("dari/s_1/a.txt")
        assert before is not None
        assert after.inode != before.inode
        assert await drive.cat("dari/s_1/a.txt") == b"omega"

    world.run(main)


def test_live_without_validator_is_refetched_in_the_background(world: World) -> None:
    """Without a validator the old snapshot is served at once, and one refetch in the background brings the new one."""
    session = live(world, etags=False)

    async def main(drive: Drive) -> None:
        await drive.ls("dari/s_1")
        session.archive = NEW
        drive.asked()
        drive.later(31)
        assert "old.txt" in await drive.ls("dari/s_1")
        await drive.settle(lambda: bool(world.fakes.dari.requests))
        found: list[str] = []
        for _ in range(2000):
            found = await drive.ls("dari/s_1")
            if "new.txt" in found:
                break
            await trio.sleep(0.005)
        assert found == ["a.txt", "new.txt"]
        assert sum("workspace.zip" in line for line in drive.asked()) == 1

    world.run(main)


def test_failed_revalidation_keeps_the_old_snapshot(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """When looking again fails, the old contents are shown, a warning is logged, and 30 s pass before the next
    look."""
    live(world)

    async def main(drive: Drive) -> None:
        before = await drive.tree("dari/s_1")
        drive.later(31)
        world.fakes.dari.fail_next(500, times=10)
        drive.asked()
        assert await drive.tree("dari/s_1") == before
        assert drive.asked()
        assert any("s_1" in line and "could not be refreshed" in line for line in caplog.messages)
        drive.later(29)
        assert await drive.tree("dari/s_1") == before
        assert drive.asked() == []

    world.run(main)


def test_slow_revalidation_is_awaited_only_so_long(world: World) -> None:
    """A look that gets no answer is awaited ``lookup_timeout`` at most; then the old contents are shown."""
    live(world)
    world.set("network", lookup_timeout="0.2s", deadline="20s")

    async def main(drive: Drive) -> None:
        await drive.tree("dari/s_1")
        drive.later(31)
        world.fakes.dari.inject(steps.BlackHole(), times=None)
        began = time.monotonic()
        assert "old.txt" in await drive.ls("dari/s_1")
        assert time.monotonic() - began < 10

    world.run(main)


def test_live_is_fetched_once_more_after_its_end(world: World) -> None:
    """A session that turned terminal is fetched once more, and believed for ever from then on."""
    session = live(world)

    async def main(drive: Drive) -> None:
        await drive.ls("dari/s_1")
        session.archive, session.status = NEW, "completed"
        drive.later(31)
        assert await drive.ls("dari/s_1") == ["a.txt", "new.txt"]
        drive.asked()
        drive.later(YEARS)
        assert await drive.ls("dari/s_1") == ["a.txt", "new.txt"]
        assert drive.asked() == []

    world.run(main)


def test_open_directory_keeps_its_snapshot(world: World) -> None:
    """While a directory of a session is open (cp, tar, find), the session keeps its snapshot, but no longer than 10
    min."""
    session = live(world)

    async def main(drive: Drive) -> None:
        async with drive.directory("dari/s_1"):
            session.archive = NEW
            drive.asked()
            drive.later(590)
            assert "old.txt" in await drive.ls("dari/s_1")
            assert drive.asked() == []
            drive.later(20)
            assert "new.txt" in await drive.ls("dari/s_1")

    world.run(main)


def test_open_file_keeps_its_bytes(world: World) -> None:
    """A file that is open goes on reading its own snapshot after the session has changed."""
    session = live(world)

    async def main(drive: Drive) -> None:
        async with drive.file("dari/s_1/old.txt") as handle:
            session.archive = NEW
            drive.later(31)
            assert "old.txt" not in await drive.ls("dari/s_1")
            assert await handle.read_all() == b"old"

    world.run(main)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_server_error_is_believed_two_seconds(world: World, provider: str) -> None:
    """5xx is EREMOTEIO for 2 s without another request, then it is asked again; nothing of it is written to disk."""
    world.session(provider, OLD)
    path = path_of(provider)

    async def main(drive: Drive) -> None:
        world.fake(provider).inject(steps.Answer(503, "later"), times=None)
        assert await drive.error(drive.ls(path)) == "EREMOTEIO"
        assert drive.asked()
        drive.later(1)
        assert await drive.error(drive.ls(path)) == "EREMOTEIO"
        assert await drive.error(drive.stat(f"{path}/a.txt")) == "EREMOTEIO"
        assert drive.asked() == []
        world.fake(provider).script.clear()
        drive.later(1.5)
        assert await drive.cat(f"{path}/a.txt") == b"alpha"

    world.run(main)


def test_failure_is_not_written_to_disk(world: World) -> None:
    """A failure is forgotten by a restart: the next daemon asks at once."""
    world.session("dari", OLD)
    world.fakes.dari.inject(steps.Answer(500, "broken"), times=None)

    async def failing(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari/s_1")) == "EREMOTEIO"

    world.run(failing)
    world.fakes.dari.script.clear()

    async def well(drive: Drive) -> None:
        assert await drive.ls("dari/s_1") == ["a.txt", "old.txt"]

    world.run(well)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("status", "errno"), [(401, "EKEYREJECTED"), (403, "EACCES"), (400, "EINVAL")])
def test_refusal_is_believed_half_a_minute(world: World, provider: str, status: int, errno: str) -> None:
    """401, 403 and 400 of the API are believed 30 s; then the service is asked again."""
    world.session(provider, OLD)
    path = path_of(provider)

    async def main(drive: Drive) -> None:
        world.fake(provider).inject(steps.Answer(status, {"error": "no"}), times=None)
        assert await drive.error(drive.ls(path)) == errno
        drive.asked()
        drive.later(29)
        assert await drive.error(drive.ls(path)) == errno
        assert drive.asked() == []
        world.fake(provider).script.clear()
        drive.later(2)
        assert await drive.ls(path) == ["a.txt", "old.txt"]

    world.run(main)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_bad_archive_of_a_terminal_session_stays(world: World, provider: str) -> None:
    """A body that is no zip is EIO as long as its snapshot would have been believed: for ever, of a terminal
    session."""
    world.session(provider, b"%PDF-1.4 this is no zip")
    path = path_of(provider)

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls(path)) == "EIO"
        drive.asked()
        drive.later(86_400)
        assert await drive.error(drive.ls(path)) == "EIO"
        assert drive.asked() == []

    world.run(main)


def test_bad_archive_of_a_live_session_recovers(world: World) -> None:
    """A body that is no zip of a live session is believed 30 s."""
    session = live(world)
    session.archive = b"<html>wait</html>"

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari/s_1")) == "EIO"
        drive.asked()
        drive.later(29)
        assert await drive.error(drive.ls("dari/s_1")) == "EIO"
        assert drive.asked() == []
        session.archive = OLD
        drive.later(2)
        assert await drive.ls("dari/s_1") == ["a.txt", "old.txt"]

    world.run(main)


def test_archive_over_a_limit(world: World) -> None:
    """An archive with more members than the limit is EFBIG, as long as its snapshot would have been believed."""
    world.session("dari", OLD)
    world.set("limits", max_members=1)

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("dari/s_1")) == "EFBIG"
        drive.asked()
        drive.later(86_400)
        assert await drive.error(drive.ls("dari/s_1")) == "EFBIG"
        assert drive.asked() == []

    world.run(main)


@pytest.mark.parametrize("empty", ["zip", "204"])
@pytest.mark.parametrize("state", ["live", "just ended"])
def test_empty_archive_has_a_short_life(world: World, empty: str, state: str) -> None:
    """An empty archive is an empty directory for 5 s while the session is live or ended less than 5 minutes ago."""
    session = live(world, "browserbase", etags=False)
    if state == "just ended":
        session.status, session.ended = "COMPLETED", time.time() - 60
    session.archive = EMPTY_ZIP
    if empty == "204":
        session.answer = steps.Answer(204)
    path = path_of("browserbase")

    async def main(drive: Drive) -> None:
        assert await drive.ls(path) == []
        assert stat.S_ISDIR((await drive.stat(path)).mode)
        drive.asked()
        drive.later(4)
        assert await drive.ls(path) == []
        assert drive.asked() == []
        session.archive, session.answer = OLD, None
        drive.later(2)
        found: list[str] = []
        for _ in range(1000):
            found = await drive.ls(path)
            if found:
                break
            drive.later(1)
            await trio.sleep(0.005)
        assert found == ["a.txt", "old.txt"]

    world.run(main)


def test_empty_archive_of_an_old_session_is_final(world: World) -> None:
    """An empty archive of a session that ended long ago is as final as any other."""
    session = world.session("browserbase", EMPTY_ZIP)
    session.ended = time.time() - 3600

    async def main(drive: Drive) -> None:
        assert await drive.ls(path_of("browserbase")) == []
        drive.asked()
        drive.later(YEARS)
        assert await drive.ls(path_of("browserbase")) == []
        assert drive.asked() == []

    world.run(main)


@pytest.mark.parametrize("provider", ["kaizen", "dari"])
def test_not_ready_is_busy_for_five_seconds(world: World, provider: str) -> None:
    """409: ``stat`` of the session works, looking inside is EBUSY for 5 s without a request, then it is there."""
    session = world.session(provider, OLD)
    session.ready = False
    path = path_of(provider)

    async def main(drive: Drive) -> None:
        assert stat.S_ISDIR((await drive.stat(path)).mode)
        assert await drive.error(drive.ls(path)) == "EBUSY"
        assert await drive.error(drive.stat(f"{path}/a.txt")) == "EBUSY"
        assert stat.S_ISDIR((await drive.stat(path)).mode)
        drive.asked()
        drive.later(4)
        assert await drive.error(drive.ls(path)) == "EBUSY"
        assert drive.asked() == []
        session.ready = True
        drive.later(2)
        assert await drive.ls(path) == ["a.txt", "old.txt"]

    world.run(main)


@pytest.mark.parametrize("provider", ["kaizen", "dari"])
def test_not_ready_is_waited_for(world: World, provider: str) -> None:
    """With ``ready_wait`` the listing of a session that is not ready waits until it is."""
    session = world.session(provider, OLD)
    session.pending = 2
    world.set("freshness", ready_wait="20s", pending="0.05s")

    async def main(drive: Drive) -> None:
        assert await drive.ls(path_of(provider)) == ["a.txt", "old.txt"]

    world.run(main)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_gone_session_is_absent_for_a_minute(world: World, provider: str) -> None:
    """404 for a pinned session's archive is ENOENT for 60 s; then it is asked again."""
    session = world.session(provider, OLD)
    session.gone = True
    path = path_of(provider)

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls(path)) == "ENOENT"
        drive.asked()
        drive.later(59)
        assert await drive.error(drive.ls(path)) == "ENOENT"
        assert drive.asked() == []
        session.gone = False
        drive.later(2)
        assert await drive.ls(path) == ["a.txt", "old.txt"]

    world.run(main)


@pytest.mark.parametrize("provider", ["dari", "browserbase"])
def test_gone_session_is_left_out_of_the_listing(world: World, provider: str) -> None:
    """A listed session known to be absent is not shown while that is believed, else ``find`` fails on it for ever."""
    session = world.session(provider, OLD, pinned=False)
    world.session(provider, OLD, pinned=False, number=2)
    session.gone = True

    async def main(drive: Drive) -> None:
        assert await drive.ls(provider) == [id_of(provider), id_of(provider, 2)]
        assert await drive.error(drive.ls(path_of(provider))) == "ENOENT"
        assert await drive.error(drive.stat(path_of(provider))) == "ENOENT"
        assert await drive.ls(provider) == [id_of(provider, 2)]
        session.gone = False
        drive.later(61)
        assert await drive.ls(provider) == [id_of(provider), id_of(provider, 2)]
        assert await drive.ls(path_of(provider)) == ["a.txt", "old.txt"]

    world.run(main)
