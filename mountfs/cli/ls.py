"""``mountfs ls``: lists a path without a mount.

Concurrency: runs inside trio, one path after the other.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import click

from mountfs.cli.common import common_options
from mountfs.cli.trees import each_path, find, printable

if TYPE_CHECKING:
    from mountfs.filesystem import Attributes, Filesystem


class Line(NamedTuple):
    """One name to be shown, with what is known of it."""

    name: bytes
    attributes: Attributes
    target: bytes = b""


Writer = Callable[[str, Line], str]


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("-l", "--long", "long", is_flag=True, help="Mode, size and time as well.")
@click.option("-R", "--recursive", is_flag=True, help="Also what lies below; goes into every session it meets.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: path, type, mode, size, mtime, target.")
@click.option("--offline", is_flag=True, help="Make no request: show what the cache holds.")
@common_options
def command(paths: Sequence[str], long: bool, recursive: bool, as_json: bool, offline: bool) -> int:
    """List PATH (provider/session/…, else the root) without mounting."""
    write = _json_line if as_json else _long_line if long else _short_line
    heading = (len(paths) > 1 or recursive) and not as_json

    async def list_one(filesystem: Filesystem, path: str) -> None:
        await _list(filesystem, path.strip("/"), write=write, heading=heading, recursive=recursive)

    return each_path(paths or [""], list_one, offline=offline)


async def _list(filesystem: Filesystem, path: str, *, write: Writer, heading: bool, recursive: bool) -> None:
    found = await find(filesystem, path)
    if not stat.S_ISDIR(found.mode):
        click.echo(write(path, Line(path.encode(errors="surrogateescape"), found)))
        return
    # A list of what is to come instead of recursion: an archive may be deeper than Python's stack.
    pending = [(path, found)]
    while pending:
        path, found = pending.pop()
        lines = await children(filesystem, found, targets=write is not _short_line)
        if heading:
            click.echo(f"{_shown(path.encode(errors='surrogateescape')) or '.'}:")
        for line in lines:
            click.echo(write(path, line))
        if recursive:
            below = [line for line in lines if stat.S_ISDIR(line.attributes.mode)]
            pending += [
                (f"{path}/{line.name.decode(errors='surrogateescape')}".lstrip("/"), line.attributes)
                for line in reversed(below)
            ]
        if heading and pending:
            click.echo()


async def children(filesystem: Filesystem, directory: Attributes, *, targets: bool) -> list[Line]:
    """What a directory holds, in the tree's order. ``targets``: where links point, too."""
    handle = await filesystem.opendir(directory.inode)
    try:
        found = [each for each in filesystem.readdir(handle, 0) if each.name not in (b".", b"..")]
        lines = []
        for each in found:
            target = b""
            if targets and stat.S_ISLNK(each.attributes.mode):
                target = await filesystem.readlink(each.attributes.inode)
            lines.append(Line(each.name, each.attributes, target))
        return lines
    finally:
        await filesystem.releasedir(handle)


def _shown(name: bytes) -> str:
    """A name as it is where a program reads it, cleaned where a person does."""
    return printable(name) if sys.stdout.isatty() else name.decode(errors="surrogateescape")


def _short_line(_path: str, line: Line) -> str:
    return _shown(line.name)


def _long_line(_path: str, line: Line) -> str:
    mode, size, mtime_ns = line.attributes.mode, line.attributes.size, line.attributes.mtime_ns
    when = datetime.fromtimestamp(mtime_ns // 10**9, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    arrow = f" -> {_shown(line.target)}" if line.target else ""
    return f"{stat.filemode(mode)} {size:>12} {when} {_shown(line.name)}{arrow}"


TYPES = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


def _json_line(path: str, line: Line) -> str:
    name = line.name.decode(errors="surrogateescape")
    mode = line.attributes.mode
    is_itself = stat.S_IFMT(mode) != stat.S_IFDIR and name == path
    shown = {
        "path": name if is_itself else f"{path}/{name}".lstrip("/"),
        "type": TYPES.get(stat.S_IFMT(mode), "other"),
        "mode": f"{stat.S_IMODE(mode):04o}",
        "size": line.attributes.size,
        "mtime": line.attributes.mtime_ns / 10**9,
    }
    if line.target:
        shown["target"] = line.target.decode(errors="surrogateescape")
    return json.dumps(shown)
