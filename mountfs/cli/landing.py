"""Where an export lands: everything is made below one directory's descriptor, so nothing can lie outside it.

Each part of a path is opened by itself and no link is followed (openat(2), O_NOFOLLOW): a link that an archive, or
anybody else, put into DEST leads nowhere. A file is written beside its place and renamed into it, so what has its name
is whole; one that has the right size and time is left as it is.

Concurrency: blocking; belongs into a thread. One export writes into a directory at a time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from mountfs.errors import MountfsError

UNFINISHED = b".mountfs-unfinished"
"""The one name in a directory that a file has before it is whole; the next export writes over it."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY_MODE = 0o755
"""Not 0555, as the tree shows it: a copy can be continued, and removed."""
FATAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENODEV})
"""What will meet every other file as well."""
NANOSECONDS = 10**9

Parts = Sequence[bytes]


class ExportFailed(MountfsError):
    """DEST does not take what is to be written. ``fatal``: it will not take anything else either."""

    def __init__(self, message: str, *, advice: str = "", fatal: bool = False) -> None:
        super().__init__(message, advice=advice)
        self.fatal = fatal


def failed(where: str, error: OSError) -> ExportFailed:
    """What an OSError on ``where`` means."""
    in_the_way = error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EEXIST)
    advice = "something else is in the way: remove it, or name another DEST" if in_the_way else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "free space and run it again: it goes on where it was"
    return ExportFailed(
        f"{where}: {error.strerror or error}", advice=advice, fatal=error.errno in FATAL and not in_the_way
    )


class Landing:
    """DEST, open."""

    def __init__(self, path: str) -> None:
        """Makes it if need be. Raises ExportFailed."""
        self.path = path
        try:
            os.makedirs(path, mode=DIRECTORY_MODE, exist_ok=True)
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise failed(path, error) from None

    def close(self) -> None:
        os.close(self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def directory(self, parts: Parts) -> int:
        """A descriptor of the directory at ``parts``, made if need be; the caller closes it."""
        at = os.dup(self._root)
        for part in parts:
            try:
                try:
                    below = os.open(part, DIRECTORY, dir_fd=at)
                except FileNotFoundError:
                    os.mkdir(part, DIRECTORY_MODE, dir_fd=at)
                    below = os.open(part, DIRECTORY, dir_fd=at)
            except OSError as error:
                raise failed(self._name(parts), error) from None
            finally:
                os.close(at)
            at = below
        return at

    def set_time(self, parts: Parts, mtime_ns: int) -> None:
        """A directory's time, once nothing is made in it any more."""
        at = self.directory(parts)
        try:
            with contextlib.suppress(OSError):
                os.utime(at, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(at)

    def _name(self, parts: Parts) -> str:
        return os.path.join(self.path, *map(os.fsdecode, parts))


def is_there(directory: int, name: bytes, size: int, mtime_ns: int) -> bool:
    """Whether a file is there already: its size, and its time to the second."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    same_time = found.st_mtime_ns // NANOSECONDS == mtime_ns // NANOSECONDS
    return stat.S_ISREG(found.st_mode) and found.st_size == size and same_time


class Unfinished:
    """A file being written. ``finish`` gives it its name."""

    def __init__(self, directory: int) -> None:
        self._directory = directory
        with contextlib.suppress(FileNotFoundError):
            os.unlink(UNFINISHED, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(UNFINISHED, flags, 0o600, dir_fd=directory)

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def finish(self, name: bytes, mode: int, mtime_ns: int) -> None:
        # A file system without modes or times (vfat) still keeps the bytes.
        with contextlib.suppress(PermissionError):
            os.fchmod(self._fd, mode)
        with contextlib.suppress(PermissionError):
            os.utime(self._fd, ns=(mtime_ns, mtime_ns))
        os.rename(UNFINISHED, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self.close()

    def discard(self) -> None:
        """It will not be finished."""
        with contextlib.suppress(OSError):
            os.unlink(UNFINISHED, dir_fd=self._directory)
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def make_link(directory: int, name: bytes, target: bytes, mtime_ns: int) -> bool:
    """A symbolic link, also where another one, or a file, stood. False if it was there already."""
    with contextlib.suppress(OSError):
        if os.readlink(name, dir_fd=directory) == target:
            return False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(UNFINISHED, dir_fd=directory)
    os.symlink(target, UNFINISHED, dir_fd=directory)
    with contextlib.suppress(OSError):
        os.utime(UNFINISHED, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=False)
    os.rename(UNFINISHED, name, src_dir_fd=directory, dst_dir_fd=directory)
    return True
