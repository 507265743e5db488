"""The demo's one directory, and what is done about a demo that was killed before it could clean up.

All a demo makes lies in its directory, which it keeps locked while it lives (flock(2): the kernel lets go however the
process ends). Its mount names the directory as its source in the mount table, so that wherever it is mounted it is
known for the demo's, and nobody else's mount is ever touched. The next demo's start clears directories nobody has
locked: the mount, its daemon, the files.

Concurrency: blocking, each wait bounded. Demos that start at once may clear the same leftovers; that does no harm.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

from mountfs.cli.background import STOP_TIMEOUT
from mountfs.cli.lock import holder, wait_for_end
from mountfs.cli.table import Mount, MountFailed, mounts, unmount
from mountfs.config import mount_name, runtime_places

PREFIX = "mountfs-demo-"
LOCKED = "locked"
"""A file made once the directory is locked: one without it may belong to a demo that starts just now."""


@contextlib.contextmanager
def demo_directory() -> Iterator[str]:
    """A directory for one demo, removed at its end."""
    absent = [place for place in runtime_places(os.environ, os.geteuid()) if not os.path.exists(place)]
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as made:
            directory = os.path.realpath(made)
            with _locked(directory):
                yield directory
    finally:
        for place in absent:
            with contextlib.suppress(OSError):  # not made after all, or in use by others now
                os.rmdir(place)


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with open(os.path.join(directory, LOCKED), "x", encoding="ascii"):
            pass
        yield
    finally:
        os.close(descriptor)


def source_of(directory: str) -> str:
    """What the mount table shows as the device of this demo's mount."""
    return os.path.basename(directory)


def clear_leftovers() -> list[str]:
    """Clears what killed demos of this user left in the temporary directory; returns their directories."""
    found = sorted(glob.glob(os.path.join(os.path.realpath(tempfile.gettempdir()), PREFIX + "*")))
    return [directory for directory in found if _cleared(directory)]


def _cleared(directory: str) -> bool:
    """Clears one directory, unless its demo lives."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_uid != os.geteuid() or not os.path.exists(os.path.join(directory, LOCKED)):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for mount in mounts():
            if mount.source == source_of(directory):
                _end(mount)
                if mount.path.startswith(directory + "/"):
                    forget(mount.path)
        if any(mount.path.startswith(directory + "/") for mount in mounts()):
            return False  # it could not be unmounted, and nothing must be removed through it
        shutil.rmtree(directory, ignore_errors=True)
        return True
    finally:
        os.close(descriptor)


def _end(mount: Mount) -> None:
    """Ends a mount whose demo is gone, and its daemon if that still lives."""
    pid = holder(mount.path, mount)
    # Also while somebody's shell stands in it: its services are gone, and it shows nothing any more.
    with contextlib.suppress(MountFailed):
        unmount(mount.path, lazy=True)
    if not pid:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_for_end(mount.path, mount, STOP_TIMEOUT):
            return


def forget(place: str) -> None:
    """Removes the lock of a mountpoint nobody will use again; that of any other stays (``lock.py`` says why)."""
    for directory in runtime_places(os.environ, os.geteuid()):
        for path in glob.glob(os.path.join(glob.escape(directory), mount_name(place) + ".*")):
            with contextlib.suppress(OSError):
                os.unlink(path)
