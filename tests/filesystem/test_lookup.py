"""What there is, and what a name costs: the root, a provider's sessions, an unlisted id, a probed name."""

from __future__ import annotations

import stat

import pytest
from drives import PROVIDERS, Drive, World, id_of, zip_of


def test_root_shows_providers(world: World) -> None:
    """The root has one directory for each configured provider, and asks nobody."""

    async def main(drive: Drive) -> None:
        assert await drive.ls("") == ["browserbase", "dari", "kaizen"]
        for provider in PROVIDERS:
            assert stat.S_ISDIR((await drive.stat(provider)).mode)
        assert await drive.error(drive.stat("nobody")) == "ENOENT"
        assert drive.asked() == []

    world.run(main)


@pytest.mark.parametrize("provider", ["dari", "browserbase"])
def test_listing_costs_one_request(world: World, provider: str) -> None:
    """``ls -l`` of a provider costs one listing and no archive, and none while the listing is believed."""
    sessions = [world.session(provider, number=number, pinned=False) for number in (1, 2, 3)]

    async def main(drive: Drive) -> None:
        assert await drive.ls(provider) == [session.id for session in sessions]
        for session in sessions:
            found = await drive.stat(f"{provider}/{session.id}")
            assert found.mode == stat.S_IFDIR | 0o555
            assert found.mtime_ns // 10**9 == int(
                (session.ended if provider == "browserbase" else session.created) or 0
            )
        assert drive.asked() == [f"{provider} GET /v1/sessions"]
        drive.later(29)
        await drive.ls(provider)
        assert drive.asked() == []
        drive.later(2)
        world.session(provider, number=4, pinned=False)
        assert id_of(provider, 4) in await drive.ls(provider)
        assert drive.asked() == [f"{provider} GET /v1/sessions"]

    world.run(main)


def test_kaizen_is_not_listed(world: World) -> None:
    """Kaizen has no list: pinned ids are shown, and the listing asks nobody."""
    world.session("kaizen")
    world.session("kaizen", number=2, pinned=False)

    async def main(drive: Drive) -> None:
        assert await drive.ls("kaizen") == ["s_1"]
        assert drive.asked() == []

    world.run(main)


def test_kaizen_executions_when_asked(world: World) -> None:
    """With ``list = true`` Kaizen's executions are its list."""
    world.session("kaizen", pinned=False)
    world.set("providers.kaizen", list=True)

    async def main(drive: Drive) -> None:
        assert await drive.ls("kaizen") == ["s_1"]
        assert drive.asked() == ["kaizen POST /executions/list"]

    world.run(main)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_unlisted_id_costs_one_question(world: World, provider: str) -> None:
    """An id nobody listed can be entered: one point query, never a listing; what was found is not asked again."""
    world.session(provider, zip_of({"a.txt": b"alpha"}), pinned=False)
    path = f"{provider}/{id_of(provider)}"

    async def main(drive: Drive) -> None:
        assert stat.S_ISDIR((await drive.stat(path)).mode)
        asked = drive.asked()
        assert len(asked) == 1
        assert asked[0].startswith(f"{provider} ")
        await drive.stat(path)
        assert drive.asked() == []
        assert await drive.cat(f"{path}/a.txt") == b"alpha"

    world.run(main)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_absent_id_is_believed_a_minute(world: World, provider: str) -> None:
    """404 is ENOENT for 60 s without a second question, then it is asked again and the session is found."""
    path = f"{provider}/{id_of(provider)}"

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.stat(path)) == "ENOENT"
        assert len(drive.asked()) == 1
        drive.later(59)
        assert await drive.error(drive.stat(path)) == "ENOENT"
        assert drive.asked() == []
        world.session(provider, pinned=False)
        drive.later(2)
        await drive.stat(path)
        assert len(drive.asked()) == 1

    world.run(main)


@pytest.mark.parametrize(
    "name",
    [
        ".git",
        ".Trash-1000",
        "autorun.inf",
        "HEAD",
        "node_modules",
        "package.json",
        "Makefile",
        "x y",
        "ä",
        "desktop.ini",
    ],
)
def test_probed_names_cost_nothing(world: World, name: str) -> None:
    """Names that desktops, shells and build tools look for are not there, and no service is asked."""

    async def main(drive: Drive) -> None:
        for provider in PROVIDERS:
            assert await drive.error(drive.stat(f"{provider}/{name}")) == "ENOENT"
        assert drive.asked() == []

    world.run(main)


def test_browserbase_ids_are_uuids(world: World) -> None:
    """An unlisted name that is no UUID is not worth a question to Browserbase, unless ``id_pattern`` says so."""

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.stat("browserbase/my-session")) == "ENOENT"
        assert drive.asked() == []

    world.run(main)
    world.set("providers.browserbase", id_pattern="my-.*")

    async def other(drive: Drive) -> None:
        assert await drive.error(drive.stat("browserbase/my-session")) == "ENOENT"
        assert drive.asked() == ["browserbase GET /v1/sessions/my-session"]

    world.run(other)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_pinned_lookup_waits_for_nobody(world: World, provider: str) -> None:
    """The name of a pinned session is looked up without the network."""
    world.session(provider)

    async def main(drive: Drive) -> None:
        await drive.stat(f"{provider}/{id_of(provider)}")
        assert drive.asked() == []

    world.run(main)


def test_missing_name_inside_a_session(world: World) -> None:
    """A name that is not in a session is ENOENT and costs nothing more once the session is known."""
    world.session("dari")

    async def main(drive: Drive) -> None:
        await drive.ls("dari/s_1")
        drive.asked()
        assert await drive.error(drive.stat("dari/s_1/b.txt")) == "ENOENT"
        assert await drive.error(drive.stat("dari/s_1/a.txt/c")) == "ENOTDIR"
        assert drive.asked() == []

    world.run(main)
