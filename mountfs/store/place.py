"""The cache's directory itself: its layout, and how a thing gets there whole or not at all.

    DIR/CACHEDIR.TAG              tells backup programs to pass (bford.info/cachedir)
    DIR/v1/salt                   32 random bytes: accounts are HMACs of keys under it
    DIR/v1/used                   bytes everything under DIR takes, kept by ``ledger.py``
    DIR/v1/records/SHELF/ID       what is known of one session (JSON); SHELF = hash of content key and account
    DIR/v1/snapshots/KEY/         one version of one archive; KEY = hash of shelf, session and snapshot name
        meta                      JSON; its mtime is the snapshot's last use
        data                      the archive's bytes, sparse
        map                       one byte a 4 KiB block of data: 1 = all of it is here
        checked                   one byte a member whose CRC was verified since the snapshot became suspect
        m.INDEX                   a member, inflated and checked
    DIR/v1/tmp/NAME/              one process's unfinished things; it holds a shared flock on it while it lives

Another version of the layout is another ``vN``; nothing is ever converted. Files are 0600, directories 0700.
Everything is made in the process's own tmp directory and then renamed, so what has its final name is complete; and
what a dead process left lies in a tmp directory that nobody holds, which the next ``open`` removes. The directory
may be deleted under us at any moment: whoever meets ENOENT calls ``rebuild`` and tries once more.

Concurrency: thread-safe; blocking.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import secrets
import threading

from mountfs.errors import CacheError
from mountfs.store import disk

_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# mountfs cache: may be deleted at any time\n"
SALT_SIZE = 32
_ATTEMPTS = 10
"""How often something is made again that another process removed in the same instant."""


class Place:
    """Paths under the cache directory, and this process's tmp directory."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        self.root = os.path.join(self.directory, "v1")
        self.records = os.path.join(self.root, "records")
        self.snapshots = os.path.join(self.root, "snapshots")
        self.tmp = os.path.join(self.root, "tmp")
        self.used = os.path.join(self.root, "used")
        self._lock = threading.Lock()
        self._own: str | None = None
        self._own_fd = -1
        self._numbers = itertools.count()

    def build(self) -> None:
        """Make the layout. OSError as the disk gives it; ``CacheError`` if the directory is somebody else's."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        owner = os.stat(self.directory).st_uid
        if owner not in (os.geteuid(), 0):
            raise CacheError(
                f"the cache directory {self.directory} belongs to another user (uid {owner})",
                advice="point cache.dir at a directory of your own",
            )
        for path in (self.root, self.records, self.snapshots, self.tmp):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        tag = os.path.join(self.directory, "CACHEDIR.TAG")
        if not os.path.exists(tag):
            with contextlib.suppress(FileExistsError):
                fd = os.open(tag, disk.CREATE, 0o600)
                try:
                    disk.write_all(fd, _TAG, 0)
                finally:
                    os.close(fd)

    def rebuild(self) -> None:
        """After ENOENT: make again whatever is gone, this process's tmp directory included."""
        with self._lock:
            self._leave()
            self.build()

    def close(self) -> None:
        """Give up this process's tmp directory and remove it."""
        with self._lock:
            own = self._own
            if own is not None:
                disk.remove_tree(own)
            self._leave()

    def fresh(self) -> str:
        """A path for a new unfinished thing, in this process's tmp directory (made on first use)."""
        with self._lock:
            own = self._own
            if own is None or not os.path.lexists(own):
                self._leave()
                own, self._own_fd = self._enter()
                self._own = own
            return os.path.join(own, str(next(self._numbers)))

    def enter(self) -> int:
        """Make this process's tmp directory now; answers the bytes on disk it takes."""
        return disk.disk_size(os.stat(os.path.dirname(self.fresh())))

    def create(self) -> tuple[str, int]:
        """A new unfinished file, open for reading and writing: (path, descriptor)."""
        fresh = self.fresh()
        return fresh, os.open(fresh, disk.CREATE, 0o600)

    def save(self, path: str, data: bytes, *, sync: bool = False) -> int:
        """Put ``data`` at ``path`` atomically; answers by how many bytes the disk use grew.

        ``sync``: it is on the disk, name and all, before this returns.
        """
        fresh, fd = self.create()
        try:
            disk.write_all(fd, data, 0)
            if sync:
                os.fsync(fd)
            grown = disk.disk_size(os.fstat(fd))
            with contextlib.suppress(FileNotFoundError):
                grown -= disk.disk_size(os.lstat(path))
            os.rename(fresh, path)
        except OSError:
            disk.remove_file(fresh)
            raise
        finally:
            os.close(fd)
        if sync:
            sync_directory(os.path.dirname(path))
        return grown

    def salt(self, known: bytes | None = None) -> bytes:
        """The salt, made by whichever process comes first; ``known``: the one to make, of a deleted directory.
        OSError where it can be neither read nor made."""
        path = os.path.join(self.root, "salt")
        for _attempt in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(path, disk.READ)
                try:
                    salt = disk.read_all(fd)
                finally:
                    os.close(fd)
                if len(salt) == SALT_SIZE:
                    return salt
                os.unlink(path)
            fresh = self.fresh()
            self.save(fresh, known or secrets.token_bytes(SALT_SIZE), sync=True)
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
            os.unlink(fresh)
        raise FileNotFoundError(errno.ENOENT, "it is deleted as fast as it is made", path)

    def sweep(self) -> int:
        """Remove the tmp directories of dead processes; answers the bytes freed."""
        freed = 0
        with os.scandir(self.tmp) as items:
            names = [item.path for item in items]
        for path in names:
            if path == self._own:
                continue
            try:
                fd = os.open(path, disk.DIRECTORY)
            except OSError:
                freed += disk.remove_file(path)
                continue
            try:
                if disk.try_flock(fd, fcntl.LOCK_EX):
                    freed += disk.remove_tree(path)
            finally:
                os.close(fd)
        return freed

    def _enter(self) -> tuple[str, int]:
        for _attempt in range(_ATTEMPTS):
            path = os.path.join(self.tmp, secrets.token_hex(8))
            try:
                os.mkdir(path, 0o700)
                fd = os.open(path, disk.DIRECTORY)
            except FileNotFoundError:
                self.build()
                continue
            # A sweeper may have met the directory before our lock was on it: then it is gone, and we make another.
            if disk.try_flock(fd, fcntl.LOCK_SH) and disk.same_file(fd, path):
                return path, fd
            os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "it is deleted as fast as it is made", self.tmp)

    def _leave(self) -> None:
        if self._own is not None:
            os.close(self._own_fd)
        self._own, self._own_fd = None, -1


def sync_directory(path: str) -> None:
    """fsync a directory, so that the names in it last."""
    fd = os.open(path, disk.DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
