"""``mountfs cat``: a file's bytes without a mount.

Concurrency: runs inside trio; writing may block for as long as the reader likes, so a thread does it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from mountfs.cli.common import common_options
from mountfs.cli.trees import each_path, find
from mountfs.errors import SnapshotLost

if TYPE_CHECKING:
    from mountfs.filesystem import Filesystem

CHUNK = 1 << 20
"""Bytes a read: large enough that the reader's window grows, small enough to be nothing in memory."""


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--offline", is_flag=True, help="Make no request: read what the cache holds.")
@common_options
def command(paths: Sequence[str], offline: bool) -> int:
    """Write the files at PATH (provider/session/…) to standard output, without mounting."""
    return each_path(paths, _cat, offline=offline)


async def _cat(filesystem: Filesystem, path: str) -> None:
    import trio

    handle = await _open(filesystem, path)
    try:
        offset = 0
        while data := await filesystem.read(handle, offset, CHUNK):
            await trio.to_thread.run_sync(_write, data)
            offset += len(data)
    finally:
        await filesystem.release(handle)


async def _open(filesystem: Filesystem, path: str) -> int:
    try:
        return await filesystem.open((await find(filesystem, path)).inode)
    except SnapshotLost:
        # A live session changed between looking and opening; the kernel asks again on ESTALE, and so do we.
        return await filesystem.open((await find(filesystem, path)).inode)


def _write(data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
