"""The end of a daemon that cannot end by itself: within seconds of a signal its mount is gone, and then it is."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from drives import World, zip_of
from faults.stuck import in_open, in_write
from mounts import ENDS, Daemon, needs_fuse, needs_root, until

from mountfs.cli.table import mount_at

pytestmark = needs_fuse
MOUNT = Callable[..., Daemon]


@pytest.fixture
def stuck(world: World, mount: MOUNT) -> Iterator[Daemon]:
    """A daemon one of whose threads waits for a file of the cache that does not come, as on a dead disk; and a program
    that waits for it in turn."""
    world.session("dari", zip_of({"a.txt": b"alpha"}))
    first = mount()
    assert (first.place / "dari" / "s_1" / "a.txt").read_bytes() == b"alpha"
    first.stop()
    for meta in world.cache.glob("v1/snapshots/*/meta"):
        meta.unlink()
        os.mkfifo(meta)
    world.config()
    daemon = Daemon(first.place.parent / "config.toml", first.place).start()
    reader = subprocess.Popen(["ls", daemon.place / "dari" / "s_1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: any(in_open(int(thread)) for thread in os.listdir(f"/proc/{daemon.pid}/task")))
        yield daemon
        assert b"No such" not in reader.communicate(timeout=ENDS)[1]
    finally:
        reader.kill()
        daemon.clear()
        reader.communicate()


def check_end(daemon: Daemon) -> None:
    """It ends though the thread is stuck, its mount is gone, and the log says where it hung."""
    assert daemon.wait() == 1
    assert mount_at(str(daemon.place)) is None
    assert os.listdir(daemon.place) == []
    assert "Timeout" in daemon.logged()


def test_a_signal_ends_a_daemon_with_a_stuck_thread(stuck: Daemon) -> None:
    stuck.send(signal.SIGTERM)
    check_end(stuck)


@needs_root
def test_an_unmount_from_outside_ends_a_daemon_with_a_stuck_thread(stuck: Daemon) -> None:
    """The connection is aborted under it; no signal comes."""
    subprocess.run(["umount", "-f", "-l", stuck.place], check=True)
    check_end(stuck)


class Muted(Daemon):
    """Its log is a pipe that is read no further than somebody wants."""

    def logged(self) -> str:
        return "(not read)"


def test_a_signal_ends_a_daemon_whose_loop_is_stuck(world: World, tmp_path: Path) -> None:
    """What reads its log has stopped, as a pager does, and the loop waits to write one line more. So does faulthandler,
    in the end: the alarm is what comes."""
    world.config()
    daemon = Muted(tmp_path / "config.toml", tmp_path / "drive")
    os.mkfifo(daemon.log)
    log = os.open(daemon.log, os.O_RDWR)
    try:
        fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, 4096)
        daemon.start()
        unknown = [str(daemon.place / "dari" / f"s_{number}") for number in range(200)]
        visitor = subprocess.Popen(["ls", *unknown], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: in_write(daemon.pid) and in_write(daemon.pid))
            daemon.send(signal.SIGTERM)
            assert daemon.wait() == -signal.SIGALRM
            assert mount_at(str(daemon.place)) is None
            visitor.wait(ENDS)
        finally:
            visitor.kill()
            visitor.wait()
    finally:
        daemon.clear()
        os.close(log)
