"""What programs cost, in requests, by the fakes' own record, with the kernel's caches in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import World, id_of, zip_of
from mounts import Daemon, needs_fuse, sh

pytestmark = needs_fuse

FILES = {f"d{number % 7}/f{number:03}.txt": b"%d\n" % number * 40 for number in range(200)}
NOISE = os.urandom(6 << 20)
MOUNT = Callable[..., Daemon]


def asked(world: World) -> list[str]:
    """Every request since the last look."""
    lines = []
    for fake in world.fakes.all:
        for record in fake.requests:
            span = f" {record.range}" if record.range else ""
            lines.append(f"{fake.name} {record.method} {record.path}{span}")
    world.fakes.clear_requests()
    return lines


@pytest.mark.parametrize("provider", ["dari", "browserbase"])
def test_without_ranges(world: World, mount: MOUNT, provider: str) -> None:
    """One listing; one question and one archive for ``ls`` of a session; nothing for the files, nor the second
    time."""
    world.session(provider, zip_of(FILES), pinned=False)
    drive = mount().place
    assert asked(world) == []
    sh("ls", "-l", drive / provider)
    assert asked(world) == [f"{provider} GET /v1/sessions"]
    session = drive / provider / id_of(provider)
    sh("ls", "-lR", session)
    archive = "workspace.zip" if provider == "dari" else "downloads"
    told = asked(world)
    assert [line for line in told if archive in line] == [
        f"{provider} GET /v1/sessions/{id_of(provider)}/{archive} bytes=-262144"
    ]
    assert len(told) <= 2
    sh("cat", session / "d0" / "f000.txt")
    sh("grep", "-r", "17", session)
    sh("tar", "-cf", "/dev/null", "-C", session, ".")
    assert asked(world) == []


def test_with_ranges(world: World, mount: MOUNT) -> None:
    """Of a large archive behind a signed URL: one URL and its end for ``ls -R``, one range for a ``cat``, and none
    for the second; a probed name costs nothing."""
    world.session("kaizen", zip_of({**FILES, "big.bin": NOISE}, stored=True))
    drive = mount().place
    sh("ls", "-l", drive / "kaizen")
    assert asked(world) == []
    session = drive / "kaizen" / "s_1"
    sh("ls", "-lR", session)
    assert asked(world) == [
        "kaizen POST /agents/session/getFileArchiveUrl",
        "store GET /archives/s_1.zip bytes=-262144",
    ]
    for name in (".git", "HEAD", ".hidden", "package.json"):
        sh("ls", drive / "kaizen" / name, check=False)
    assert asked(world) == []
    wanted = session / "d3" / "f003.txt"
    sh("cat", wanted)
    told = asked(world)
    assert len(told) == 1
    assert told[0].startswith("store GET /archives/s_1.zip bytes=")
    start, stop = map(int, told[0].rpartition("=")[2].split("-"))
    assert stop - start < 256 << 10
    sh("cat", wanted)
    assert asked(world) == []


def test_small_archive_is_fetched_whole_at_the_first_need(world: World, mount: MOUNT) -> None:
    """An archive of a few MiB: its end for ``ls``, then everything in one range, whatever is read."""
    world.session("kaizen", zip_of({**FILES, "noise.bin": NOISE[: 2 << 20]}, stored=True))
    drive = mount().place
    session = drive / "kaizen" / "s_1"
    sh("ls", "-R", session)
    asked(world)
    sh("grep", "-r", "17", session, check=False)
    assert len(asked(world)) <= 2
    sh("cp", "-r", session, drive.parent / "copy")
    assert asked(world) == []


def test_bulk_copy_moves_each_byte_once(world: World, mount: MOUNT) -> None:
    """``cp -r`` of an archive with ranges: few requests, and hardly more bytes than it has."""
    files = {
        f"d{number % 20}/f{number:03}.bin": NOISE[number * 20_000 : (number + 1) * 20_000] for number in range(300)
    }
    data = zip_of(files, stored=True)
    world.session("kaizen", data)
    drive = mount().place
    sh("cp", "-r", drive / "kaizen" / "s_1", drive.parent / "copy")
    for name, content in files.items():
        assert (drive.parent / "copy" / name).read_bytes() == content
    assert world.fakes.store.bytes_sent() < len(data) * 1.2 + (1 << 20)
    assert len(world.fakes.store.requests) < 40


def test_remount_costs_nothing(world: World, mount: MOUNT) -> None:
    """After a restart everything that was read is there without a request, also with ``--offline``."""
    for provider in ("kaizen", "dari"):
        world.session(provider, zip_of(FILES))
    first = mount()
    for provider in ("kaizen", "dari"):
        sh("grep", "-r", "17", first.place / provider / "s_1")
    first.stop()
    asked(world)
    for words in ((), ("--offline",)):
        daemon = mount(*words)
        for provider in ("kaizen", "dari"):
            told = sh("grep", "-rh", "17", daemon.place / provider / "s_1").stdout
            assert told.count("17\n") >= 40
        daemon.stop()
    assert asked(world) == []


def test_unlisted_session(world: World, mount: MOUNT) -> None:
    """``cd`` into an id nobody listed costs one question, and the kernel asks no second time for one that is not
    there."""
    world.session("dari", zip_of(FILES), pinned=False)
    drive = mount().place
    assert (drive / "dari" / "s_1" / "d0").is_dir()
    told = asked(world)
    assert len(told) == 2
    assert "dari GET /v1/sessions" not in told
    for _ in range(3):
        assert not (drive / "dari" / "s_2").exists()
    assert asked(world) == ["dari GET /v1/sessions/s_2"]


def test_a_copy_is_foreseen(world: World, mount: MOUNT, tmp_path: Path) -> None:
    """Members that lie in the archive in any order but the copy's: nearly none is waited for, once it is seen to be a
    copy, although each request takes a while; and every byte comes once."""
    files = [(f"d{number % 12:02}/f{number:03}", NOISE[number * 1000 :][:60_000]) for number in range(600)]
    archive = zip_of(dict(files), stored=True)
    world.session("kaizen", archive)
    world.fakes.store.latency = 0.15
    daemon = mount()
    session = daemon.place / "kaizen" / "s_1"
    sh("cp", "-r", f"{session}/.", tmp_path / "copy")
    assert {name: (tmp_path / "copy" / name).read_bytes() for name, _ in files} == dict(files)
    ranges = [line.rpartition("=")[2] for line in asked(world) if "bytes=" in line]
    spans = [tuple(map(int, each.split("-"))) for each in ranges if not each.startswith("-")]
    assert sum(stop + 1 - start for start, stop in spans) + (256 << 10) <= 1.02 * len(archive)
    assert len(ranges) <= 40
    facts = daemon.status()["filesystem"]
    assert facts["opens"] == len(files)
    assert facts["opens_waited"] <= 30
