"""The daemon's lock: a file in the runtime directory, locked as long as the process that serves a mount lives.

The kernel releases it however that process ends, so it tells a living daemon from a dead one without a guess by pid,
and waiting for the lock is waiting for the daemon's end. The file is left where it is: removing it would race.

Concurrency: flock(2) belongs to the open file, so one process may hold it in any thread; other processes see it.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from mountfs.config import mount_name, runtime_directory, runtime_places
from mountfs.errors import ConfigError

if TYPE_CHECKING:
    from mountfs.cli.table import Mount

POLL = 0.02
"""Seconds between two looks at a lock: flock(2) cannot wait with a time limit."""


def hold(mountpoint: str) -> int:
    """Takes the lock of ``mountpoint`` (canonical). Returns its descriptor, which the daemon keeps to its very end: who
    waits for the lock waits for the process. Raises ConfigError if another process has it."""
    path = os.path.join(runtime_directory(os.environ), mount_name(mountpoint) + ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise ConfigError(
            f"{mountpoint}: process {pid} is mounting or serving it", advice=f"mountfs umount {mountpoint}"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def holder(mountpoint: str, mount: Mount | None) -> int | None:
    """The process that serves ``mountpoint``, or None. ``mount``: its line in the table, which names its user."""
    for path in _candidates(mountpoint, mount):
        pid = locked_by(path)
        if pid is not None:
            return pid
    return None


def wait_for_end(mountpoint: str, mount: Mount | None, timeout: float) -> bool:
    """Waits until no process serves ``mountpoint``; False if one still does after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while holder(mountpoint, mount) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL)
    return True


def _candidates(mountpoint: str, mount: Mount | None) -> list[str]:
    """Where the lock may lie: in our own runtime directory, or in that of the user who mounted."""
    uids = dict.fromkeys([os.geteuid(), *([mount.uid] if mount else [])])
    directories = dict.fromkeys(place for uid in uids for place in runtime_places(os.environ, uid))
    return [os.path.join(each, mount_name(mountpoint) + ".lock") for each in directories]


def locked_by(path: str) -> int | None:
    """The process that holds the lock at ``path`` (0 if it has not said which); None if nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None
