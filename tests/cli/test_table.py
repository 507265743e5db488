"""The mount table, and making a mountpoint ready."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mountfs.cli import table
from mountfs.cli.lock import hold, holder, wait_for_end
from mountfs.cli.table import Mount, MountFailed, canonical, clear, make, mounts, unmount
from mountfs.errors import ConfigError

MOUNTINFO = """\
22 28 0:20 / /sys rw,nosuid - sysfs sysfs rw
90 28 0:55 / /mnt/a\\040b\\134c rw,nosuid shared:1 - fuse.mountfs my\\040name rw,user_id=1000,group_id=1000
91 28 0:56 / /mnt/\\303\\274 ro - fuse.mountfs mountfs ro,user_id=0,group_id=0,allow_other
broken line
"""


def test_mountinfo(tmp_path: Path) -> None:
    """Octal escapes, optional fields and odd lines of the table are read as proc(5) has them."""
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTINFO)
    assert mounts(str(path))[1:] == [
        Mount("/mnt/a b\\c", "fuse.mountfs", "my name", 1000),
        Mount("/mnt/ü", "fuse.mountfs", "mountfs", 0),
    ]
    assert any(mount.path == "/" for mount in mounts())


def test_canonical(tmp_path: Path) -> None:
    """A mountpoint is known by one path, however it was written."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for written in ("real", "real/", "link", "real/../link/.", "./real"):
        assert canonical(f"{tmp_path}/{written}") == f"{tmp_path}/real"
    assert canonical(f"{tmp_path}/link/new") == f"{tmp_path}/real/new"


def test_make(tmp_path: Path) -> None:
    """The mountpoint is made if its parent is there; a file, or a path that cannot be, is refused."""
    make(str(tmp_path / "new"))
    assert (tmp_path / "new").is_dir()
    make(str(tmp_path / "new"))
    assert not clear(str(tmp_path / "new"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file: is not a directory"):
        make(str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"cannot be made: No such file or directory; run: mkdir -p"):
        make(str(tmp_path / "a" / "b"))


def test_unmounting_what_is_not_mounted(tmp_path: Path) -> None:
    """What the program says is passed on in one line."""
    with pytest.raises(MountFailed) as caught:
        unmount(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_lock_tells_who_lives(tmp_path: Path) -> None:
    """As long as a process holds the lock it is known by its pid; however it ends, the lock is free."""
    mountpoint = str(tmp_path / "m")
    program = (
        "import sys, signal\n"
        "from mountfs.cli.lock import hold\n"
        f"hold({mountpoint!r})\n"
        "print('held', flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert holder(mountpoint, None) == process.pid
        with pytest.raises(ConfigError, match=f"process {process.pid} is mounting or serving it"):
            hold(mountpoint)
        assert not wait_for_end(mountpoint, None, 0.05)
        process.kill()
    assert wait_for_end(mountpoint, None, 5)
    os.close(hold(mountpoint))


def test_a_file_system_that_answers(tmp_path: Path) -> None:
    """A probe tells a living file system from a dead one without hanging itself."""
    assert table.probe(str(tmp_path)) == table.ANSWERS
