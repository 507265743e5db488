"""Requests answered straight from the device, with a socket for a device: what goes where, the guard, fairness."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pyfuse3
import pytest
import trio
from drives import Drive, World, zip_of

from mountfs import wire
from mountfs.archive.members import ZipContent
from mountfs.demo.server import Fakes
from mountfs.errors import ArchiveError
from mountfs.filesystem import Filesystem
from mountfs.fuse import express, relay
from mountfs.fuse.express import Express
from mountfs.fuse.operations import Operations, Owner
from mountfs.fuse.relay import Relay
from mountfs.model import Inode
from mountfs.tree.inodes import ROOT

BODY = b"alpha" * 100
PARENTS = "kaizen", "s_1"


class Kernel:
    """The other end of a device: asks, and takes what is replied. ``libfuse``: what was passed on, and its replies."""

    def __init__(self, fs: Filesystem, nursery: trio.Nursery) -> None:
        self._end, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._session = os.dup(device.fileno())
        device.close()
        self.relay = Relay(self._session)
        self.libfuse = socket.socket(fileno=self._session)
        for end in (self._end, self.libfuse):
            end.setblocking(False)
        self.express = Express(fs, Owner(7, 8, 0o027, 10**18), self.relay, nursery)
        self.express._gives = True  # whatever kernel this machine has
        self._unique = 100
        self.pid = os.getpid()
        self.stored: list[tuple[int, int, bytes]] = []
        """(inode, offset, bytes) of what it was given to keep without asking."""

    def send(self, opcode: int, nodeid: int, body: bytes = b"") -> int:
        self._unique += 2
        header = wire.REQUEST.pack(wire.HEADER + len(body), opcode, self._unique, nodeid, 0, 0, self.pid, 0)
        self._end.send(header + body)
        return self._unique

    async def reply(self) -> tuple[int, int, bytes]:
        """(unique, errno, body) of the next."""
        with trio.fail_after(20):
            await trio.lowlevel.wait_readable(self._end)
        message = self._end.recv(2 << 20)
        length, error, unique = wire.REPLY.unpack_from(message)
        assert length == len(message)
        if (unique, error) == (0, wire.STORE):
            *_, inode, offset, size, _ = wire.NOTIFY_STORE.unpack_from(message)
            self.stored.append((inode, offset, message[wire.NOTIFY_STORE.size :]))
            assert size == len(self.stored[-1][2])
            return await self.reply()
        return unique, -error, message[wire.REPLY.size :]

    def take_all(self) -> None:
        """Whatever was replied."""
        with contextlib.suppress(BlockingIOError):
            while self._end.recv(2 << 20):
                pass

    async def ask(self, opcode: int, nodeid: int, body: bytes = b"") -> tuple[int, bytes]:
        unique = self.send(opcode, nodeid, body)
        answered, number, data = await self.reply()
        assert answered == unique
        return number, data

    async def passed(self) -> bytes:
        """The next request that went to libfuse."""
        with trio.fail_after(20):
            await trio.lowlevel.wait_readable(self.libfuse)
        return self.libfuse.recv(2 << 20)

    async def find(self, *names: str) -> int:
        """The inode at the end of a path, by lookups."""
        inode = int(ROOT)
        for name in names:
            number, body = await self.ask(wire.LOOKUP, inode, name.encode() + b"\0")
            assert number == 0
            inode = wire.ENTRY.unpack(body)[0]
        return inode

    def close(self) -> None:
        self._end.close()
        self.libfuse.close()
        self.relay.close_device()
        self.relay.close()
        os.close(self.relay.device)


def run(world: World, scene: Callable[[Kernel, Drive], Awaitable[None]]) -> None:
    """One scene with a session that was entered, served by Express alone."""

    async def main(drive: Drive) -> None:
        if await drive.error(drive.ls("kaizen/s_1")):
            raise AssertionError("the session cannot be entered")
        kernels = []
        try:
            async with trio.open_nursery() as nursery:
                kernels.append(kernel := Kernel(drive.fs, nursery))
                nursery.start_soon(kernel.express.serve, lambda: None)
                nursery.start_soon(kernel.express.deliver)
                await scene(kernel, drive)
                nursery.cancel_scope.cancel()
        finally:  # not before the last task has left its descriptors
            for kernel in kernels:
                kernel.close()

    world.run(main)


@pytest.fixture
def world(tmp_path: Path) -> World:
    with Fakes() as fakes:
        made = World(fakes, tmp_path)
        made.session("kaizen", zip_of({"a.txt": BODY, "empty": b"", "dir/b.txt": b"beta"}))
        yield made


def test_what_is_at_hand_never_reaches_libfuse(world: World) -> None:
    """Lookup, getattr, open, read, release, and a listing of an entered session."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        top = await kernel.find(*PARENTS)
        number, body = await kernel.ask(wire.LOOKUP, top, b"a.txt\0")
        entry = wire.ENTRY.unpack(body)
        assert (number, entry[7], entry[15], entry[17], entry[18]) == (0, len(BODY), 0o100440, 7, 8)
        _, body = await kernel.ask(wire.GETATTR, entry[0], bytes(16))
        assert wire.ATTRIBUTES.unpack(body)[3:5] == (entry[0], len(BODY))
        _, body = await kernel.ask(wire.OPEN, entry[0], wire.OPEN_IN.pack(os.O_RDONLY, 0))
        handle, flags, _ = struct.unpack("<QII", body)
        assert flags == wire.KEEP_CACHE
        assert await kernel.ask(wire.READ, entry[0], wire.READ_IN.pack(handle, 3, 4096) + bytes(20)) == (0, BODY[3:])
        assert drive.fs.statistics()["open_files"] == 1
        assert await kernel.ask(wire.RELEASE, entry[0], wire.HANDLE_IN.pack(handle) + bytes(16)) == (0, b"")
        assert drive.fs.statistics()["open_files"] == 0
        _, body = await kernel.ask(wire.OPENDIR, top, wire.OPEN_IN.pack(0, 0))
        (handle,) = wire.HANDLE_IN.unpack_from(body)
        names = []
        _, body = await kernel.ask(wire.READDIRPLUS, top, wire.READ_IN.pack(handle, 0, 4096) + bytes(20))
        while body:
            length = wire.DIRENT_PLUS.unpack_from(body)[-2]
            names.append(body[wire.DIRENT_PLUS.size :][:length])
            body = body[wire.DIRENT_PLUS.size + length + (-length % 8) :]
        assert names == [b".", b"..", b"a.txt", b"dir", b"empty"]
        await kernel.ask(wire.RELEASEDIR, top, wire.HANDLE_IN.pack(handle) + bytes(16))
        with pytest.raises(BlockingIOError):
            kernel.libfuse.recv(1)

    run(world, scene)


