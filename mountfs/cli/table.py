"""The mount table, and what to do with a mountpoint that is taken or dead.

Nothing here touches the inside of a mount that might hang: the table is read from /proc, whether a daemon lives is
asked of its lock (``lock.py``), and the one ``stat`` that tells a dead mount from a hung one is made by a child.

Concurrency: blocking, each wait bounded.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from mountfs.cli.lock import holder, wait_for_end
from mountfs.errors import ConfigError, MountfsError

FSTYPES = ("fuse.mountfs", "mountfs")
PROBE_TIMEOUT = 5.0
"""Seconds: a living daemon answers a stat of its root from memory."""
UNMOUNT_TIMEOUT = 30.0

DEAD, ANSWERS, HANGS = "dead", "answers", "hangs"
DEAD_WORDS = ("endpoint is not connected", "caused connection abort")
"""ENOTCONN; ECONNABORTED while the daemon's end of the connection is just being closed."""


class MountFailed(MountfsError):
    """Mounting or unmounting did not work."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table. ``uid``: who made a FUSE mount."""

    path: str
    fstype: str
    source: str
    uid: int


def mounts(path: str = "/proc/self/mountinfo") -> list[Mount]:
    """Every mount, in the order of the table (proc(5)); of two on one mountpoint the later one is seen."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return [parsed for line in file if (parsed := _parsed(line)) is not None]


def _parsed(line: str) -> Mount | None:
    mounted, _, described = line.rstrip("\n").partition(" - ")
    fields, kind = mounted.split(" "), described.split(" ")
    if len(fields) < 5 or len(kind) < 3:
        return None
    owner = re.search(r"\buser_id=(\d+)", kind[2])
    return Mount(_unescaped(fields[4]), kind[0], _unescaped(kind[1]), int(owner[1]) if owner else 0)


def _unescaped(text: str) -> str:
    raw = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), os.fsencode(text))
    return os.fsdecode(raw)


def mount_at(path: str) -> Mount | None:
    """The mount of ours on exactly this path, if there is one."""
    found = [each for each in mounts() if each.path == path]
    return found[-1] if found and found[-1].fstype in FSTYPES else None


def canonical(path: str) -> str:
    """The mountpoint as the table has it. Links are followed up to the last part, which is not touched if it is one
    of our mounts."""
    absolute = os.path.abspath(path)
    candidate = os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute))
    return candidate if mount_at(candidate) else os.path.realpath(absolute)


def clear(path: str) -> bool:
    """Clears a mount on ``path`` (canonical) whose daemon died; False if nothing is mounted there.

    Raises MountFailed if the mount is alive, or hangs.
    """
    mount = mount_at(path)
    if mount is None:
        return False
    state = probe(path)
    if state != DEAD:
        pid = holder(path, mount)
        who = f", by process {pid}" if pid else ""
        what = "" if state == ANSWERS else ", and does not answer"
        advice = f"mountfs umount {'' if state == ANSWERS else '--lazy '}{path}"
        raise MountFailed(f"{path}: already mounted{who}{what}", advice=advice)
    # A process that was killed a moment ago may still be on its way out.
    wait_for_end(path, mount, PROBE_TIMEOUT)
    try:
        unmount(path)
    except MountFailed:
        if mount_at(path) is not None:  # else somebody else cleared it just now
            raise
    return True


def make(path: str) -> None:
    """Makes the mountpoint if it is not there; its parent must be. Raises ConfigError if it is no directory."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if not os.path.isdir(path):
            raise ConfigError(f"{path}: is not a directory", advice="name a directory to mount on") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be made: {error.strerror}", advice=f"run: mkdir -p {path}, or name another directory"
        ) from None


def probe(path: str) -> str:
    """Whether a mount is DEAD (its daemon is gone), ANSWERS or HANGS."""
    environ = {**os.environ, "LC_ALL": "C"}
    process = subprocess.Popen(
        ["stat", "-f", "--", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ, text=True
    )
    try:
        _, complaint = process.communicate(timeout=PROBE_TIMEOUT)
    except subprocess.TimeoutExpired:
        # A process waiting for a stopped daemon may not even die of SIGKILL, so it is not waited for.
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        return HANGS
    return DEAD if any(words in complaint for words in DEAD_WORDS) else ANSWERS


def unmount(path: str, *, lazy: bool = False) -> None:
    """Unmounts ``path``. ``lazy``: also while it is in use. Raises MountFailed with what the program said."""
    if shutil.which("fusermount3"):
        words = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", path]
    elif os.geteuid() == 0:
        words = ["umount", *(["-l"] if lazy else []), "--", path]
    else:
        raise MountFailed("fusermount3 is not installed", advice="run: apt-get install fuse3")
    try:
        # In a process group of its own: an impatient Ctrl-C is for us, and must not stop it half-way.
        ended = subprocess.run(
            words, capture_output=True, text=True, timeout=UNMOUNT_TIMEOUT, check=False, process_group=0
        )
    except subprocess.TimeoutExpired:
        raise MountFailed(f"{path}: unmounting hangs", advice=f"run: mountfs umount --lazy {path}") from None
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or ["no reason given"])[-1].rpartition(": ")[2]
        busy = "busy" in said
        advice = f"end what uses it (fuser -vm {path}), or run: mountfs umount --lazy {path}" if busy else ""
        raise MountFailed(f"{path}: cannot be unmounted: {said}", advice=advice)
