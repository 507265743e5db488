"""A drive without FUSE, for tests of the whole below the kernel: fakes, a configuration, and a kernel that caches
nothing.

    def test_x(world: World) -> None:
        world.fakes.dari.add("sess_1", zip_of({"a.txt": b"alpha"}))

        async def main(drive: Drive) -> None:
            assert await drive.cat("dari/sess_1/a.txt") == b"alpha"
            drive.later(31)
            assert await drive.errno("dari/sess_2") == errno.ENOENT

        world.run(main)

``Drive`` asks the file system what the kernel would ask, but remembers nothing between two calls: whatever is answered
without a request is answered by what mountfs believes. ``later`` moves the drive's clock, so a belief runs out in zero
seconds while sockets, threads and files stay real.

Concurrency: one trio run a test, bounded; the fakes serve from a thread of their own.
"""

from __future__ import annotations

import errno as numbers
import io
import os
import ssl
import stat
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import trio

from mountfs import config as configuration
from mountfs import errnos
from mountfs.daemon import tree
from mountfs.demo.fake import Fake, FakeSession, Recorded
from mountfs.demo.server import Fakes, Sections
from mountfs.errors import MountfsError
from mountfs.filesystem import Attributes, Filesystem
from mountfs.model import Inode
from mountfs.providers import options_of
from mountfs.transport import Surroundings, from_environment
from mountfs.tree.inodes import ROOT

T = TypeVar("T")

READ = 128 << 10
"""Bytes the kernel asks for at a time, unless it was allowed more."""
MOMENT = (2026, 1, 2, 3, 4, 6)
PROVIDERS = ("kaizen", "dari", "browserbase")
TLS = ssl.create_default_context()
"""Made once: it takes 50 ms."""
UUID = "0f2c1d3e-7a41-4c55-9d0b-51c7a1e0000{}"


def zip_of(members: Mapping[str, bytes], *, stored: bool = False) -> bytes:
    """A plain archive; a name that ends in ``/`` is a directory."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, MOMENT)
            info.compress_type = zipfile.ZIP_STORED if stored or name.endswith("/") else zipfile.ZIP_DEFLATED
            target.writestr(info, data)
    return made.getvalue()


def id_of(provider: str, number: int = 1) -> str:
    """A session's id as the provider's look."""
    return UUID.format(number) if provider == "browserbase" else f"s_{number}"


class MovableClock(trio.abc.Clock):
    """Real time, and what a test has added to it; or, while it is ``stopped``, only that."""

    def __init__(self) -> None:
        self.added = 0.0
        self.stopped: float | None = None

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return (time.monotonic() if self.stopped is None else self.stopped) + self.added

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.current_time()


class Drive:
    """A file system, asked by path. Every answer's lookups are given back at once, as by a kernel short of memory."""

    def __init__(self, filesystem: Filesystem, clock: MovableClock, fakes: Fakes, limit: trio.CancelScope) -> None:
        self.fs = filesystem
        self.fakes = fakes
        self._clock = clock
        self._limit = limit

    def later(self, seconds: float) -> None:
        """So many seconds go by."""
        self._clock.added += seconds
        self._limit.deadline += seconds

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """No time goes by but by ``later``: however busy the machine is, nothing is late by itself."""
        self._clock.stopped = before = time.monotonic()
        try:
            yield
        finally:
            self._clock.added += before - time.monotonic()
            self._clock.stopped = None

    # -- as a program ---------------------------------------------------------------------------------------------

    async def walk(self, path: str) -> tuple[Attributes, list[Inode]]:
        """What a path names, and the inodes the kernel now refers to; ``forget`` gives them back."""
        attributes = await self.fs.getattr(ROOT)
        held: list[Inode] = []
        try:
            for name in filter(None, path.split("/")):
                attributes, node = await self.fs.lookup(attributes.inode, os.fsencode(name))
                self.fs.nodes.remember(node)
                held.append(attributes.inode)
        except BaseException:
            self.forget(held)
            raise
        return attributes, held

    def forget(self, held: list[Inode]) -> None:
        for inode in held:
            self.fs.nodes.forget(inode, 1)

    async def stat(self, path: str) -> Attributes:
        attributes, held = await self.walk(path)
        self.forget(held)
        return attributes

    @asynccontextmanager
    async def directory(self, path: str) -> AsyncIterator[int]:
        """A directory handle."""
        attributes, held = await self.walk(path)
        try:
            handle = await self.fs.opendir(attributes.inode)
            try:
                yield handle
            finally:
                await self.fs.releasedir(handle)
        finally:
            self.forget(held)

    @asynccontextmanager
    async def file(self, path: str) -> AsyncIterator[OpenHandle]:
        """A file handle."""
        attributes, held = await self.walk(path)
        try:
            handle = await self.fs.open(attributes.inode)
            try:
                yield OpenHandle(self.fs, handle, attributes)
            finally:
                await self.fs.release(handle)
        finally:
            self.forget(held)

    async def ls(self, path: str) -> list[str]:
        """The names in a directory, without ``.`` and ``..``."""
        async with self.directory(path) as handle:
            names = []
            for dentry in self.fs.readdir(handle, 0):
                if dentry.node is not None:
                    names.append(os.fsdecode(dentry.name))
                    self.fs.nodes.unused(dentry.node)
            return names

    async def cat(self, path: str) -> bytes:
        """A file's bytes, read as ``cat`` does."""
        async with self.file(path) as handle:
            return await handle.read_all()

    async def tree(self, path: str) -> dict[str, bytes]:
        """Every file below a directory; a link's value is its target after ``-> ``, a directory's is empty."""
        found: dict[str, bytes] = {}
        for name in await self.ls(path):
            inner = f"{path}/{name}"
            attributes, held = await self.walk(inner)
            if stat.S_ISDIR(attributes.mode):
                found[f"{name}/"] = b""
                found |= {f"{name}/{each}": data for each, data in (await self.tree(inner)).items()}
            elif stat.S_ISLNK(attributes.mode):
                found[name] = b"-> " + await self.fs.readlink(attributes.inode)
            else:
                found[name] = await self.cat(inner)
            self.forget(held)
        return found

    async def error(self, asking: Awaitable[object]) -> str:
        """The errno's name a program would see, or "" where it succeeds."""
        try:
            await asking
        except MountfsError as exc:
            return numbers.errorcode[errnos.errno_of(exc)].replace("ENOTSUP", "EOPNOTSUPP")
        return ""

    # -- what it cost ---------------------------------------------------------------------------------------------

    def asked(self) -> list[str]:
        """Every request since the last look, over all services, as ``GET /path`` (with its range, if it had one)."""
        lines = [_line(fake, record) for fake in self.fakes.all for record in fake.requests]
        self.fakes.clear_requests()
        return lines

    async def settle(self, done: Callable[[], bool], seconds: float = 5.0) -> None:
        """Waits until something in the background is done; fails after ``seconds`` of real time."""
        until = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < until, "it did not come to pass"
            await trio.sleep(0.005)