def test_a_small_file_is_given_with_its_open(world: World) -> None:
    """The kernel need not ask for it, the first time. Never while another handle is open: a READ may be under way,
    whose pages it holds locked until we answer, while we would wait for them."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        top = await kernel.find(*PARENTS)

        async def opened(inode: int) -> bytes:
            number, body = await kernel.ask(wire.OPEN, inode, wire.OPEN_IN.pack(os.O_RDONLY, 0))
            assert number == 0
            return body[:8]

        async def release(inode: int, handle: bytes) -> None:
            assert await kernel.ask(wire.RELEASE, inode, handle + bytes(16)) == (0, b"")

        wanted: list[tuple[int, int, bytes]] = []
        for name, data in (("a.txt", BODY), ("dir/b.txt", b"beta")):
            inode = await kernel.find(*PARENTS, *name.split("/"))
            first = await opened(inode)
            wanted.append((inode, 0, data))
            assert kernel.stored == wanted
            second = await opened(inode)
            await release(inode, first)
            third = await opened(inode)  # the second is open
            for handle in (second, third):
                await release(inode, handle)
            await release(inode, await opened(inode))  # it was given once: if the kernel let it go, it will ask
            assert kernel.stored == wanted
        empty = await kernel.find(*PARENTS, "empty")
        number, _ = await kernel.ask(wire.LOOKUP, top, b"empty\0")
        assert number == 0
        handle = await drive.fs.open(Inode(empty))
        drive.fs.close_file(handle)
        assert kernel.stored == wanted

    run(world, scene)


def test_nothing_is_given_while_somebody_has_the_file_open(world: World) -> None:
    """... although it would be the first time: whoever opened it did so by another way."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        inode = await kernel.find(*PARENTS, "a.txt")
        content = cast("ZipContent", drive.fs.providers[0].seen()[0].current.content)  # type: ignore[union-attr]
        before = await drive.fs.open(Inode(inode))
        content._sound[:] = bytes(len(content._sound))
        content._memory.clear()  # as if it had never been made
        _, body = await kernel.ask(wire.OPEN, inode, wire.OPEN_IN.pack(os.O_RDONLY, 0))
        assert kernel.stored == []
        drive.fs.close_file(before)
        assert await kernel.ask(wire.RELEASE, inode, body[:8] + bytes(16)) == (0, b"")
        content._sound[:] = bytes(len(content._sound))
        content._memory.clear()
        await kernel.ask(wire.OPEN, inode, wire.OPEN_IN.pack(os.O_RDONLY, 0))
        assert kernel.stored == [(inode, 0, BODY)]

    run(world, scene)


