"""Browserbase's per-file API as the source of members: one listing, a request for each file opened, SHA-256 for
the CRC."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

import pytest
from drives import READ, Drive, World, id_of, zip_of

from mountfs.demo import steps
from mountfs.demo.fake import FakeFile

PATH = f"browserbase/{id_of('browserbase')}"
BIG = os.urandom(3 << 20)


@pytest.fixture
def files(world: World) -> list[FakeFile]:
    """A session with three files, two of one name."""
    session = world.session("browserbase", zip_of({"from-the-zip.txt": b"zip"}))
    session.files = [
        FakeFile("id-1", "a.pdf", b"first", created=1_760_000_000),
        FakeFile("id-2", "a.pdf", b"second", created=1_760_000_010),
        FakeFile("id-3", "big.bin", BIG, created=1_760_000_020),
    ]
    world.set("providers.browserbase", files="api")
    return session.files


def test_each_file_on_its_own(world: World, files: list[FakeFile]) -> None:
    """Listing costs one request, reading a file one more; the later of two equal names is numbered, times are
    theirs."""

    async def main(drive: Drive) -> None:
        assert await drive.ls(PATH) == ["a (1).pdf", "a.pdf", "big.bin"]
        assert [line for line in drive.asked() if "downloads" in line] == ["browserbase GET /v1/downloads"]
        assert await drive.cat(f"{PATH}/a.pdf") == b"first"
        assert await drive.cat(f"{PATH}/a (1).pdf") == b"second"
        assert drive.asked() == ["browserbase GET /v1/downloads/id-1", "browserbase GET /v1/downloads/id-2"]
        assert (await drive.stat(f"{PATH}/a (1).pdf")).mtime_ns == 1_760_000_010 * 10**9
        assert await drive.cat(f"{PATH}/big.bin") == BIG
        drive.asked()
        assert await drive.cat(f"{PATH}/big.bin") == BIG
        assert await drive.cat(f"{PATH}/a.pdf") == b"first"
        assert drive.asked() == []

    world.run(main)

    async def again(drive: Drive) -> None:
        assert await drive.cat(f"{PATH}/big.bin") == BIG
        assert await drive.cat(f"{PATH}/a.pdf") == b"first"
        assert [line for line in drive.asked() if "/id-" in line] == []

    world.run(again)
    world.run(again, offline=True)


def test_auto_falls_back_on_the_zip(world: World, files: list[FakeFile]) -> None:
    """``files = "auto"``: the API where it answers, the zip where it is refused."""
    world.set("providers.browserbase", files="auto")

    async def api(drive: Drive) -> None:
        assert "big.bin" in await drive.ls(PATH)

    async def fallback(drive: Drive) -> None:
        assert await drive.tree(PATH) == {"from-the-zip.txt": b"zip"}

    world.run(api)
    world.fakes.browserbase.files_api = 403
    world.cache = world.place / "another"
    world.run(fallback)


def test_form_is_kept_with_the_snapshot(world: World, files: list[FakeFile]) -> None:
    """A session kept in one form is not shown as the other after the setting changed."""

    async def names(drive: Drive) -> list[str]:
        return await drive.ls(PATH)

    assert "big.bin" in world.run(names)
    world.set("providers.browserbase", files="zip")
    assert world.run(names) == ["from-the-zip.txt"]


@pytest.mark.parametrize("index", [0, 2], ids=["small", "large"])
def test_wrong_checksum(world: World, files: list[FakeFile], index: int) -> None:
    """A file whose SHA-256 is not the listed one: EIO, and the others are well."""
    files[index] = replace(files[index], checksum="00" * 32)
    name = files[index].filename

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.cat(f"{PATH}/{name}")) == "EIO"
        assert await drive.cat(f"{PATH}/a (1).pdf") == b"second"

    world.run(main)


@pytest.mark.parametrize(("etags", "resumed"), [("strong", True), ("weak", False), (None, False)])
def test_broken_download_is_gone_on_with(
    world: World, files: list[FakeFile], etags: Literal["strong", "weak"] | None, resumed: bool
) -> None:
    """A large file whose body breaks off in the middle is read right all the same: by a part of the same version where
    a strong ETag proves that it is one, else from the start."""
    world.set("network", retries=2)
    world.fakes.browserbase.ranges, world.fakes.browserbase.etags = True, etags
    world.fakes.browserbase.inject(steps.Reset(1 << 20), times=1, path="id-3")

    async def main(drive: Drive) -> None:
        assert await drive.cat(f"{PATH}/big.bin") == BIG
        assert ["bytes=" in line for line in drive.asked() if "id-3" in line] == [False, resumed]

    world.run(main)


def test_two_versions_are_not_mixed(world: World, files: list[FakeFile]) -> None:
    """A file that changed while its download was broken, and of which nothing tells the version: ESTALE; who opens it
    again gets the new one."""
    world.fakes.browserbase.ranges, world.fakes.browserbase.etags = True, None
    files[2] = replace(files[2], checksum="")
    world.fakes.browserbase.inject(steps.Reset(1 << 20), times=1, path="id-3")

    async def main(drive: Drive) -> None:
        async with drive.file(f"{PATH}/big.bin") as handle:
            assert await handle.read(0) == BIG[:READ]
            assert await drive.error(handle.read(2 << 20)) == "EREMOTEIO"
            files[2] = replace(files[2], data=BIG[::-1])
            drive.later(3)
            assert await drive.error(handle.read(2 << 20)) == "ESTALE"
        assert await drive.cat(f"{PATH}/big.bin") == BIG[::-1]

    world.run(main)


def test_file_that_vanished(world: World, files: list[FakeFile]) -> None:
    """A file that is listed but gone: ENOENT for that file alone."""
    world.fakes.browserbase.inject(steps.Answer(404), times=None, path="id-1")

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.cat(f"{PATH}/a.pdf")) == "ENOENT"
        assert await drive.cat(f"{PATH}/a (1).pdf") == b"second"

    world.run(main)


def test_clean_names(world: World) -> None:
    """``clean_names`` takes the milliseconds off where the result is unique."""
    world.session(
        "browserbase", zip_of({"a-1719265797164.pdf": b"1", "b-1719265797164.md": b"2", "b-1719265797165.md": b"3"})
    )
    world.set("providers.browserbase", clean_names=True)

    async def main(drive: Drive) -> None:
        assert await drive.ls(PATH) == ["a.pdf", "b-1719265797164.md", "b-1719265797165.md"]
        assert await drive.cat(f"{PATH}/a.pdf") == b"1"

    world.run(main)


def test_redirected_zip(world: World) -> None:
    """A zip behind a redirect to another origin is read, in ranges, and no key goes there."""
    noise = os.urandom(6 << 20)
    world.session("browserbase", zip_of({"big.bin": noise, "a.txt": b"alpha"}, stored=True))
    world.fakes.browserbase.redirect = True

    async def main(drive: Drive) -> None:
        assert await drive.tree(PATH) == {"a.txt": b"alpha", "big.bin": noise}

    world.run(main)
    assert world.fakes.store.leaks() == []
    assert len(world.fakes.store.requests) > 1
