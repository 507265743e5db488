"""Every request of the kernel by way of pyfuse3: types in, types out, and the guard. It decides nothing.

*The guard*: a stray exception in a handler would end ``pyfuse3.main`` and the mount with it. So every handler is
wrapped: an error of ours becomes its errno by the one table, anything else is logged with its traceback and becomes
EIO. ``express`` has the same guard around what it answers itself.

Concurrency: handlers run on the trio loop, any number at a time.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3

from mountfs import errnos
from mountfs.errors import MountfsError, NotFound
from mountfs.filesystem import Attributes, Caller, Filesystem

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

BLOCK = 4096
SECTOR = 512
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT


Self_ = TypeVar("Self_", bound="Operations")


@dataclass(frozen=True, slots=True)
class Owner:
    """What all inodes of a mount have in common. ``born_ns``: the time shown where nothing has a better one (the
    mount's start), in ns since 1970."""

    uid: int
    gid: int
    umask: int
    born_ns: int = 0

    @property
    def mode_mask(self) -> int:
        """The bits of a mode that are shown."""
        return 0o170000 | (~self.umask & 0o7777)


def errno_for(kind: str, failure: Exception) -> int:
    """What a failed ``kind`` is answered: the errno of an error of ours; EIO for a bug, which is logged."""
    if isinstance(failure, MountfsError):
        return errnos.errno_of(failure)
    log.error("%s failed inside mountfs", kind, exc_info=failure)
    return errno.EIO


def guarded(
    handler: Callable[Concatenate[Self_, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Self_, P], Coroutine[Any, Any, T]]:
    """The guard: whatever a handler raises leaves it as an errno. It counts what it guards: 0.8 us a request,
    of the 40 to 100 us each takes."""
    kind = handler.__name__

    async def guard(self: Self_, /, *args: P.args, **kwargs: P.kwargs) -> T:
        began = perf_counter()
        number = 0
        try:
            return await handler(self, *args, **kwargs)
        except pyfuse3.FUSEError as exc:
            number = exc.errno
            raise
        except Exception as exc:
            number = errno_for(kind, exc)
            raise pyfuse3.FUSEError(number) from exc
        finally:
            self.counts[kind].add(perf_counter() - began, number)
            self.drain()

    return functools.update_wrapper(guard, handler)


def _refused(number: int) -> Any:
    """A handler that always answers ``number``; typed Any, since it stands in for handlers of every signature."""

    async def refuse(self: Operations, *_: object) -> None:
        self.drain()
        raise pyfuse3.FUSEError(number)

    return refuse


class Operations(pyfuse3.Operations):
    """The handlers."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, filesystem: Filesystem, owner: Owner) -> None:
        super().__init__()
        self._fs = filesystem
        self.counts = filesystem.usage.operations
        self._nodes = filesystem.nodes
        self._owner = owner
        self.drain: Callable[[], None] = lambda: None
        """Called before every reply: takes those libfuse has written before (``express``)."""

    def _entry(self, attributes: Attributes) -> pyfuse3.EntryAttributes:
        owner = self._owner
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = attributes.inode
        entry.st_mode = attributes.mode & owner.mode_mask
        entry.st_nlink = 1
        entry.st_uid = owner.uid
        entry.st_gid = owner.gid
        entry.st_size = attributes.size
        entry.st_blksize = BLOCK
        entry.st_blocks = -(-attributes.size // SECTOR)
        mtime = attributes.mtime_ns or owner.born_ns
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = mtime
        entry.entry_timeout = entry.attr_timeout = attributes.ttl
        return entry

    @guarded
    async def lookup(self, parent_inode: Any, name: Any, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        try:
            attributes, node = await self._fs.lookup(parent_inode, name, Caller(ctx.pid))
        except NotFound:
            return self._negative(parent_inode, name)
        except MountfsError as exc:
            if errnos.errno_of(exc) == errno.ENOENT:
                return self._negative(parent_inode, name)
            raise
        self._nodes.remember(node)
        return self._entry(attributes)

    def _negative(self, parent: Any, name: Any) -> pyfuse3.EntryAttributes:
        """The kernel remembers that a name is not there if it is told inode 0 and a time."""
        ttl = self._fs.negative_ttl(parent, name)
        if ttl <= 0:
            raise pyfuse3.FUSEError(errno.ENOENT)
        self.counts["lookup"].failures[errno.ENOENT] += 1  # to the guard it is an answer
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = 0
        entry.entry_timeout = ttl
        return entry

    async def forget(self, inode_list: Any) -> None:
        for inode, count in inode_list:
            self._nodes.forget(inode, count)

    @guarded
    async def getattr(self, inode: Any, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:  # noqa: ARG002
        return self._entry(await self._fs.getattr(inode))

    @guarded
    async def readlink(self, inode: Any, ctx: pyfuse3.RequestContext) -> Any:
        return await self._fs.readlink(inode, Caller(ctx.pid))

    @guarded
    async def opendir(self, inode: Any, ctx: pyfuse3.RequestContext) -> Any:
        return await self._fs.opendir(inode, Caller(ctx.pid))

    @guarded
    async def readdir(self, fh: Any, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        fs, nodes, entry = self._fs, self._nodes, self._entry
        reply = pyfuse3.readdir_reply
        for name, attributes, cookie, node in fs.readdir(fh, start_id):
            if not reply(token, name, entry(attributes), cookie):
                if node is not None:
                    nodes.unused(node)
                return
            if node is not None:
                nodes.remember(node)

    @guarded
    async def releasedir(self, fh: Any) -> None:
        await self._fs.releasedir(fh)

    @guarded
    async def open(self, inode: Any, flags: Any, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        handle = await self._fs.open(inode, writing=bool(flags & WRITE_FLAGS), caller=Caller(ctx.pid))
        return pyfuse3.FileInfo(fh=handle, keep_cache=True)

    @guarded
    async def read(self, fh: Any, off: int, size: int) -> Any:
        return await self._fs.read(fh, off, size)

    @guarded
    async def release(self, fh: Any) -> None:
        await self._fs.release(fh)

    @guarded
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:  # noqa: ARG002
        size, files = self._fs.statfs()
        stat = pyfuse3.StatvfsData()
        stat.f_bsize = stat.f_frsize = BLOCK
        stat.f_blocks = -(-size // BLOCK)
        stat.f_files = files
        stat.f_namemax = 255
        return stat

    setattr = mknod = mkdir = unlink = rmdir = symlink = rename = link = create = write = _refused(errno.EROFS)
    setxattr = removexattr = _refused(errno.EROFS)
    # ENOSYS once, and the kernel never asks again: a round trip less for every close, and for every file of ls -l.
    flush = fsync = fsyncdir = getxattr = listxattr = _refused(errno.ENOSYS)


class WithAttributes(Operations):
    """With ``-o xattr``: extended attributes are answered, and the kernel asks for them at every ``ls -l``."""

    @guarded
    async def getxattr(self, inode: Any, name: Any, ctx: pyfuse3.RequestContext) -> bytes:  # noqa: ARG002
        return self._fs.getxattr(inode, name)

    @guarded
    async def listxattr(self, inode: Any, ctx: pyfuse3.RequestContext) -> list[bytes]:  # noqa: ARG002
        return self._fs.listxattr(inode)
