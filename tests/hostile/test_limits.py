"""The limits of the configuration: EFBIG, in words that name the setting; and archives made to exhaust."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest
from drives import READ, Drive, World
from zips import Part, archive, end, many

KERNEL = Part("k", b"x" * 5000, method=8)
MIB = 1 << 20


def bomb_of_zeros(size: int) -> bytes:
    """A deflate stream of so many zeros, a thousandth as long: one piece over and over (RFC 1951: blocks after a full
    flush depend on nothing before)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(16 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * (size // (16 * MIB)) + b"\x03\x00"


def only_line(caplog: pytest.LogCaptureFixture, setting: str) -> None:
    """One line, which names the setting."""
    (line,) = [line for line in caplog.messages if line.startswith("kaizen/s_1")]
    assert setting in line


ARCHIVES = {
    "max_members": ({"max_members": 99}, archive(*many(100))),
    "max_archive_size": ({"max_archive_size": "8KiB"}, archive(*many(200))),
    "max_directory_size": ({"max_directory_size": "1KiB"}, archive(*many(100))),
}
MEMBERS = {
    "max_member_size": ({"max_member_size": "4KiB"}, Part("m", b"x" * 4097, method=8)),
    "max_ratio": ({"max_ratio": 100}, Part("m", bytes(2 * MIB), method=8)),
}


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
@pytest.mark.parametrize("setting", ARCHIVES)
def test_archive(world: World, caplog: pytest.LogCaptureFixture, setting: str, ranges: bool) -> None:
    """An archive over a limit is EFBIG as a whole, and is not asked for again while that is believed."""
    limits, data = ARCHIVES[setting]
    world.set("limits", **limits)
    world.session("kaizen", data)
    world.fakes.store.ranges = ranges

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("kaizen/s_1")) == "EFBIG"
        drive.asked()
        assert await drive.error(drive.stat("kaizen/s_1/a")) == "EFBIG"
        assert drive.asked() == []

    world.run(main)
    only_line(caplog, setting)


@pytest.mark.parametrize("setting", ARCHIVES)
def test_archive_at_its_limit(world: World, setting: str) -> None:
    """Exactly at a limit is not over it."""
    _, data = ARCHIVES[setting]
    directory = len(data) - 22 - data.index(b"PK\1\2")
    members = data.count(b"PK\1\2")
    world.set("limits", max_members=members, max_archive_size=f"{len(data)}B", max_directory_size=f"{directory}B")
    world.session("kaizen", data)

    async def main(drive: Drive) -> None:
        assert len(await drive.ls("kaizen/s_1")) == members

    world.run(main)


@pytest.mark.parametrize("setting", MEMBERS)
def test_member(world: World, caplog: pytest.LogCaptureFixture, setting: str) -> None:
    """A member over a limit is listed, EFBIG at its open, logged once; its neighbour is well. Nothing of it is
    fetched."""
    limits, part = MEMBERS[setting]
    world.set("limits", **limits)
    world.session("kaizen", archive(part, Part("ok", b"ok"), Part("pad", bytes(range(256)) * 20_000)))

    async def main(drive: Drive) -> None:
        assert (await drive.stat("kaizen/s_1/m")).size == len(part.data)
        drive.asked()
        for _ in range(3):
            assert await drive.error(drive.cat("kaizen/s_1/m")) == "EFBIG"
        assert drive.asked() == []
        assert await drive.cat("kaizen/s_1/ok") == b"ok"

    world.run(main)
    only_line(caplog, setting)


# -- made to exhaust -----------------------------------------------------------------------------------------------


def test_a_gigabyte_in_a_megabyte(world: World) -> None:
    """It is read as far as somebody reads; its head costs a window, on the line and on the disk."""
    bomb = Part("bomb", b"", method=8, compressed=bomb_of_zeros(1 << 30), size=1 << 30, crc=0)
    world.session("kaizen", archive(bomb, Part("pad", bytes(range(256)) * 20_000)))

    async def main(drive: Drive) -> None:
        async with drive.file("kaizen/s_1/bomb") as handle:
            assert handle.size == 1 << 30
            assert await handle.read(0) == bytes(READ)
            assert await handle.read(MIB) == bytes(READ)
            assert sum(file.stat().st_blocks * 512 for file in world.cache.rglob("*") if file.is_file()) < 32 * MIB

    world.run(main)


def test_ten_thousand_overlapping_members(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Every one is EIO, with one line for all and one for each that was opened."""
    parts = [replace(KERNEL, name=f"{n}", local_omitted=True, offset=n % 20) for n in range(10_000)]
    world.session("kaizen", archive(KERNEL, *parts, Part("pad", b"p" * 100), Part("ok", b"ok")))

    async def main(drive: Drive) -> None:
        assert len(await drive.ls("kaizen/s_1")) == 10_003
        for number in range(5):
            assert await drive.error(drive.cat(f"kaizen/s_1/{number}")) == "EIO"
        assert await drive.cat("kaizen/s_1/ok") == b"ok"

    world.run(main)
    assert len([line for line in caplog.messages if line.startswith("kaizen/s_1")]) == 6


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
def test_more_members_than_the_end_record_can_count(world: World, ranges: bool) -> None:
    """65,540 members without zip64, as old writers leave them: counted modulo 65,536, all of them shown."""
    world.session("kaizen", archive(*many(65_540, directories=7)))
    world.fakes.store.ranges = ranges

    async def main(drive: Drive) -> None:
        assert sum([len(await drive.ls(f"kaizen/s_1/dir{number:04d}")) for number in range(7)]) == 65_540
        assert await drive.cat("kaizen/s_1/dir0005/file-0065539.txt") == b"65539\n"

    world.run(main)


@pytest.mark.parametrize("claim", [{"count": 2**62}, {"size": 2**62}, {"offset": 2**62}], ids=str)
def test_claims_of_2_to_the_62(world: World, claim: dict[str, int]) -> None:
    """What an end record claims costs nothing."""
    world.session("kaizen", archive(KERNEL, end64=True, **claim))

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("kaizen/s_1")) == "EIO"

    world.run(main)


def test_long_names_and_deep_paths(world: World) -> None:
    """Names of 65,535 bytes are cut, paths of 2,000 levels are hidden, those of 256 are shown."""
    long = [Part(b"%04d" % n + b"n" * 65_531) for n in range(50)]
    deep = [Part(b"%04d/" % n + b"/".join([b"d"] * 1999)) for n in range(50)]
    fine = [Part(b"%04d/" % n + b"/".join([b"d"] * 255), b"bottom") for n in range(100)]
    world.session("kaizen", archive(*long, *deep, *fine))

    async def main(drive: Drive) -> None:
        names = await drive.ls("kaizen/s_1")
        assert len(names) == 150
        assert all(len(name) <= 255 for name in names)
        assert await drive.cat("kaizen/s_1/0007/" + "d/" * 254 + "d") == b"bottom"

    world.run(main)


def test_more_directories_than_are_kept(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Deep paths cost two bytes a level in an archive, and hundreds here: over a million directories is EFBIG."""
    raw = b"".join(
        struct.pack("<4sBB5H3L5H2L", b"PK\1\2", 30, 3, 20, 0, 0, 0, 33, 0, 0, 0, 514, 0, 0, 0, 0, 0o40755 << 16, 0)
        + b"%04x" % n
        + b"/d" * 255
        for n in range(4200)
    )
    world.session("kaizen", raw + end(4200, len(raw), 0))

    async def main(drive: Drive) -> None:
        assert await drive.error(drive.ls("kaizen/s_1")) == "EFBIG"

    world.run(main)
    only_line(caplog, "directories")
