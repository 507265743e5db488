"""``mountfs-opener``: what ``mountfs@.service`` needs root for, and nothing else. Run by systemd, in no sandbox.

    open     clears what a dead daemon left, opens /dev/fuse, mounts, and gives the descriptor to systemd's store, from
             where the daemon gets it (``notify``); the mount is made in the machine's own mount namespace, so
             everybody sees it, and the daemon that serves it may have a namespace and no capability of its own
    tune     raises read-ahead, once the daemon has answered INIT
    close    unmounts, after a clean stop. After a failure the dead mount stays: its ENOTCONN tells a mirror job that
             something is wrong, an empty directory would tell it to delete everything

It runs as root, so it loads the standard library alone, reads no file that others can write, and takes nothing from
the daemon. The daemon's user is the owner of the unit's RuntimeDirectory=, for a dynamic user has no fixed number.

Concurrency: one thread, every wait bounded.
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mountfs.knobs import tune as raise_knobs
from mountfs.service.notify import FUSE_NAME, Notifier

FUSE_DEVICE = "/dev/fuse"
FSTYPE = "fuse.mountfs"
PROBE_TIMEOUT = 5.0
MANAGER = "/proc/1/ns/mnt"
HIDDEN = ("/tmp", "/var/tmp", "/home", "/root", "/run/user", "/dev", "/proc", "/sys")  # noqa: S108 - refused, not used
"""Where the sandbox shows the daemon something else, so that its watchdog could not see the mount."""

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME = 1, 2, 4, 8, 1024
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CLONE_NEWNS = 0x20000
FAILED, WRONG_CALL = 1, 2


class OpenerError(Exception):
    """Its text is the one line that is shown."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of the mount table. ``device``: its st_dev, known without asking the mount."""

    fstype: str
    device: int


def mounted_at(path: str, table: str = "/proc/self/mountinfo") -> Mounted | None:
    """What is mounted on exactly this path, the topmost (proc(5)); the mount itself is not touched."""
    found = None
    with open(table, "rb") as file:
        for line in file:
            fields, _, described = line.partition(b" - ")
            words, kind = fields.split(b" "), described.split(b" ")
            if len(words) > 4 and _unescaped(words[4]) == os.fsencode(path):
                major, minor = words[2].split(b":")
                found = Mounted(kind[0].decode(), os.makedev(int(major), int(minor)))
    return found


def _unescaped(word: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), word)


def mount_data(descriptor: int, uid: int, gid: int) -> str:
    """The kernel's own options of a FUSE mount (Documentation/filesystems/fuse.rst)."""
    return f"fd={descriptor},rootmode=40000,user_id={uid},group_id={gid},allow_other,default_permissions"


def mount_flags(words: Sequence[str]) -> int:
    """mount(2)'s flags. ``words``: those of ``-o``, of which noexec alone is the kernel's; the daemon checks them."""
    return MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME | (MS_NOEXEC if "noexec" in words else 0)


def place_of(mountpoint: str) -> str:
    """The mountpoint as the table has it. Raises OpenerError for one the sandboxed daemon could not see."""
    parent, name = os.path.split(os.path.abspath(mountpoint))
    path = os.path.join(os.path.realpath(parent), name)
    for hidden in HIDDEN:
        if path == hidden or path.startswith(hidden + "/"):
            raise OpenerError(f"{mountpoint}: the service is shown a {hidden} of its own; mount elsewhere, as in /srv")
    return path


def reachable(path: str) -> None:
    """Raises OpenerError for a mountpoint the daemon's user, or anybody, cannot come to."""
    parent = path
    while parent != "/":
        parent = os.path.dirname(parent)
        if not os.stat(parent).st_mode & stat.S_IXOTH:
            raise OpenerError(f"{path}: {parent} is closed to others; run: chmod o+x {parent}, or mount elsewhere")


