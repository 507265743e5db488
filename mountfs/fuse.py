"""pyfuse3 on one side, ``Filesystem`` on the other: types, the guard, the kernel's knobs. It decides nothing.

*The guard*: a stray exception in a handler would end ``pyfuse3.main`` and the mount with it. So every handler is
wrapped: an error of ours becomes its errno by the one table, anything else is logged with its traceback and becomes
EIO.

*Invalidation* goes through one thread a provider: the kernel takes a directory's lock for it, so a name in a
directory some request of ours waits in is told later, and a hung directory of one provider holds up no other.

*Speed*: pyfuse3 asks its ``trio`` to wait for the fd before every request, and takes a lock for it: two epoll calls and
two trips through the scheduler, 30-50 µs. ``EagerTrio`` has the same names, but waits a moment in place first and
goes on at once when a request is there, yielding at least every EAGER_REQUESTS. (A stat storm of 100,000 files: half
the CPU and a third of the time.)

Concurrency: handlers run on the trio loop, up to MAX_TASKS at a time.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import select
from collections.abc import AsyncIterator, Callable, Coroutine, Sized
from time import perf_counter
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
import trio

from mountfs import errnos, knobs
from mountfs.errors import MountfsError, NotFound
from mountfs.filesystem import Attributes, Caller, Filesystem
from mountfs.model import Inode

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

MAX_TASKS = 100_000  # no lid: hundreds of readers blocked on one provider must leave room for another's
MIN_TASKS = 8
MAY_NOT = "mounting needs root or fusermount3 with its setuid bit; in a container, start it with --cap-add SYS_ADMIN"
EAGER_REQUESTS = 32
SPIN = 0.0002  # seconds the next request is waited for in place: ls, cp and find ask one after the other
SELECTABLE = 1024  # select(2) takes no fd from here on
BLOCK = 4096
SECTOR = 512
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT


Self_ = TypeVar("Self_", bound="Operations")


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
        except MountfsError as exc:
            number = errnos.errno_of(exc)
            raise pyfuse3.FUSEError(number) from exc
        except Exception as exc:
            number = errno.EIO
            log.exception("%s failed inside mountfs", kind)
            raise pyfuse3.FUSEError(errno.EIO) from exc
        finally:
            self.counts[kind].add(perf_counter() - began, number)

    return functools.update_wrapper(guard, handler)


def _refused(number: int) -> Any:
    """A handler that always answers ``number``; typed Any, since it stands in for handlers of every signature."""

    async def refuse(*_: object) -> None:
        raise pyfuse3.FUSEError(number)

    return refuse


class Operations(pyfuse3.Operations):
    """The handlers. ``uid``, ``gid``, ``umask``: as the mount was told."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, filesystem: Filesystem, *, uid: int, gid: int, umask: int) -> None:
        super().__init__()
        self._fs = filesystem
        self.counts = filesystem.usage.operations
        self._nodes = filesystem.nodes
        self._uid = uid
        self._gid = gid
        self._keep = ~umask & 0o7777
        self._born = 0

    def _entry(self, attributes: Attributes) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = attributes.inode
        entry.st_mode = attributes.mode & (0o170000 | self._keep)
        entry.st_nlink = 1
        entry.st_uid = self._uid
        entry.st_gid = self._gid
        entry.st_size = attributes.size
        entry.st_blksize = BLOCK
        entry.st_blocks = -(-attributes.size // SECTOR)
        mtime = attributes.mtime_ns or self._born
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = mtime
        entry.entry_timeout = entry.attr_timeout = attributes.ttl
        return entry

    def born(self, now_ns: int) -> None:
        """The time shown where nothing has a better one: the mount's start."""
        self._born = now_ns

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


class EagerTrio:
    """What pyfuse3 sees as ``trio``: the same names, but a wait for the FUSE fd that first waits a moment in place.

    Fair: after EAGER_REQUESTS in a row it goes through the scheduler once, so downloads are not held up (a request
    takes about 50 µs: at most 2 ms). EAGER_REQUESTS = 0 switches it off."""

    def __init__(self) -> None:
        self.Lock = BargingLock
        self.open_nursery = trio.open_nursery
        self.ClosedResourceError = trio.ClosedResourceError
        self.lowlevel = _EagerLowlevel()


class BargingLock:
    """The lock under which pyfuse3's workers take turns at the fd: free means free, nobody is handed it.

    ``trio.Lock`` hands itself to the longest waiter and yields at every turn: a trip through the scheduler and two
    epoll calls for each request. Here the worker that has just replied goes on reading; one waiter is woken for the
    case that a handler waits, and finds the lock taken again as long as none does."""

    def __init__(self) -> None:
        self._taken = False
        self._waking = False
        self._waiters = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._taken:
            await self._waiters.park()
            self._waking = False
        self._taken = True

    async def __aexit__(self, *_: object) -> None:
        self._taken = False
        if not self._waking and self._waiters:
            self._waking = True
            self._waiters.unpark()


class _EagerLowlevel:
    """``trio.lowlevel`` as pyfuse3 uses it."""

    def __init__(self) -> None:
        self.current_task = trio.lowlevel.current_task
        self.current_trio_token = trio.lowlevel.current_trio_token
        self.notify_closing = trio.lowlevel.notify_closing
        self._in_a_row = 0
        self._loop_fd, self._run_queue = _inside_trio()

    async def wait_readable(self, fd: int) -> None:
        """Returns at once while requests come one after the other; else waits as trio does."""
        self._in_a_row += 1
        if self._in_a_row < EAGER_REQUESTS and not self._run_queue and max(fd, self._loop_fd) < SELECTABLE:
            # A client that was just answered needs 10-50 us to ask again. Whatever else happens meanwhile (a socket, a
            # thread's result, a signal) shows on trio's own fd and ends the wait.
            ready, _, _ = select.select((fd, self._loop_fd), (), (), SPIN)
            if ready == [fd]:
                return
        self._in_a_row = 0
        await trio.lowlevel.wait_readable(fd)


def _inside_trio() -> tuple[int, Sized]:
    """The fd on which trio waits, and its queue of runnable tasks. Both are private to trio: where they are not found,
    an fd no select can take is answered, and every wait is an ordinary one."""
    try:
        from trio._core._run import GLOBAL_RUN_CONTEXT

        runner = GLOBAL_RUN_CONTEXT.runner
        return runner.io_manager._epoll.fileno(), runner.runq  # noqa: SLF001 - see above
    except (ImportError, AttributeError):
        return SELECTABLE, ()


class Invalidator:
    """Tells the kernel which names to drop; one queue and one thread a provider."""

    def __init__(self, filesystem: Filesystem, nursery: trio.Nursery) -> None:
        self._fs = filesystem
        self._nursery = nursery
        self._queues: dict[str, trio.MemorySendChannel[tuple[Inode, bytes]]] = {}

    def __call__(self, provider: str, parent: Inode, name: bytes) -> None:
        queue = self._queues.get(provider)
        if queue is None:
            queue, receive = trio.open_memory_channel[tuple[Inode, bytes]](1_000_000)
            self._queues[provider] = queue
            self._nursery.start_soon(self._work, receive)
        with contextlib.suppress(trio.WouldBlock):
            queue.send_nowait((parent, name))

    async def _work(self, receive: trio.MemoryReceiveChannel[tuple[Inode, bytes]]) -> None:
        limiter = trio.CapacityLimiter(1)
        async for parent, name in receive:
            while self._fs.waiting.waits_in(parent):  # noqa: ASYNC110 - a rare, short wait
                await trio.sleep(0.1)
            with contextlib.suppress(OSError):  # ENOENT: the kernel does not know it any more
                await trio.to_thread.run_sync(
                    pyfuse3.invalidate_entry, parent, name, limiter=limiter, abandon_on_cancel=True
                )


def tune(mountpoint: str) -> dict[str, str]:
    """Raises read-ahead and max_background where permitted; answers what each is now (``knobs.tune``)."""
    return knobs.tune(os.stat(mountpoint).st_dev)


@contextlib.asynccontextmanager
async def mounted(
    filesystem: Filesystem,
    mountpoint: str,
    *,
    uid: int,
    gid: int,
    umask: int,
    options: set[str],
    now_ns: int,
    xattr: bool = False,
    device: int | None = None,
) -> AsyncIterator[trio.Event]:
    """Mounts and serves while the context is open; the event is set when the kernel's side is gone (umount).
    ``device``: the open /dev/fuse of a mount somebody else made; it is served, and not unmounted."""
    operations = (WithAttributes if xattr else Operations)(filesystem, uid=uid, gid=gid, umask=umask)
    operations.born(now_ns)
    if EAGER_REQUESTS:
        pyfuse3.trio = EagerTrio()  # type: ignore[attr-defined]
    try:
        where = mountpoint if device is None else f"/dev/fd/{device}"  # libfuse's name for "mounted already"
        pyfuse3.init(operations, where, {*pyfuse3.default_options, *options})
    except RuntimeError as error:  # libfuse, or fusermount3, has said why on standard error
        raise MountfsError(f"{mountpoint}: cannot be mounted: {error}", advice=MAY_NOT) from None
    ended = trio.Event()
    gone = False

    async def serve() -> None:
        try:
            await pyfuse3.main(min_tasks=MIN_TASKS, max_tasks=MAX_TASKS)
        finally:
            ended.set()

    try:
        async with trio.open_nursery() as nursery:
            filesystem.nodes.invalidate = Invalidator(filesystem, nursery)
            nursery.start_soon(serve)
            nursery.start_soon(filesystem.waiting.watch_reads)
            nursery.start_soon(filesystem.waiting.watch_callers)
            try:
                yield ended
            finally:
                gone = ended.is_set()
                nursery.cancel_scope.cancel()
    finally:
        # Only now: a worker that still ran would go on with a session that is freed, and crash the process.
        pyfuse3.close(unmount=not gone)