class OpenHandle:
    """An open file."""

    def __init__(self, filesystem: Filesystem, handle: int, attributes: Attributes) -> None:
        self._fs = filesystem
        self._handle = handle
        self.size = attributes.size
        self.inode = attributes.inode

    async def read(self, offset: int, size: int = READ) -> bytes:
        return bytes(await self._fs.read(self._handle, offset, size))

    async def read_all(self, size: int = READ) -> bytes:
        parts = [await self.read(offset, size) for offset in range(0, self.size, size)]
        assert await self.read(self.size, size) == b""
        return b"".join(parts)


class World:
    """The fakes of one test and the directory its cache lives in."""

    def __init__(self, fakes: Fakes, place: Path) -> None:
        self.fakes = fakes
        self.place = place
        self.cache = place / "cache"
        self._replaced: dict[str, str | None] = {}
        self.sections: dict[str, dict[str, object]] = {"network": {"retries": 0, "deadline": "10s"}}

    def set(self, section: str, **keys: object) -> None:
        """Keys of the configuration."""
        self.sections.setdefault(section, {}).update(keys)

    def fake(self, provider: str) -> Fake:
        return next(fake for fake in self.fakes.services if fake.name == provider)

    def without_key(self, provider: str) -> None:
        """No key is configured for it."""
        self._replaced[provider] = None

    def wrong_key(self, provider: str) -> None:
        """A key is configured that the service does not take."""
        self._replaced[provider] = "wrong-SECRET-key"

    def session(
        self, provider: str, archive: bytes | Path = b"", *, number: int = 1, pinned: bool = True
    ) -> FakeSession:
        """A session of a provider; ``pinned``: so that every provider shows it without a listing."""
        id = id_of(provider, number)  # noqa: A001
        session = self.fake(provider).add(id, archive or zip_of({"a.txt": b"alpha"}))
        if pinned:
            known = self.sections.setdefault(f"providers.{provider}", {}).get("sessions", [])
            assert isinstance(known, list)
            self.set(f"providers.{provider}", sessions=[*known, id])
        return session

    def config(self, *, sections: Sections | None = None) -> configuration.Config:
        text = self.fakes.config(self.cache, keys_dir=self.place / "keys", sections=sections or self.sections)
        for provider, key in self._replaced.items():
            file = self.place / "keys" / f"{provider}.key"
            if key is None:
                text = text.replace(f'api_key_file = "{file}"\n', "")
            else:
                file.write_text(key)
        path = self.place / "config.toml"
        path.touch(mode=0o600)
        path.write_text(text)
        return configuration.load(str(path), {}, options=options_of)

    def run(
        self,
        main: Callable[[Drive], Awaitable[T]],
        *,
        offline: bool = False,
        limit: float = 60.0,
        network: Surroundings | None = None,
    ) -> T:
        """Runs it over a tree of its own; what hangs fails. ``network``: what lies between it and the services."""
        config = self.config()
        clock = MovableClock()
        network = network or Surroundings(proxies=from_environment(os.environ), tls=TLS)

        async def bounded() -> T | AssertionError:
            with trio.fail_after(limit) as scope:
                async with tree(config, offline=offline, network=network) as filesystem:
                    try:
                        return await main(Drive(filesystem, clock, self.fakes, scope))
                    except AssertionError as exc:  # handed round the nurseries, which would wrap it
                        return exc

        result = trio.run(bounded, clock=clock)
        if isinstance(result, AssertionError):
            raise result
        return result


def _line(fake: Fake, record: Recorded) -> str:
    span = f" {record.range}" if record.range else ""
    return f"{fake.name} {record.method} {record.path}{span}"