def open_mount(mountpoint: str, words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Mounts, and hands the descriptor to systemd. Raises OpenerError, OSError."""
    notifier = Notifier(environ.get("NOTIFY_SOCKET", ""))
    if not notifier:
        raise OpenerError("NOTIFY_SOCKET is not set: this is a part of mountfs@.service (NotifyAccess=exec)")
    path = place_of(mountpoint)
    forget(notifier)
    clear(path)
    if mounted_at(path) is None:
        os.umask(0o022)  # the unit's would close the mountpoint to everybody
        os.makedirs(path, exist_ok=True)
    reachable(path)
    owner = os.stat(environ.get("RUNTIME_DIRECTORY") or "/")
    source = next((word.removeprefix("fsname=") for word in words if word.startswith("fsname=")), "mountfs")
    descriptor = os.open(FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        mount(source, path, mount_flags(words), mount_data(descriptor, owner.st_uid, owner.st_gid))
        # FDPOLL=0 is not said: systemd drops a descriptor whose connection is gone by itself.
        told = notifier.tell("FDSTORE=1", f"FDNAME={FUSE_NAME}", descriptors=[descriptor])
        if not told or not notifier.barrier():
            unmount(path)
            raise OpenerError("systemd does not take the descriptor (FileDescriptorStoreMax=1, NotifyAccess=exec)")
    finally:
        os.close(descriptor)


def tune_mount(mountpoint: str, _words: Sequence[str], _environ: Mapping[str, str]) -> None:
    """Raises the kernel's settings of the mount; that one cannot be raised costs speed alone."""
    found = mounted_at(place_of(mountpoint))
    if found is not None and found.fstype == FSTYPE:
        raise_knobs(found.device)


def close_mount(mountpoint: str, _words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Unmounts after a clean stop, in use or not; after a failure leaves the dead mount where it is."""
    notifier = Notifier(environ.get("NOTIFY_SOCKET", ""))
    path = place_of(mountpoint)
    if environ.get("SERVICE_RESULT", "success") == "success":
        while (found := mounted_at(path)) is not None and found.fstype == FSTYPE:
            unmount(path)
    forget(notifier)


def forget(notifier: Notifier) -> None:
    """Takes the descriptor out of systemd's store: held there, a mount nobody serves would hang its users."""
    notifier.tell("FDSTOREREMOVE=1", f"FDNAME={FUSE_NAME}")
    notifier.barrier()


def clear(path: str) -> None:
    """Unmounts what daemons that died left there. Raises OpenerError for a mount that lives."""
    while (found := mounted_at(path)) is not None and found.fstype == FSTYPE:
        if not is_dead(path):
            raise OpenerError(f"{path}: already mounted, and served by another process; run: mountfs umount {path}")
        unmount(path)


def is_dead(path: str) -> bool:
    """Whether the mount's daemon is gone. Asked by a child: the mount may hang."""
    environ = {"LC_ALL": "C", "PATH": os.defpath}
    command = ["stat", "-f", "--", path]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ, text=True)
    try:
        complaint = child.communicate(timeout=PROBE_TIMEOUT)[1]
    except subprocess.TimeoutExpired:
        child.kill()  # and not waited for: it may not even die of that
        return False
    return "endpoint is not connected" in complaint or "caused connection abort" in complaint


def mount(source: str, path: str, flags: int, data: str) -> None:
    """mount(2). Raises OSError."""
    if _libc().mount(os.fsencode(source), os.fsencode(path), FSTYPE.encode(), flags, data.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def unmount(path: str) -> None:
    """umount2(2); a mount in use is detached, and goes when its last user has left. Raises OSError."""
    libc = _libc()
    if not libc.umount2(os.fsencode(path), UMOUNT_NOFOLLOW):
        return
    if libc.umount2(os.fsencode(path), UMOUNT_NOFOLLOW | MNT_DETACH):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def enter(namespace: str = MANAGER) -> None:
    """Goes into the machine's own mount namespace, the service manager's. "+" takes the sandbox away, but a unit with
    DynamicUser= or LoadCredential= is given a namespace all the same (seen with systemd 252). Raises OSError."""
    if os.path.samefile(namespace, "/proc/self/ns/mnt"):
        return
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc().setns(descriptor, CLONE_NEWNS):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
    return libc


ACTIONS: dict[str, Callable[[str, Sequence[str], Mapping[str, str]], None]] = {
    "open": open_mount,
    "tune": tune_mount,
    "close": close_mount,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """``mountfs-opener ACTION MOUNTPOINT [WORDS]``; WORDS are those of ``mountfs mount -o``."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not 2 <= len(arguments) <= 3 or arguments[0] not in ACTIONS or not arguments[1]:
        _say(f"write: mountfs-opener {'|'.join(ACTIONS)} MOUNTPOINT [WORDS]; it is a part of mountfs@.service")
        return WRONG_CALL
    action, mountpoint, *rest = arguments
    try:
        enter()
        ACTIONS[action](mountpoint, rest[0].split(",") if rest else [], os.environ)
    except OpenerError as error:
        _say(str(error))
        return FAILED
    except OSError as error:
        _say(f"{error.filename or mountpoint}: {error.strerror}")
        return FAILED
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"mountfs-opener: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
