"""``mountfs export``: a copy of sessions, or parts of them, in a directory; the same tree as a mount's, without FUSE.

A directory is listed, then its files are copied one after the other: the archive's own read-ahead sees a walk and
fetches what comes next. While a session is copied one of its directories is held open, which keeps its version. An
export that was stopped goes on: what is there with the right size and time is passed over.

Concurrency: runs inside trio; everything that touches DEST is done in a thread (``landing.py``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import click

from mountfs.cli.common import common_options
from mountfs.cli.landing import ExportFailed, Landing, Unfinished, failed, is_there, make_link
from mountfs.cli.ls import Line, children
from mountfs.cli.progress import Bar, Board, board, size
from mountfs.cli.trees import each_path, find, printable
from mountfs.errors import MountfsError

if TYPE_CHECKING:
    from mountfs.filesystem import Attributes, Filesystem

CHUNK = 1 << 20
SESSION_DEPTH = 2
"""Parts of a session's path: provider/session."""

Parts = tuple[bytes, ...]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@click.command()
@click.argument("path")
@click.argument("dest")
@click.option(
    "--path", "only", multiple=True, metavar="DIR", help="Only this file or directory below PATH; repeatable."
)
@click.option("--offline", is_flag=True, help="Make no request: copy what the cache holds.")
@common_options
def command(path: str, dest: str, only: Sequence[str], offline: bool) -> int:
    """Copy what PATH (provider/session/…, provider, or a path inside a mount) holds into the directory DEST.

    Times, modes and links are kept. Run again, it goes on where it was stopped.
    """
    from mountfs.cli.daemons import split

    _, inner = split(path)
    with board() as shown, Landing(os.path.abspath(dest)) as landing:
        exporter = Exporter(shown, landing, [os.fsencode(os.path.normpath("/" + each).strip("/")) for each in only])
        status = each_path([inner], exporter.run, offline=offline)
        status = 1 if exporter.failures else status
    click.echo(exporter.summary())
    return status


