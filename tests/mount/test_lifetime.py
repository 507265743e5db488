"""The daemon's life: signals, an unmount from outside, a crash and the mount after it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from drives import World, zip_of
from mounts import Daemon, needs_fuse, sh, until

from mountfs.cli.table import mount_at
from mountfs.demo import steps
from mountfs.filesystem import Filesystem
from mountfs.filesystem.usage import Usage

pytestmark = needs_fuse

MOUNT = Callable[..., Daemon]
FILES = {"a.txt": b"alpha", "d/b.txt": b"beta"}
NOISE = os.urandom(8 << 20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_unmounts(world: World, mount: MOUNT, number: signal.Signals) -> None:
    """SIGINT and SIGTERM unmount, and the daemon ends with status 0."""
    world.session("dari", zip_of(FILES))
    daemon = mount()
    assert (daemon.place / "dari" / "s_1" / "a.txt").read_bytes() == b"alpha"
    daemon.send(number)
    assert daemon.wait() == 0
    assert mount_at(str(daemon.place)) is None
    assert os.listdir(daemon.place) == []


def test_signal_unmounts_though_in_use(world: World, mount: MOUNT) -> None:
    """An open file and a working directory inside do not keep the daemon from going; the file then fails, and no
    program hangs."""
    world.session("dari", zip_of(FILES))
    daemon = mount()
    user = subprocess.Popen(["sleep", "60"], cwd=daemon.place / "dari" / "s_1" / "d")
    try:
        descriptor = os.open(daemon.place / "dari" / "s_1" / "a.txt", os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # it came with the open
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
        assert mount_at(str(daemon.place)) is None
        with pytest.raises(OSError, match=r"not connected|connection abort"):
            os.pread(descriptor, 100, 0)
        with contextlib.suppress(OSError):  # closing it is told that nobody is there
            os.close(descriptor)
    finally:
        user.kill()
        user.wait()


def test_signal_ends_transfers_under_way(world: World, mount: MOUNT) -> None:
    """A transfer that stalls does not hold up the end."""
    world.session("kaizen", zip_of({"big.bin": NOISE}, stored=True))
    world.set("network", read_timeout="60s", deadline="60s")
    daemon = mount()
    sh("ls", daemon.place / "kaizen" / "s_1")
    world.fakes.store.inject(steps.Stall(100 << 10), times=None)
    reader = subprocess.Popen(["cat", daemon.place / "kaizen" / "s_1" / "big.bin"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: world.fakes.store.requests[-1].bytes_sent > 64 << 10)
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
        assert reader.wait(30) != 0
    finally:
        reader.kill()
        reader.wait()


def test_unmount_from_outside(world: World, mount: MOUNT) -> None:
    """``umount`` (or ``fusermount3 -u``) ends the daemon with status 0."""
    world.session("dari", zip_of(FILES))
    daemon = mount()
    sh("ls", daemon.place / "dari" / "s_1")
    sh("fusermount3", "-u", daemon.place)
    assert daemon.wait() == 0


def test_kill_leaves_enotconn_and_the_next_mount_recovers(world: World, mount: MOUNT) -> None:
    """A daemon that is killed leaves ENOTCONN (an empty directory would tell a mirror job to delete everything); the
    next mount clears that, and what was cached is there."""
    world.session("dari", zip_of(FILES))
    daemon = mount()
    sh("cat", daemon.place / "dari" / "s_1" / "a.txt")
    daemon.send(signal.SIGKILL)
    daemon.wait()
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        os.listdir(daemon.place)
    world.fakes.clear_requests()
    again = mount()
    assert (again.place / "dari" / "s_1" / "a.txt").read_bytes() == b"alpha"
    assert [fake.name for fake in world.fakes.all if fake.requests] == []


def test_kill_in_the_middle_of_a_download(world: World, mount: MOUNT) -> None:
    """Killed while an archive was coming, nothing half is believed by the next."""
    files = {"big.bin": NOISE}
    world.session("dari", zip_of(files))
    world.fakes.dari.bandwidth = 20e6
    daemon = mount()
    reader = subprocess.Popen(
        ["ls", daemon.place / "dari" / "s_1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: world.fakes.dari.bytes_sent() > 2 << 20)
    daemon.send(signal.SIGKILL)
    daemon.wait()
    reader.wait()
    world.fakes.dari.bandwidth = None
    again = mount()
    assert (again.place / "dari" / "s_1" / "big.bin").read_bytes() == NOISE


def test_ready_means_usable(world: World, mount: MOUNT) -> None:
    """When the daemon says that it is ready, the first access succeeds at once."""
    world.session("dari", zip_of(FILES))
    for _ in range(3):
        daemon = mount()
        assert sorted(os.listdir(daemon.place)) == ["browserbase", "dari", "kaizen"]
        daemon.stop()


def test_two_daemons_share_a_cache(world: World, mount: MOUNT) -> None:
    """Two mounts over one cache: the archive is downloaded once, and both read right."""
    world.session("dari", zip_of({"big.bin": NOISE, **FILES}))
    places: list[Path] = [mount(name=name).place for name in ("one", "two")]
    readers = [
        subprocess.Popen(["cmp", place / "dari" / "s_1" / "big.bin", "-"], stdin=subprocess.PIPE) for place in places
    ]
    for reader in readers:
        reader.communicate(NOISE, timeout=60)
    assert [reader.returncode for reader in readers] == [0, 0]
    assert sum("workspace.zip" in record.path for record in world.fakes.dari.requests) == 1


def test_unexpected_error_is_eio(caplog: pytest.LogCaptureFixture) -> None:
    """A bug behind a handler is EIO and a traceback in the log; the handler itself never raises anything else."""
    import pyfuse3
    import trio

    from mountfs.fuse import Operations, Owner, guarded

    class Broken(Operations):
        @guarded
        async def statfs(self, ctx: object) -> pyfuse3.StatvfsData:
            raise ZeroDivisionError("a bug")

    tree = cast("Filesystem", SimpleNamespace(nodes=None, usage=Usage()))
    broken = Broken(tree, Owner(0, 0, 0))

    with pytest.raises(pyfuse3.FUSEError) as failed:
        trio.run(broken.statfs, None)
    assert failed.value.errno == errno.EIO
    assert any(record.exc_info for record in caplog.records)
