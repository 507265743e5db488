"""What must be right on this machine before a mount is tried, each with what to do; libfuse's own words are terse.

Concurrency: blocking, quick.
"""

from __future__ import annotations

import os
import shutil
import stat

from mountfs.cli.table import MountFailed
from mountfs.config import MountOptions

FUSE_DEVICE = "/dev/fuse"
FUSE_CONF = "/etc/fuse.conf"


def check_machine(options: MountOptions) -> None:
    """Raises MountFailed for the first thing that is missing."""
    if not os.path.exists(FUSE_DEVICE):
        raise MountFailed(
            f"{FUSE_DEVICE} is not there",
            advice="run: modprobe fuse; in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN; "
            "or use mountfs ls, cat and export, which need no FUSE",
        )
    if os.geteuid() == 0:
        return
    if not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        raise MountFailed(
            f"{FUSE_DEVICE} is closed to you (mode {stat.S_IMODE(os.stat(FUSE_DEVICE).st_mode):04o})",
            advice=f"as root, run: chmod 666 {FUSE_DEVICE}, as udev does; what protects a mount is fusermount3",
        )
    if not shutil.which("fusermount3"):
        raise MountFailed("fusermount3 is not installed", advice="run: apt-get install fuse3")
    if options.allow_other and not user_allow_other():
        raise MountFailed(
            "-o allow_other is for root alone on this machine", advice=f"add the line user_allow_other to {FUSE_CONF}"
        )


def user_allow_other(path: str = FUSE_CONF) -> bool:
    """Whether ordinary users may mount for others (mount.fuse3(8))."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return any(line.strip() == "user_allow_other" for line in file)
    except OSError:
        return False
