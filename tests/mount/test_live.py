"""A session that is still at work, seen through the kernel's caches."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import World, zip_of
from mounts import Daemon, needs_fuse, sh, until

pytestmark = needs_fuse

MOUNT = Callable[..., Daemon]
OLD = {"same.txt": b"same", "log.txt": b"one\n", "d/x.txt": b"x", "gone.txt": b"gone", "kind": b"file"}
NEW = {"same.txt": b"same", "log.txt": b"one\ntwo\n", "d/x.txt": b"x", "d/y.txt": b"y", "kind/inner.txt": b"inner"}


@pytest.fixture(params=["validator", "none"])
def live(request: pytest.FixtureRequest, world: World, mount: MOUNT) -> Path:
    """A live session of Dari, with and without a validator, believed a short while."""
    session = world.session("dari", zip_of(OLD))
    session.status = "active"
    world.fakes.dari.etags = "strong" if request.param == "validator" else None
    world.set("freshness", live="0.2s", listing="0.2s")
    return mount().place / "dari" / "s_1"


def contents(place: Path) -> dict[str, bytes]:
    """Every file, as ``find`` and ``cat`` see them; a name that goes while we look is left out."""
    found = {}
    for where, _, names in os.walk(place):
        for name in names:
            path = Path(where, name)
            try:
                found[str(path.relative_to(place))] = path.read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                continue
    return found


def change(world: World, files: dict[str, bytes]) -> None:
    world.fakes.dari.sessions["s_1"].archive = zip_of(files)


def test_change_shows(world: World, live: Path) -> None:
    """New, changed and vanished files, and a file that became a directory, show after a while; the rest keeps its
    inodes."""
    assert contents(live) == OLD
    inodes = {name: (live / name).stat().st_ino for name in ("same.txt", "log.txt", "d", "kind")}
    change(world, NEW)
    until(lambda: contents(live) == NEW)
    until(lambda: not (live / "gone.txt").exists())  # the kernel may believe a name as long as it was told
    assert (live / "same.txt").stat().st_ino == inodes["same.txt"]
    assert (live / "d").stat().st_ino == inodes["d"]
    assert (live / "log.txt").stat().st_ino != inodes["log.txt"]
    assert sh("cat", live / "log.txt").stdout == "one\ntwo\n"


def test_working_directory_lives_on(world: World, live: Path) -> None:
    """A shell whose working directory is in a session that changes goes on working there."""
    with subprocess.Popen(
        ["sh", "-c", "cat x.txt; read _; pwd -P; cat x.txt y.txt"],
        cwd=live / "d",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as shell:
        change(world, NEW)
        until(lambda: contents(live) == NEW)
        out, _ = shell.communicate("\n", timeout=30)
    assert out == f"x{live / 'd'}\nxy"


def test_open_file_keeps_its_version(world: World, live: Path) -> None:
    """A file that is open shows its own version to its end, whatever is under the name now."""
    with (live / "log.txt").open("rb", buffering=0) as file:
        change(world, NEW)
        until(lambda: (live / "log.txt").read_bytes() == NEW["log.txt"])
        assert os.fstat(file.fileno()).st_size == len(OLD["log.txt"])
        assert file.read() == OLD["log.txt"]


def test_many_changes(world: World, live: Path) -> None:
    """Whatever is read belongs to one of the versions there were, whole; never a mixture."""
    versions = [{"a.txt": b"%d\n" % number * (number + 1), "b.txt": b"%d" % number} for number in range(8)]
    seen = set()
    for version in versions:
        change(world, version)

        def shown(version: dict[str, bytes] = version) -> bool:
            try:
                data = (live / "a.txt").read_bytes()
            except FileNotFoundError:
                return False
            assert data in {OLD.get("a.txt"), *(each["a.txt"] for each in versions)}
            seen.add(data)
            return data == version["a.txt"]

        until(shown)
        assert (live / "b.txt").read_bytes() in {each["b.txt"] for each in versions}
    assert seen >= {versions[-1]["a.txt"]}


def test_not_ready_then_ready(world: World, mount: MOUNT) -> None:
    """A session that is not ready can be seen but not entered; as soon as it is ready, it can."""
    session = world.session("dari", zip_of(OLD))
    session.ready = False
    world.set("freshness", pending="0.1s")
    place = mount().place / "dari" / "s_1"
    assert place.is_dir()
    refused = sh("ls", place, check=False)
    assert "Device or resource busy" in refused.stderr
    session.ready = True
    until(lambda: sh("ls", place, check=False).returncode == 0)
    assert contents(place) == OLD


def test_new_session_shows(world: World, mount: MOUNT) -> None:
    """A session that begins shows in the listing after a while, one that goes is not there any more when it is
    entered."""
    world.session("dari", zip_of(OLD), pinned=False)
    world.set("freshness", listing="0.1s", absent="0.1s", live="0.1s")
    place = mount().place / "dari"
    assert os.listdir(place) == ["s_1"]
    world.session("dari", zip_of(NEW), pinned=False, number=2)
    until(lambda: sorted(os.listdir(place)) == ["s_1", "s_2"])
    assert contents(place / "s_2") == NEW
    del world.fakes.dari.sessions["s_1"]
    until(lambda: os.listdir(place) == ["s_2"])
