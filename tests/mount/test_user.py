"""An ordinary user mounts by way of fusermount3: everything a person does, without root's rights."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from drives import World, zip_of
from mounts import NOBODY, Daemon, needs_fuse, needs_root, python_of, sh, until

from mountfs.cli.table import mount_at
from mountfs.demo.samples import SAMPLES
from mountfs.demo.server import Fakes

pytestmark = [*needs_fuse, needs_root]


@pytest.fixture(scope="module")
def open_device() -> Iterator[None]:
    """udev gives /dev/fuse the mode 0666; where nobody did, it is so for as long as these tests run."""
    before = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)
    try:
        yield
    finally:
        os.chmod("/dev/fuse", before)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the user's own; pytest's are closed to others."""
    if python_of(NOBODY) is None:
        pytest.skip("no Python here that another user may run")
    with tempfile.TemporaryDirectory(prefix="mountfs-user-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield Path(name)


def give(place: Path) -> None:
    """All of it belongs to the user."""
    for path in (place, *place.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)


def test_ordinary_user(open_device: None, place: Path, tmp_path: Path) -> None:
    """An ordinary user mounts a session, reads it with the usual tools, may not write, and unmounts; root is kept
    out."""
    sample = next(sample for sample in SAMPLES if sample.id == "sess_research")
    with Fakes(tmp_path / "archives", pending=0.0) as fakes:
        World(fakes, place).config()
        (place / "drive").mkdir()
        give(place)
        with Daemon(place / "config.toml", place / "drive", user=NOBODY) as daemon:
            session = place / "drive" / "dari" / sample.id
            assert "README.md" in sh("ls", "-l", session, user=NOBODY).stdout
            told = sh("stat", "-c", "%u %g", session / "README.md", user=NOBODY).stdout
            assert told.split() == [str(NOBODY), str(NOBODY)]
            (tmp_path / "out").mkdir()
            sh("unzip", "-q", sample.archive(tmp_path / "archives"), "-d", tmp_path / "out")
            copy = place / "copy"
            sh("cp", "-a", session, copy, user=NOBODY)
            sh("diff", "-r", "--no-dereference", tmp_path / "out" / sample.root, copy)
            refused = sh("touch", session / "new", user=NOBODY, check=False)
            assert "Read-only file system" in refused.stderr
            assert "Permission denied" in sh("ls", place / "drive", check=False).stderr
            mounted = mount_at(str(place / "drive"))
            assert mounted is not None
            assert mounted.uid == NOBODY
            sh("fusermount3", "-u", place / "drive", user=NOBODY)
            assert daemon.wait() == 0


def test_user_signal_and_crash(open_device: None, place: Path) -> None:
    """SIGTERM unmounts for an ordinary user too, and the mount after a crash recovers."""
    with Fakes() as fakes:
        world = World(fakes, place)
        world.session("dari", zip_of({"a.txt": b"alpha"}))
        world.config()
        (place / "drive").mkdir()
        give(place)
        with Daemon(place / "config.toml", place / "drive", user=NOBODY) as daemon:
            assert sh("cat", place / "drive" / "dari" / "s_1" / "a.txt", user=NOBODY).stdout == "alpha"
            daemon.send(signal.SIGKILL)
            daemon.wait()
            assert "not connected" in sh("ls", place / "drive", user=NOBODY, check=False).stderr
            again = Daemon(place / "config.toml", place / "drive", user=NOBODY)
            with again:
                assert sh("cat", place / "drive" / "dari" / "s_1" / "a.txt", user=NOBODY).stdout == "alpha"
            assert mount_at(str(place / "drive")) is None


def test_user_is_not_stuck(open_device: None, place: Path) -> None:
    """An ordinary user's program stuck on a silent service ends at a signal."""
    from mountfs.demo.faults import Mode, Proxy

    with Fakes() as fakes, Proxy(fakes.dari.url) as hole:
        world = World(fakes, place)
        world.session("dari")
        world.set("providers.dari", base_url=hole.url)
        world.set("network", deadline="60s", lookup_timeout="60s", read_timeout="60s")
        world.config()
        (place / "drive").mkdir()
        give(place)
        with Daemon(place / "config.toml", place / "drive", user=NOBODY):
            hole.mode = Mode.BLACK_HOLE
            command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", "ls"]
            stuck = subprocess.Popen([*command, place / "drive" / "dari" / "s_1"], stdout=subprocess.DEVNULL)
            until(lambda: hole.connections > 0)
            stuck.send_signal(signal.SIGINT)
            assert stuck.wait(5) == -signal.SIGINT
            hole.mode = Mode.SERVE