def test_an_old_kernel_is_given_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(kernel: Kernel, drive: Drive) -> None:
        kernel.express._gives = False
        inode = await kernel.find(*PARENTS, "a.txt")
        _, body = await kernel.ask(wire.OPEN, inode, wire.OPEN_IN.pack(os.O_RDONLY, 0))
        read = wire.READ_IN.pack(*struct.unpack("<Q", body[:8]), 0, 4096) + bytes(20)
        assert await kernel.ask(wire.READ, inode, read) == (0, BODY)
        assert kernel.stored == []

    run(world, scene)


def test_what_the_kernel_does_not_keep_it_asks_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(kernel: Kernel, drive: Drive) -> None:
        inode = await kernel.find(*PARENTS, "a.txt")

        def refusing(*_: object) -> int:
            raise OSError(errno.ENOENT, "No such inode")

        with monkeypatch.context() as patch:
            patch.setattr(os, "writev", refusing)
            number, body = await kernel.ask(wire.OPEN, inode, wire.OPEN_IN.pack(os.O_RDONLY, 0))
        assert number == 0
        read = wire.READ_IN.pack(*struct.unpack("<Q", body[:8]), 0, 4096) + bytes(20)
        assert await kernel.ask(wire.READ, inode, read) == (0, BODY)

    run(world, scene)


def test_a_listing_goes_on_where_the_last_reply_ended(world: World) -> None:
    """Replies hold whole dentries, as many as there is room for; what did not fit is not counted as looked up."""
    world.session("kaizen", zip_of({f"{'n' * (at % 9 + 1)}{at}": b"x" for at in range(60)}))

    async def scene(kernel: Kernel, drive: Drive) -> None:
        top = await kernel.find(*PARENTS)
        _, body = await kernel.ask(wire.OPENDIR, top, wire.OPEN_IN.pack(0, 0))
        (handle,) = wire.HANDLE_IN.unpack_from(body)
        kernel.pid = 0  # another namespace's: it is told all attributes
        before = drive.fs.statistics()["inodes"]
        seen: list[bytes] = []
        cookie = 0
        while True:
            _, body = await kernel.ask(wire.READDIRPLUS, top, wire.READ_IN.pack(handle, cookie, 500) + bytes(20))
            assert len(body) <= 500
            if not body:
                break
            while body:
                *_, cookie, length, _ = wire.DIRENT_PLUS.unpack_from(body)
                seen.append(body[wire.DIRENT_PLUS.size :][:length])
                body = body[wire.DIRENT_PLUS.size + length + (-length % 8) :]
        assert len(seen) == len(set(seen)) == 62
        assert drive.fs.statistics()["inodes"] == before + 60

    run(world, scene)


def test_names_alone_are_no_lookups(world: World) -> None:
    """A process that only lists is told files' names, numbers and types, and the kernel holds nothing of them, while
    directories come whole; the first file it looks up makes it one that is told everything."""
    world.session("kaizen", zip_of({"a.txt": BODY, "empty": b"", "dir/b.txt": b"beta"}))

    async def scene(kernel: Kernel, drive: Drive) -> None:
        top = await kernel.find(*PARENTS)

        async def listing() -> dict[bytes, tuple[int, int, int, int]]:
            """By name: the nodeid, the size, the inode number and the type told."""
            _, body = await kernel.ask(wire.OPENDIR, top, wire.OPEN_IN.pack(0, 0))
            (handle,) = wire.HANDLE_IN.unpack_from(body)
            _, body = await kernel.ask(wire.READDIRPLUS, top, wire.READ_IN.pack(handle, 0, 4096) + bytes(20))
            found = {}
            while body:
                row = wire.DIRENT_PLUS.unpack_from(body)
                length = row[-2]
                found[body[wire.DIRENT_PLUS.size :][:length]] = row[0], row[7], row[-4], row[-1]
                body = body[wire.DIRENT_PLUS.size + length + (-length % 8) :]
            await kernel.ask(wire.RELEASEDIR, top, wire.HANDLE_IN.pack(handle) + bytes(16))
            return found

        before = drive.fs.statistics()["inodes"]
        names = await listing()
        assert names[b"a.txt"][:2] == names[b"empty"][:2] == (0, 0)
        assert names[b"dir"][0] == names[b"dir"][2] != 0
        assert drive.fs.statistics()["inodes"] == before + 1
        _, body = await kernel.ask(wire.LOOKUP, top, b"a.txt\0")
        entry = wire.ENTRY.unpack(body)
        assert names[b"a.txt"][2:] == (entry[0], 0o10)
        told = await listing()
        assert told[b"a.txt"] == (entry[0], len(BODY), *names[b"a.txt"][2:])
        assert {name: row[2:] for name, row in told.items()} == {name: row[2:] for name, row in names.items()}
        kernel.pid += 1  # another process
        assert await listing() == names

    run(world, scene)


