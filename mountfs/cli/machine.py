"""Examining this machine: FUSE, the kernel's settings, directories, the disk cache.

Nothing here touches the inside of a mount.

Concurrency: blocking, quick; each function stands alone.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator

from mountfs.cli.checks import FUSE_CONF, FUSE_DEVICE, user_allow_other
from mountfs.cli.finding import NOTE, OK, PROBLEM, Finding
from mountfs.cli.progress import size
from mountfs.cli.versions import libfuse
from mountfs.config import Config, runtime_directory, state_directory
from mountfs.errors import MountfsError

UPDATEDB = "/etc/updatedb.conf"
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"})
READ_AHEAD_KIB = 1024
MAX_BACKGROUND = 64
"""Fewer background requests than this let readers stuck on one provider hold up the others."""
CONNECTIONS = "/sys/fs/fuse/connections"


def fuse() -> Iterator[Finding]:
    """/dev/fuse, fusermount3, libfuse, user_allow_other."""
    root = os.geteuid() == 0
    if not os.path.exists(FUSE_DEVICE):
        yield Finding(
            FUSE_DEVICE,
            PROBLEM,
            "is not there",
            "run: modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN; ls and export work without",
        )
    elif not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        mode = stat.S_IMODE(os.stat(FUSE_DEVICE).st_mode)
        yield Finding(FUSE_DEVICE, PROBLEM, f"is closed to you (mode {mode:04o})", f"as root: chmod 666 {FUSE_DEVICE}")
    else:
        yield Finding(FUSE_DEVICE, OK, "is there and open to you")
    yield _fusermount(root=root)
    version = libfuse()
    if version == "not found":
        yield Finding("libfuse", NOTE, "its version is not known without fusermount3", "run: apt-get install fuse3")
    else:
        yield Finding(
            "libfuse",
            OK if version.startswith("3.") else PROBLEM,
            version,
            "" if version.startswith("3.") else "version 3 is needed",
        )
    if user_allow_other():
        yield Finding("user_allow_other", OK, f"set in {FUSE_CONF}")
    elif root:
        yield Finding("user_allow_other", OK, f"not set in {FUSE_CONF}; root needs none")
    else:
        advice = f"for -o allow_other as an ordinary user, add the line user_allow_other to {FUSE_CONF}"
        yield Finding("user_allow_other", NOTE, f"not set in {FUSE_CONF}", advice)


def _fusermount(*, root: bool) -> Finding:
    path = shutil.which("fusermount3")
    if path is None:
        return Finding(
            "fusermount3",
            NOTE if root else PROBLEM,
            "is not installed",
            "run: apt-get install fuse3 (root mounts without)",
        )
    status = os.stat(path)
    if not root and not (status.st_mode & stat.S_ISUID and status.st_uid == 0):
        return Finding(
            "fusermount3", PROBLEM, f"{path} is not setuid root", f"as root: chown root {path}; chmod 4755 {path}"
        )
    return Finding("fusermount3", OK, path)


def updatedb(path: str = UPDATEDB) -> Iterator[Finding]:
    """Whether the locate database would walk through every session."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            pruned = next((line for line in file if line.split("=")[0].strip() == "PRUNEFS"), "")
    except OSError:
        return
    if "fuse.mountfs" in pruned:
        yield Finding("updatedb", OK, f"passes mounts of mountfs ({path})")
    else:
        yield Finding("updatedb", NOTE, f"PRUNEFS in {path} does not name fuse.mountfs", "add fuse.mountfs to PRUNEFS")


def knobs(mountpoint: str, told: dict[str, str]) -> Iterator[Finding]:
    """The kernel's settings of one mount. ``told``: as its daemon saw them at the start, for what we may not read."""
    device = _devices().get(mountpoint, "")
    minor = device.partition(":")[2]
    read_ahead = _number(f"/sys/class/bdi/{device}/read_ahead_kb") or told.get("read_ahead_kb", "unknown")
    what = f"{mountpoint}: read-ahead"
    if read_ahead.isdigit() and int(read_ahead) >= READ_AHEAD_KIB:
        yield Finding(what, OK, f"{read_ahead} KiB")
    else:
        advice = (
            f"as root: echo {READ_AHEAD_KIB} > /sys/class/bdi/{device}/read_ahead_kb (twice the speed of long reads)"
        )
        yield Finding(what, NOTE, f"{read_ahead} KiB", advice)
    background = _number(f"{CONNECTIONS}/{minor}/max_background") or told.get("max_background", "unknown")
    what = f"{mountpoint}: max_background"
    if background.isdigit() and int(background) >= MAX_BACKGROUND:
        yield Finding(what, OK, background)
    elif background.isdigit():
        yield Finding(what, NOTE, background, f"as root: echo 4096 > {CONNECTIONS}/{minor}/max_background")
    else:
        yield Finding(what, NOTE, "not known", f"as root: mount -t fusectl none {CONNECTIONS}, then mount again")


def _number(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def _devices() -> dict[str, str]:
    """Mountpoint -> major:minor, for plain paths (proc(5)); the mount itself is not asked."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.split(" ", 5) for line in file]
    return {each[4]: each[2] for each in fields if len(each) == 6}


def directories() -> Iterator[Finding]:
    """Where the sockets and the logs lie."""
    for what, make in (("runtime directory", runtime_directory), ("state directory", state_directory)):
        try:
            yield Finding(what, OK, make(os.environ))
        except MountfsError as error:
            yield Finding(what, PROBLEM, error.message, error.advice)


def cache(config: Config) -> Iterator[Finding]:
    """The cache directory: ours, writable, with room."""
    path = config.cache.dir
    what = "cache directory"
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if there != path and os.access(there, os.W_OK):
        yield Finding(what, OK, f"{path}: will be made by the first mount")
    elif not os.path.isdir(there):
        yield Finding(what, PROBLEM, f"{there}: is not a directory", "point cache.dir at a directory of your own")
        return
    elif os.stat(there).st_uid not in (0, os.geteuid()):
        yield Finding(what, PROBLEM, f"{there}: belongs to another user", "point cache.dir at a directory of your own")
        return
    else:
        yield _writable(what, there)
    yield _room(config, there)
    kind = _file_system(there)
    if kind in NETWORK_FILE_SYSTEMS:
        yield Finding("cache disk", NOTE, f"{there} lies on {kind}", "a local disk is faster, and its locks are sure")


def _writable(what: str, path: str) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(4096))
    except OSError as error:
        return Finding(what, PROBLEM, f"{path}: {error.strerror}", "make it writable, or point cache.dir elsewhere")
    return Finding(what, OK, path)


def _room(config: Config, path: str) -> Finding:
    status = os.statvfs(path)
    free = status.f_bavail * status.f_frsize
    says = f"{size(free)} free, {size(config.cache.min_free)} of it are left to others"
    if free < config.cache.min_free:
        return Finding("cache disk", PROBLEM, says, "free some, lower cache.min_free, or point cache.dir elsewhere")
    return Finding("cache disk", OK, says)


def _file_system(path: str) -> str:
    """The type of the file system a path lies on; the longest mountpoint that is a part of it."""
    from mountfs.cli.table import mounts

    real = os.path.realpath(path)
    above = [mount for mount in mounts() if (real + "/").startswith(mount.path.rstrip("/") + "/")]
    return max(above, key=lambda mount: len(mount.path)).fstype if above else ""
