"""Requests that can be answered at once, straight from the device and back.

Theory: a request by way of pyfuse3 costs two epoll calls, a lock, a coroutine, a context object and two trips through
trio's scheduler, 30-100 us, and most requests (a name in a listing, an open of a file that is here, a read of bytes
that are here) need none of it: the answer takes 5 us to find. So we read the device ourselves, ask ``Filesystem``
what is at hand, and write the reply. Whatever has to be waited for, and whatever is rare, goes to libfuse as it came,
through ``Relay``, and its reply comes back the same way. READs alone are answered here in either case: 1 MiB of reply
is more than a socket takes.

*Guard*: as in ``operations``: nothing a handler raises ends the loop.

*Fair*: after BURST seconds, or as soon as a task becomes runnable or trio's own poll has news, the scheduler goes
first. Where trio's inside cannot be seen, that is after every request.

*libfuse writes its replies on this very thread*, and blocks where its end of the socket is full, which nobody but this
thread empties: so ``drain`` is called before every reply of pyfuse3's (``operations``), and one is queued at the most.

*INTERRUPT* says that a caller has a signal pending: its wait is looked at now, and not at the next of the polls.

Concurrency: the trio task thread; ``serve`` reads the device, ``deliver`` what libfuse replies.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
from collections.abc import Awaitable, Callable, Sized
from functools import partial
from time import perf_counter

import trio

from mountfs import wire
from mountfs.errors import NotFound
from mountfs.filesystem import Attributes, Caller, Filesystem, Node
from mountfs.filesystem.nodes import DOTS
from mountfs.fuse.operations import BLOCK, SECTOR, WRITE_FLAGS, Owner, errno_for
from mountfs.fuse.relay import Relay
from mountfs.knobs import MAX_BACKGROUND, takes_files
from mountfs.model import Inode

log = logging.getLogger(__name__)

BURST = 0.001
"""Seconds after which the scheduler has its turn, however many requests come."""
LOOKS = 40
"""How often the next request is looked for (2 us each, leaving the CPU to whoever wants it) before it is slept for: ls,
cp and find ask one after the other, 10-50 us apart, and waking from a sleep is not free. ``cp -r`` of 10,000 small
files: 10 % less time on two CPUs (for 25 % more of the daemon's), and less of both on one."""
SPIN_MS = 1
"""How long it is then slept for in place."""
MOST_READ = 1 << 20
"""Bytes of the largest READ there is: 256 pages."""
NANOSECONDS = 10**9
DONE = b""
"""A handler's answer where there is nothing more to reply."""


class Express:
    """``nursery``: for reads that wait."""

    def __init__(self, filesystem: Filesystem, owner: Owner, relay: Relay, nursery: trio.Nursery) -> None:
        self._fs = filesystem
        self._nodes = filesystem.nodes
        self._counts = filesystem.usage.operations
        self._relay = relay
        self._device = relay.device
        self._nursery = nursery
        self._mask = owner.mode_mask
        self._uid, self._gid, self._born = owner.uid, owner.gid, owner.born_ns
        self._buffer = bytearray(wire.READ_BUFFER)
        self._into = (self._buffer,)
        self._room = memoryview(bytearray(MOST_READ))
        """Where a READ's bytes lie until the kernel has them, which is before the next request is looked at."""
        self._gives = takes_files(os.uname().release)
        self._began = 0.0
        self._offered = 0
        self._waiting: dict[int, tuple[int, int, int]] = {}
        """Of requests that wait, libfuse's and our own: unique -> (opcode, inode, pid)."""
        handlers: dict[int, tuple[str, Callable[[int, Inode, int, int], bytes | None]]] = {
            wire.LOOKUP: ("lookup", self._lookup),
            wire.FORGET: ("forget", self._forget),
            wire.BATCH_FORGET: ("forget", self._batch_forget),
            wire.GETATTR: ("getattr", self._getattr),
            wire.OPEN: ("open", self._open),
            wire.READ: ("read", self._read),
            wire.RELEASE: ("release", self._release),
            wire.OPENDIR: ("opendir", self._opendir),
            wire.READDIRPLUS: ("readdir", self._readdirplus),
            wire.RELEASEDIR: ("releasedir", self._releasedir),
            wire.INTERRUPT: ("interrupt", self._interrupt),
        }
        self._handlers = [handlers.get(opcode) for opcode in range(wire.OPCODES)]

    # -- the loop ------------------------------------------------------------------------------------------------

    async def serve(self, gone: Callable[[], None]) -> None:
        """Answers requests until the mount is gone, which ``gone`` is told."""
        runnable, idle = _inside_trio(self._device)
        try:
            while True:
                await trio.lowlevel.wait_readable(self._device)
                message = self._burst(runnable, idle)
                while message is not None and not self._pass_on(message):
                    await trio.lowlevel.wait_writable(self._relay.libfuse)
        except OSError as failure:
            if failure.errno not in {errno.ENODEV, errno.ECONNABORTED}:
                raise
            gone()

    def _burst(self, runnable: Sized, idle: Callable[[], bool]) -> bytes | None:
        """Answers what comes, while it comes one after the other; gives back a request that libfuse's end of the socket
        does not take just now."""
        until = perf_counter() + BURST
        while True:
            try:
                length = os.readv(self._device, self._into)
            except BlockingIOError:  # it was taken back, or never there
                length = 0
            except OSError as failure:
                if failure.errno != errno.ENOENT:  # interrupted before it was read
                    raise
                length = 0
            if length and (message := self._answer(length)) is not None and not self._pass_on(message):
                return message
            if runnable or perf_counter() > until or idle():
                return None

    def _answer(self, length: int) -> bytes | None:
        """Answers the request in the buffer; gives it back if that is libfuse's. The guard."""
        began = self._began = perf_counter()
        _, opcode, unique, nodeid, _, _, pid, _ = wire.REQUEST.unpack_from(self._buffer)
        row = self._handlers[opcode] if opcode < wire.OPCODES else None
        if row is None:
            return self._for_libfuse(length, opcode, unique, nodeid, pid)
        kind, handler = row
        number = 0
        try:
            reply = handler(unique, nodeid, pid, length)
        except Exception as failure:  # noqa: BLE001 - the guard
            number = errno_for(kind, failure)
            reply = wire.failed(unique, number)
        if reply is None:
            return self._for_libfuse(length, opcode, unique, nodeid, pid)
        if reply:
            try:
                os.write(self._device, reply)
            except OSError as failure:
                self._not_taken(unique, failure)
            self._counts[kind].add(perf_counter() - began, number)
        return None

    def _reply(self, *parts: bytes | memoryview) -> None:
        """Writes a reply, which may come in parts."""
        try:
            os.writev(self._device, parts)
        except OSError as failure:
            self._not_taken(wire.REPLY.unpack_from(parts[0])[2], failure)

    def _not_taken(self, unique: int, failure: OSError) -> None:
        """What the kernel does not take is no reason to end the mount."""
        if failure.errno != errno.ENOENT:  # else the connection was aborted meanwhile: nobody waits any more
            log.error("the kernel refuses a reply", exc_info=failure)
            self._fail(unique)

    def _fail(self, unique: int) -> None:
        with contextlib.suppress(OSError):
            os.write(self._device, wire.failed(unique, errno.EIO))

    def give_up(self) -> None:
        """Answers EIO to whatever still waits: the mount goes. A thread of ours may wait in the kernel for a directory
        that one of these holds."""
        for unique in self._waiting:
            self._fail(unique)
        self._waiting.clear()

    def waits_in(self, inode: int) -> bool:
        """Whether a request waits in this directory that ``Filesystem`` may not even have been asked yet."""
        return any(nodeid == inode for _, nodeid, _ in self._waiting.values())

    # -- libfuse -------------------------------------------------------------------------------------------------

    def _for_libfuse(self, length: int, opcode: int, unique: int, nodeid: int, pid: int) -> bytes:
        message = bytes(memoryview(self._buffer)[:length])
        self._waiting[unique] = opcode, nodeid, pid
        if opcode == wire.INIT:
            self._offered = wire.INIT_IN.unpack_from(message, wire.HEADER)[3]
            return wire.handshake_for_libfuse(message)
        return message

    def _pass_on(self, message: bytes) -> bool:
        try:
            os.write(self._relay.libfuse, message)
        except BlockingIOError:
            return False
        except OSError:  # no memory for it
            log.exception("a request does not reach libfuse")
            unique = wire.REQUEST.unpack_from(message)[2]
            del self._waiting[unique]
            self._fail(unique)
        return True

    async def deliver(self) -> None:
        """Hands what libfuse replies to the kernel."""
        while True:
            await trio.lowlevel.wait_readable(self._relay.libfuse)
            self.drain()

    def drain(self) -> None:
        """The replies of libfuse's that are here."""
        with contextlib.suppress(BlockingIOError):
            while reply := os.read(self._relay.libfuse, wire.READ_BUFFER):
                opcode, _, _ = self._waiting.pop(wire.REPLY.unpack_from(reply)[2], (0, 0, 0))
                if opcode == wire.INIT:
                    reply = wire.handshake_for_kernel(reply, self._offered, MAX_BACKGROUND)
                self._reply(reply)

    def _interrupt(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes:  # noqa: ARG002
        (target,) = wire.INTERRUPT_IN.unpack_from(self._buffer, wire.HEADER)
        if (waiting := self._waiting.get(target)) is not None:
            self._fs.waiting.look_at(waiting[2])
        return DONE

    # -- names and attributes ------------------------------------------------------------------------------------

    # fmt: off
    def _found(self, unique: int, attributes: Attributes) -> bytes:
        inode, mode, size, mtime_ns, ttl = attributes
        whole = int(ttl)
        part = int((ttl - whole) * NANOSECONDS)
        s, ns = divmod(mtime_ns or self._born, NANOSECONDS)
        return wire.FOUND.pack(wire.FOUND.size, 0, unique, inode, 0, whole, whole, part, part,
                               inode, size, -(-size // SECTOR), s, s, s, ns, ns, ns,
                               mode & self._mask, 1, self._uid, self._gid, 0, BLOCK, 0)

    def _getattr(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes:  # noqa: ARG002
        inode, mode, size, mtime_ns, ttl = self._fs.attributes(nodeid)
        whole = int(ttl)
        s, ns = divmod(mtime_ns or self._born, NANOSECONDS)
        return wire.KNOWN.pack(wire.KNOWN.size, 0, unique, whole, int((ttl - whole) * NANOSECONDS), 0,
                               inode, size, -(-size // SECTOR), s, s, s, ns, ns, ns,
                               mode & self._mask, 1, self._uid, self._gid, 0, BLOCK, 0)
    # fmt: on

    def _lookup(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes | None:
        name = bytes(memoryview(self._buffer)[wire.HEADER : length - 1])
        try:
            found = self._fs.lookup_at_hand(nodeid, name, pid)
        except NotFound:
            return self._negative(unique, nodeid, name)
        if found is None:
            return None
        attributes, node = found
        reply = self._found(unique, attributes)
        self._nodes.remember(node)
        return reply

    def _negative(self, unique: int, parent: Inode, name: bytes) -> bytes:
        """The kernel remembers that a name is not there if it is told inode 0 and a time."""
        ttl = self._fs.negative_ttl(parent, name)
        if ttl <= 0:
            raise NotFound("no such name")
        self._counts["lookup"].failures[errno.ENOENT] += 1  # to the guard it is an answer
        return self._found(unique, Attributes(Inode(0), 0, 0, 0, ttl))

    def _forget(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes:  # noqa: ARG002
        self._nodes.forget(nodeid, wire.FORGET_IN.unpack_from(self._buffer, wire.HEADER)[0])
        return DONE

    def _batch_forget(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes:  # noqa: ARG002
        count, _ = wire.BATCH_IN.unpack_from(self._buffer, wire.HEADER)
        first = wire.HEADER + wire.BATCH_IN.size
        rows = memoryview(self._buffer)[first : first + count * wire.FORGET_ONE.size]
        for inode, lookups in wire.FORGET_ONE.iter_unpack(rows):
            self._nodes.forget(inode, lookups)
        return DONE

    # -- directories ---------------------------------------------------------------------------------------------

    def _opendir(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes | None:  # noqa: ARG002
        handle = self._fs.opendir_at_hand(nodeid)
        return wire.opened(unique, handle, 0) if handle is not None else None

    def _readdirplus(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes:  # noqa: ARG002
        handle, cookie, room = wire.READ_IN.unpack_from(self._buffer, wire.HEADER)
        pack, padding, fixed = wire.DIRENT_PLUS.pack, wire.PADDING, wire.DIRENT_PLUS.size
        mask, uid, gid, born = self._mask, self._uid, self._gid, self._born
        parts: list[bytes] = []
        told: list[Node] = []
        untold, pack_name = wire.UNTOLD, wire.DIRENT.pack
        for name, inode, node, mode, size, mtime_ns, ttl, at in self._fs.rows(handle, cookie, pid):
            length = len(name)
            pad = padding[length & 7]
            room -= fixed + length + len(pad)
            if room < 0:
                if node is not None and at > DOTS:
                    self._nodes.unused(node)
                break
            if node is None:
                parts += untold, pack_name(inode, at, length, mode >> 12), name, pad
                continue
            whole = int(ttl)
            part = int((ttl - whole) * NANOSECONDS)
            s, ns = divmod(mtime_ns or born, NANOSECONDS)
            blocks = -(-size // SECTOR)
            # fmt: off
            parts += pack(inode, 0, whole, whole, part, part,
                          inode, size, blocks, s, s, s, ns, ns, ns, mode & mask, 1, uid, gid, 0, BLOCK, 0,
                          inode, at, length, mode >> 12), name, pad
            # fmt: on
            if at > DOTS:
                told.append(node)
        for node in told:
            self._nodes.remember(node)
        return wire.answered(unique, b"".join(parts))

    def _releasedir(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes:  # noqa: ARG002
        self._fs.close_directory(wire.HANDLE_IN.unpack_from(self._buffer, wire.HEADER)[0])
        return wire.failed(unique, 0)

    # -- files ---------------------------------------------------------------------------------------------------

    def _open(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes | None:  # noqa: ARG002
        flags, _ = wire.OPEN_IN.unpack_from(self._buffer, wire.HEADER)
        handle = self._fs.open_at_hand(nodeid, writing=bool(flags & WRITE_FLAGS), caller=Caller(pid))
        if handle is None:
            return None
        if self._gives and (data := self._fs.to_store(handle)) is not None:
            self._store(nodeid, data)
        return wire.opened(unique, handle, wire.KEEP_CACHE)

    def _store(self, inode: Inode, data: bytes) -> None:
        """Gives the kernel a file's pages before it asks for them: 20 us less than its READ."""
        try:  # noqa: SIM105 - contextlib.suppress takes 1 us
            os.writev(self._device, (wire.stored(inode, len(data)), data))
        except OSError:  # it will ask, then
            pass

    def _read(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes:  # noqa: ARG002
        handle, offset, size = wire.READ_IN.unpack_from(self._buffer, wire.HEADER)
        data = self._fs.read_at_hand(handle, offset, size, self._room)
        if data is None:
            self._waiting[unique] = wire.READ, nodeid, pid
            read = partial(self._fs.read, handle, offset, size, Caller(pid))
            self._nursery.start_soon(self._read_later, unique, read, self._began)
        else:
            self._reply_data(unique, data)
            self._counts["read"].add(perf_counter() - self._began)
        return DONE

    def _release(self, unique: int, nodeid: Inode, pid: int, length: int) -> bytes:  # noqa: ARG002
        self._fs.close_file(wire.HANDLE_IN.unpack_from(self._buffer, wire.HEADER)[0])
        return wire.failed(unique, 0)

    async def _read_later(self, unique: int, read: Callable[[], Awaitable[bytes | memoryview]], began: float) -> None:
        """A read that has to wait. The guard."""
        number = 0
        try:
            data = await read()
        except Exception as failure:  # noqa: BLE001 - the guard
            number = errno_for("read", failure)
            self._reply(wire.failed(unique, number))
        else:
            self._reply_data(unique, data)
        finally:
            self._waiting.pop(unique, None)
        self._counts["read"].add(perf_counter() - began, number)

    def _reply_data(self, unique: int, data: bytes | memoryview) -> None:
        self._reply(wire.REPLY.pack(wire.REPLY.size + len(data), 0, unique), data)


def _inside_trio(device: int) -> tuple[Sized, Callable[[], bool]]:
    """trio's queue of runnable tasks, and a look whether anything but a request comes next: it waits a moment for one,
    and for whatever wakes trio (a socket, a thread's result, a signal shows on the fd trio polls). Both are private to
    trio: where they are not found, the answer is always yes."""
    try:
        from trio._core._run import GLOBAL_RUN_CONTEXT

        runner = GLOBAL_RUN_CONTEXT.runner
        runnable: Sized = runner.runq
        loop: int = runner.io_manager._epoll.fileno()  # noqa: SLF001 - see above
    except (ImportError, AttributeError):
        return (), lambda: True
    poll = select.poll()
    poll.register(device, select.POLLIN)
    poll.register(loop, select.POLLIN)

    def idle() -> bool:
        for _ in range(LOOKS):
            if found := poll.poll(0):
                return len(found) != 1 or found[0][0] != device
            os.sched_yield()
        found = poll.poll(SPIN_MS)
        return len(found) != 1 or found[0][0] != device

    return runnable, idle
