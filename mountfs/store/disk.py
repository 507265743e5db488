"""System calls the store is made of: locks, atomic saves, holes, and what a failed one means.

Two kinds of lock, both released by the kernel when their holder dies, and both belonging to an open file rather
than to a process, so that two openings conflict within one process as they do across two:

- ``flock`` on a whole file or directory: "in use" (shared) against "may be removed" (exclusive);
- OFD byte-range locks (fcntl(2), Linux 3.15): "I am fetching these bytes", which atomically go from shared to
  exclusive, as flock does not.

Concurrency: functions without state but for one thread (``start_freeing``); every one may block on the disk, none on
another process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import stat
import struct
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue

from mountfs.errors import CacheFull

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
READ_WRITE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
CREATE = READ_WRITE | os.O_CREAT | os.O_EXCL

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_LOCKED = frozenset({errno.EAGAIN, errno.EACCES})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_FLOCK = "hhqqi0q"
"""struct flock of fcntl(2): l_type, l_whence, l_start, l_len, l_pid, padded to eight bytes."""

PAGE = 4096

LARGE = 16 << 20
"""Bytes: freeing them takes 5 ms (0.3 s a GiB, on ext4 as on tmpfs)."""

_STATFS_SIZE = 256
"""Bytes, with room to spare, of struct statfs (statfs(2)); it begins with the file system's magic number, a long."""

_MEMORY_FILE_SYSTEMS = frozenset({0x01021994, 0x858458F6})
"""TMPFS_MAGIC, RAMFS_MAGIC (linux/magic.h)."""

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02


def read_boot_id() -> str:
    """The kernel's name for this boot (proc(5)); empty where /proc is not mounted."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Any failed write becomes ``CacheFull``: whatever the cause, the cure is to serve without the cache."""
    try:
        yield
    except OSError as error:
        raise CacheFull(
            f"the cache cannot write {what}: {error.strerror or error}",
            advice="free space on its disk, or point cache.dir elsewhere; until then less is cached",
        ) from error


def try_flock(fd: int, operation: int) -> bool:
    """flock without waiting; False when another opening holds it. A file system without locks grants everything."""
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _LOCKED:
            return False
        if error.errno not in _NO_LOCKS:
            raise
    return True


def try_range_lock(fd: int, kind: int, start: int, size: int) -> bool:
    """An OFD lock (``fcntl.F_RDLCK``, ``F_WRLCK``, ``F_UNLCK``) of ``size`` bytes (0: to the end), without waiting."""
    request = struct.pack(_FLOCK, kind, os.SEEK_SET, start, size, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in _LOCKED:
            return False
        if error.errno not in _NO_LOCKS:
            raise
    return True


def range_locked(fd: int, start: int) -> bool:
    """Whether somebody else has an OFD lock on this byte. A directory, open for reading only, can be asked too."""
    request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, request)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def same_file(fd: int, path: str) -> bool:
    """Whether ``path`` still names what ``fd`` has open."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """pwrite until everything is written."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view = view[count:]
        offset += count


def read_all(fd: int, start: int = 0, stop: int = 1 << 62) -> bytes:
    """The bytes [start, stop) as far as the file has them, by pread, leaving its position alone."""
    # Asking for the exact size spares a large buffer: for the record of a session that is most of the time.
    stop = min(stop, os.fstat(fd).st_size)
    data = b""
    while start + len(data) < stop and (more := os.pread(fd, stop - start - len(data), start + len(data))):
        data = data + more if data else more
    return data


def close_file(fd: int) -> None:
    """Close a file, maybe on an event loop: one that has no name left is freed by that, and a large one's bytes in the
    thread that ``start_freeing`` started.

    Also called from destructors, which the garbage collector may run in the middle of anything. So no thread is started
    here: that takes locks of the threading module that the interrupted code may hold, and at the interpreter's end a
    new thread never runs, and starting one waits for ever (Python 3.11). SimpleQueue.put is made for being called here.
    """
    status = os.fstat(fd)
    if status.st_nlink == 0 and disk_size(status) > LARGE and _freeing.is_alive():
        _doomed.put(fd)
    else:
        os.close(fd)


def start_freeing() -> None:
    """Start the thread that large deleted files are closed in. It ends with the process, which closes the rest."""
    with contextlib.suppress(RuntimeError):  # it runs already, or there is no thread to be had
        _freeing.start()


def _free() -> None:
    while True:
        fd = _doomed.get()
        with contextlib.suppress(OSError):  # what a network's disk has to say at the end is nobody's any more
            os.close(fd)


_doomed: SimpleQueue[int] = SimpleQueue()
_freeing = threading.Thread(target=_free, name="freeing", daemon=True)
"""One a process, as descriptors are."""


def disk_size(status: os.stat_result) -> int:
    """Bytes a file really takes."""
    return status.st_blocks * 512


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def punch_hole(fd: int, start: int, stop: int) -> bool:
    """Give the file's bytes [start, stop) back to the disk; they read as zero. False where that cannot be done."""
    size = ctypes.c_longlong(stop - start)
    return stop > start and _libc().fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_longlong(start), size) == 0


def in_memory(fd: int) -> bool:
    """Whether the file lies on a tmpfs (a memfd does): no disk is waited for, though RWF_NOWAIT is not known there."""
    state = ctypes.create_string_buffer(_STATFS_SIZE)
    if _libc().fstatfs(fd, state):
        return False
    return int.from_bytes(state.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) in _MEMORY_FILE_SYSTEMS


def tree_size(path: str) -> int:
    """Bytes on disk of ``path`` and all under it; what vanishes meanwhile counts nothing."""
    try:
        status = os.lstat(path)
    except OSError:
        return 0
    total = disk_size(status)
    if stat.S_ISDIR(status.st_mode):
        with contextlib.suppress(OSError), os.scandir(path) as items:
            for item in items:
                with contextlib.suppress(OSError):
                    if item.is_dir(follow_symlinks=False):
                        total += tree_size(item.path)
                    else:
                        total += disk_size(item.stat(follow_symlinks=False))
    return total


def remove_tree(path: str) -> int:
    """Remove ``path`` and all under it as far as possible; answers the bytes on disk that were freed."""
    freed = 0
    try:
        with os.scandir(path) as items:
            listed = list(items)
    except NotADirectoryError:
        return remove_file(path)
    except OSError:
        return 0
    for item in listed:
        freed += remove_tree(item.path) if item.is_dir(follow_symlinks=False) else remove_file(item.path)
    with contextlib.suppress(OSError):
        own = disk_size(os.lstat(path))
        os.rmdir(path)
        freed += own
    return freed


def remove_file(path: str, *, dir_fd: int | None = None) -> int:
    """Unlink a file if it is there; answers the bytes on disk that were freed (0 while another name holds it)."""
    try:
        status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        os.unlink(path, dir_fd=dir_fd)
    except OSError:
        return 0
    return disk_size(status) if status.st_nlink == 1 else 0