@dataclass
class Exporter:
    """One run of the verb, and what it did."""

    shown: Board
    landing: Landing
    only: list[bytes]
    files: int = 0
    bytes: int = 0
    there: int = 0
    failures: int = 0
    _bar: Bar | None = None
    _done: int = 0
    _total: int = 0

    def summary(self) -> str:
        """For standard output."""
        there = f", {self.there} were there" if self.there else ""
        wrong = f", {self.failures} failed" if self.failures else ""
        return f"{self.files} files, {size(self.bytes)} copied to {self.landing.path}{there}{wrong}"

    async def run(self, filesystem: Filesystem, path: str) -> None:
        """Copies ``path``. Raises what finding it raises, and ExportFailed where DEST takes nothing more."""
        found = await find(filesystem, path)
        inner = tuple(os.fsencode(part) for part in path.split("/") if part)
        if not self.only:
            await self._copy(filesystem, inner, (), found)
        for wanted in self.only:
            parts = tuple(part for part in wanted.split(b"/") if part)
            try:
                below = await find(filesystem, "/".join(os.fsdecode(part) for part in (*inner, *parts)))
                await self._copy(filesystem, (*inner, *parts), parts, below)
            except MountfsError as error:
                self._failed((*inner, *parts), error)

    async def _copy(self, filesystem: Filesystem, inner: Parts, target: Parts, found: Attributes) -> None:
        """Everything at ``inner``: a session's contents at once, a provider's session by session."""
        if not stat.S_ISDIR(found.mode):
            await self._single(filesystem, inner, target, found)
        elif len(inner) >= SESSION_DEPTH:
            async with _kept(filesystem, inner):
                await self._tree(filesystem, inner, target, found)
        else:
            for line in await children(filesystem, found, targets=False):
                try:
                    await self._copy(filesystem, (*inner, line.name), (*target, line.name), line.attributes)
                except MountfsError as error:
                    self._failed((*inner, line.name), error)

    async def _single(self, filesystem: Filesystem, inner: Parts, target: Parts, found: Attributes) -> None:
        self._begin(inner, found.size)
        directory, name = (target[:-1], target[-1]) if target else ((), inner[-1])
        await self._files(filesystem, inner[:-1], directory, [Line(name, found)])
        self._end()

    async def _tree(self, filesystem: Filesystem, inner: Parts, target: Parts, found: Attributes) -> None:
        directories = await self._plan(filesystem, inner, found)
        for below, attributes in directories:
            try:
                lines = await children(filesystem, attributes, targets=True)
                files = [line for line in lines if not stat.S_ISDIR(line.attributes.mode)]
                await self._files(filesystem, (*inner, *below), (*target, *below), files)
            except MountfsError as error:
                self._failed((*inner, *below), error)
        await _in_thread(self._set_times, target, directories)
        self._end()

    async def _plan(self, filesystem: Filesystem, inner: Parts, found: Attributes) -> list[tuple[Parts, Attributes]]:
        """Every directory below, from the top; the bar learns how much there is."""
        planned: list[tuple[Parts, Attributes]] = []
        pending: list[tuple[Parts, Attributes]] = [((), found)]
        total = 0
        while pending:
            below, attributes = pending.pop()
            planned.append((below, attributes))
            for line in await children(filesystem, attributes, targets=False):
                if stat.S_ISDIR(line.attributes.mode):
                    pending.append(((*below, line.name), line.attributes))
                else:
                    total += line.attributes.size
        self._begin(inner, total)
        return planned

    async def _files(self, filesystem: Filesystem, inner: Parts, target: Parts, lines: Sequence[Line]) -> None:
        """The files and links of one directory."""
        directory = await _in_thread(self.landing.directory, target)
        try:
            for line in lines:
                try:
                    await self._one(filesystem, directory, line)
                except MountfsError as error:
                    self._failed((*inner, line.name), error)
                except OSError as error:
                    self._failed((*inner, line.name), failed(printable(line.name), error))
                self._advance(line.attributes.size)
        finally:
            os.close(directory)

    async def _one(self, filesystem: Filesystem, directory: int, line: Line) -> None:
        found = line.attributes
        if stat.S_ISLNK(found.mode):
            made = await _in_thread(make_link, directory, line.name, line.target, found.mtime_ns)
            self._count(made=made, size=0)
        elif await _in_thread(is_there, directory, line.name, found.size, found.mtime_ns):
            self._count(made=False, size=0)
        else:
            await self._write(filesystem, directory, line)
            self._count(made=True, size=found.size)

    async def _write(self, filesystem: Filesystem, directory: int, line: Line) -> None:
        found = line.attributes
        handle = await filesystem.open(found.inode)
        try:
            file = await _in_thread(Unfinished, directory)
            try:
                offset = 0
                while data := await filesystem.read(handle, offset, CHUNK):
                    await _in_thread(file.write, data)
                    offset += len(data)
                    self._show(offset)
                await _in_thread(file.finish, line.name, stat.S_IMODE(found.mode), found.mtime_ns)
            except BaseException:
                file.discard()
                raise
        finally:
            await filesystem.release(handle)

    def _set_times(self, target: Parts, directories: Sequence[tuple[Parts, Attributes]]) -> None:
        for below, attributes in reversed(directories):
            if attributes.mtime_ns:
                self.landing.set_time((*target, *below), attributes.mtime_ns)

    # -- what is told --------------------------------------------------------------------------------------------

    def _begin(self, inner: Parts, total: int) -> None:
        self._bar, self._done, self._total = self.shown.bar(_label(inner)), 0, total

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.update(self._done, self._total)
            self._bar.finish("done")

    def _show(self, offset: int) -> None:
        if self._bar is not None:
            self._bar.update(self._done + offset, self._total)

    def _advance(self, count: int) -> None:
        self._done += count
        self._show(0)

    def _count(self, *, made: bool, size: int) -> None:
        if made:
            self.files, self.bytes = self.files + 1, self.bytes + size
        else:
            self.there += 1

    def _failed(self, inner: Parts, error: MountfsError) -> None:
        """Tells it and goes on, unless nothing else would work either."""
        if isinstance(error, ExportFailed) and error.fatal:
            raise error
        self.failures += 1
        self.shown.say(f"mountfs: {_label(inner)}: {error}")


@asynccontextmanager
async def _kept(filesystem: Filesystem, inner: Parts) -> AsyncIterator[None]:
    """The session's version stays while one of its directories is open."""
    top = await find(filesystem, "/".join(os.fsdecode(part) for part in inner[:SESSION_DEPTH]))
    handle = await filesystem.opendir(top.inode)
    try:
        yield
    finally:
        await filesystem.releasedir(handle)


async def _in_thread(call: Callable[[*Ts], T], *args: *Ts) -> T:
    import trio

    return await trio.to_thread.run_sync(call, *args)


def _label(inner: Parts) -> str:
    return printable(b"/".join(inner)) or "everything"