def test_what_must_wait_goes_to_libfuse_and_back(world: World) -> None:
    """A name that costs a question is passed on as it came; the reply reaches the kernel as it was made."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        parent = await kernel.find("kaizen")
        unique = kernel.send(wire.LOOKUP, parent, b"s_unlisted\0")
        message = await kernel.passed()
        assert message[wire.HEADER :] == b"s_unlisted\0"
        assert wire.REQUEST.unpack_from(message)[1:4] == (wire.LOOKUP, unique, parent)
        kernel.libfuse.send(wire.failed(unique, errno.EHOSTUNREACH))
        assert await kernel.reply() == (unique, errno.EHOSTUNREACH, b"")

    run(world, scene)


def test_rare_requests_are_libfuses(world: World) -> None:
    """STATFS, FLUSH, GETXATTR, and opcodes nobody has invented yet."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        for opcode in (17, 25, 22, 63, 4096):
            unique = kernel.send(opcode, 1, bytes(16))
            assert wire.REQUEST.unpack_from(await kernel.passed())[1:3] == (opcode, unique)

    run(world, scene)


def test_the_handshake_is_changed(world: World) -> None:
    """libfuse answers it; what it cannot ask for is asked for on the way to the kernel."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        offered = wire.PARALLEL_DIROPS | wire.MAX_PAGES
        unique = kernel.send(wire.INIT, 0, wire.INIT_IN.pack(7, 44, 131072, offered))
        assert wire.INIT_IN.unpack_from(await kernel.passed(), wire.HEADER)[3] == wire.PARALLEL_DIROPS
        answer = wire.INIT_OUT.pack(7, 44, 131072, 1, 0, 0, 128 << 10, 1, 0) + bytes(34)
        kernel.libfuse.send(wire.answered(unique, answer))
        _, number, body = await kernel.reply()
        assert number == 0
        assert wire.INIT_OUT.unpack_from(body)[3] == offered | 1

    run(world, scene)


@pytest.mark.parametrize(
    ("failure", "number"),
    [(ZeroDivisionError("a bug"), errno.EIO), (ArchiveError("broken"), errno.EIO), (MemoryError(), errno.EIO)],
)
def test_nothing_a_handler_raises_ends_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch, failure: Exception, number: int
) -> None:
    """It becomes an errno, at once or after a wait, and the next request is answered."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        def broken(*_: object) -> None:
            raise failure

        async def broken_later(*_: object) -> None:
            raise failure

        with monkeypatch.context() as patch:
            patch.setattr(drive.fs, "attributes", broken)
            patch.setattr(drive.fs, "read_at_hand", lambda *_: None)
            patch.setattr(drive.fs, "read", broken_later)
            assert await kernel.ask(wire.GETATTR, 1, bytes(16)) == (number, b"")
            assert await kernel.ask(wire.READ, 1, wire.READ_IN.pack(1, 0, 10) + bytes(20)) == (number, b"")
        assert (await kernel.ask(wire.GETATTR, 1, bytes(16)))[0] == 0
        counted = drive.fs.usage.operations
        assert counted["getattr"].failures[number] == counted["read"].failures[number] == 1

    run(world, scene)


