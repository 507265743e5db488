"""What ``-o`` changes of a mount."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import World
from mounts import NOBODY, Daemon, needs_fuse, needs_root, sh
from zips import EXECUTABLE, Part, archive

from mountfs.cli.table import mount_at

pytestmark = [*needs_fuse, needs_root]

MOUNT = Callable[..., Daemon]


@pytest.fixture
def session(world: World) -> str:
    world.session("dari", archive(Part("a.txt", b"alpha"), Part("run.sh", b"#!/bin/sh\necho ran\n", mode=EXECUTABLE)))
    return "dari/s_1"


def test_umask_and_owner(session: str, mount: MOUNT) -> None:
    """``umask`` takes bits away, ``uid`` and ``gid`` say whose it all is."""
    place = mount("-o", "umask=0227,uid=12,gid=34").place / session
    for name, mode in (("", 0o550), ("a.txt", 0o440), ("run.sh", 0o550)):
        status = (place / name).stat()
        assert stat.S_IMODE(status.st_mode) == mode
        assert (status.st_uid, status.st_gid) == (12, 34)


def test_allow_other(session: str, world: World) -> None:
    """With ``allow_other`` other users may look in, without it they may not."""
    with tempfile.TemporaryDirectory(prefix="mountfs-other-") as name:
        os.chmod(name, 0o755)
        world.config()
        for words, outcome in ((("-o", "allow_other"), "alpha"), ((), "")):
            with Daemon(world.place / "config.toml", Path(name) / "drive", *words) as daemon:
                assert sh("cat", daemon.place / session / "a.txt", user=NOBODY, check=False).stdout == outcome


def test_noexec(session: str, mount: MOUNT) -> None:
    """With ``noexec`` nothing can be run from the mount, else a script can."""
    assert sh(mount(name="one").place / session / "run.sh").stdout == "ran\n"
    place = mount("-o", "noexec", name="two").place / session
    with pytest.raises(PermissionError):
        sh(place / "run.sh")


def test_table_tells(session: str, mount: MOUNT) -> None:
    """The mount table says read-only, nosuid, nodev, and what it is."""
    daemon = mount("-o", "ro,nosuid,nodev,noauto,user,_netdev,nofail,x-systemd.automount", name="drive")
    found = mount_at(str(daemon.place))
    assert found is not None
    assert found.fstype == "fuse.mountfs"
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if str(daemon.place) in line)
    assert {"ro", "nosuid", "nodev"} <= set(line.split()[5].split(","))
    assert os.statvfs(daemon.place).f_flag & os.ST_RDONLY
    assert session