def test_bad_handles_and_inodes_are_errors(world: World) -> None:
    """What the kernel should never ask is answered with an errno."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        assert await kernel.ask(wire.READ, 1, wire.READ_IN.pack(999, 0, 10) + bytes(20)) == (errno.EBADF, b"")
        assert await kernel.ask(wire.RELEASE, 1, wire.HANDLE_IN.pack(999) + bytes(16)) == (errno.EBADF, b"")
        assert await kernel.ask(wire.GETATTR, 12345, bytes(16)) == (errno.ESTALE, b"")
        top = await kernel.find(*PARENTS)
        assert (await kernel.ask(wire.OPEN, top, wire.OPEN_IN.pack(0, 0)))[0] == errno.EISDIR
        inode = await kernel.find(*PARENTS, "a.txt")
        assert (await kernel.ask(wire.OPEN, inode, wire.OPEN_IN.pack(os.O_WRONLY, 0)))[0] == errno.EROFS

    run(world, scene)


def test_a_missing_name_is_told_with_a_time(world: World) -> None:
    """Inode 0 and how long that may be believed."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        number, body = await kernel.ask(wire.LOOKUP, await kernel.find(*PARENTS), b"nothing\0")
        entry = wire.ENTRY.unpack(body)
        assert number == 0
        assert entry[0] == 0
        assert entry[2] > 0

    run(world, scene)


def test_forgotten_inodes_leave_the_table(world: World) -> None:
    """One at a time and in batches; neither is replied to."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        inodes = [await kernel.find(*PARENTS, name) for name in ("a.txt", "empty")]
        assert all(drive.fs.nodes.get(Inode(inode)) is not None for inode in inodes)
        kernel.send(wire.FORGET, inodes[0], wire.FORGET_IN.pack(1))
        kernel.send(wire.BATCH_FORGET, 0, wire.BATCH_IN.pack(1, 0) + wire.FORGET_ONE.pack(inodes[1], 1))
        assert (await kernel.ask(wire.GETATTR, 1, bytes(16)))[0] == 0  # the next reply is this one's
        assert all(drive.fs.nodes.get(Inode(inode)) is None for inode in inodes)

    run(world, scene)


def test_a_reply_the_kernel_cannot_use_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for it gets EIO instead of waiting for ever, and the mount goes on."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        write = os.write

        def refusing_once(fd: int, reply: bytes) -> int:
            patch.undo()
            assert os.write is write
            raise OSError(errno.EINVAL, "Invalid argument")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refusing_once)
            assert await kernel.ask(wire.GETATTR, 1, bytes(16)) == (errno.EIO, b"")
        assert (await kernel.ask(wire.GETATTR, 1, bytes(16)))[0] == 0

    run(world, scene)


def test_a_burst_of_requests_leaves_others_their_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a device that has one more request for ever, other tasks run all the same."""

    async def scene(kernel: Kernel, drive: Drive) -> None:
        asked = 0
        request = wire.REQUEST.pack(wire.HEADER + 16, wire.GETATTR, 2, 1, 0, 0, 0, 0) + bytes(16)

        def another(_fd: int, into: tuple[bytearray]) -> int:
            nonlocal asked
            asked += 1
            into[0][: len(request)] = request
            return len(request)

        with monkeypatch.context() as patch:
            patch.setattr(os, "readv", another)
            patch.setattr(os, "write", lambda *_: 0)
            kernel.send(wire.GETATTR, 1, bytes(16))  # so that the device is readable
            with trio.fail_after(20):
                for _ in range(3):
                    before = asked
                    while asked == before:
                        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(express, "_inside_trio", lambda _: ((), lambda: False))
    run(world, scene)


def test_libfuse_is_never_kept_waiting_for_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its replies are taken before each of the next: with an end that holds a few, a thousand waits can be answered
    in a row."""
    monkeypatch.setattr(relay, "ROOM", 4096)

    async def scene(kernel: Kernel, drive: Drive) -> None:
        operations = Operations(drive.fs, Owner(0, 0, 0))
        operations.drain = kernel.express.drain
        for unique in range(2, 2002, 2):
            with pytest.raises(pyfuse3.FUSEError):
                await operations.setattr(1, None, None, None, None)
            kernel.libfuse.send(wire.failed(unique, errno.EROFS))  # raises where there is no room
            kernel.take_all()

    run(world, scene)


def test_the_end_of_the_mount_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENODEV from the device: unmounted."""

    async def main(drive: Drive) -> None:
        told = []
        async with trio.open_nursery() as nursery:
            kernel = Kernel(drive.fs, nursery)

            def gone(*_: object) -> int:
                raise OSError(errno.ENODEV, "no such device")

            monkeypatch.setattr(os, "readv", gone)
            kernel.send(wire.GETATTR, 1, bytes(16))
            with trio.fail_after(20):
                await kernel.express.serve(lambda: told.append(True))
            kernel.close()
        assert told == [True]

    world.run(main)
