"""The tree without FUSE: opening it, and walking a path as a shell means it.

A path is ``provider/session/…``; links inside a session are followed, and never lead out of it (the tree hides those
that would). What is printed to a terminal is cleaned of control characters: archives are written by strangers.

Concurrency: runs inside trio; what blocks (writing to a pipe nobody reads) is done in a thread.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from mountfs.cli.common import log_level, show_error, usable_config
from mountfs.errors import CallerError, MountfsError

if TYPE_CHECKING:
    from mountfs.filesystem import Attributes, Filesystem

MAX_LINKS = 40
"""As the kernel's own limit (path_resolution(7))."""


class TooManyLinks(CallerError):
    """A chain of symbolic links that does not end."""


class OutputFailed(MountfsError):
    """Standard output does not take what we write."""


def each_path(paths: Sequence[str], work: Callable[[Filesystem, str], Awaitable[None]], *, offline: bool) -> int:
    """Does ``work`` for every path in one tree; goes on after an error. Returns the exit status."""
    import trio

    from mountfs import daemon
    from mountfs.cli.logs import configure_logging

    configure_logging(log_level("error"), os.environ)
    config = usable_config()

    output: OSError | None = None

    async def run() -> int:
        nonlocal output
        status = 0
        async with daemon.tree(config, offline=offline) as filesystem:
            for path in paths:
                try:
                    await work(filesystem, path)
                except MountfsError as error:
                    show_error(error, about=path)
                    status = 1
                except OSError as error:
                    # Kept until the tree is closed: a nursery would wrap it.
                    output = error
                    break
        return status

    status = trio.run(run)
    if isinstance(output, BrokenPipeError):
        raise output
    if output is not None:
        raise OutputFailed(f"cannot write: {output.strerror}", advice="look at where the output goes")
    return status


async def find(filesystem: Filesystem, path: str, *, follow: bool = True) -> Attributes:
    """What a path names. ``follow``: also a link that is the last part of it. Raises NotFound and its kin."""
    from mountfs.tree.inodes import ROOT

    walked = [await filesystem.getattr(ROOT)]
    pending = deque(path.encode(errors="surrogateescape").split(b"/"))
    links = 0
    while pending:
        name = pending.popleft()
        if name in (b"", b"."):
            continue
        if name == b"..":
            walked = walked[:-1] or walked
            continue
        found, _node = await filesystem.lookup(walked[-1].inode, name)
        if stat.S_ISLNK(found.mode) and (follow or any(pending)):
            links += 1
            if links > MAX_LINKS:
                raise TooManyLinks("too many symbolic links")
            pending.extendleft(reversed((await filesystem.readlink(found.inode)).split(b"/")))
            continue
        walked.append(found)
    return walked[-1]


def printable(name: bytes) -> str:
    """A name for a terminal: what could move the cursor or change colours becomes ``?``."""
    text = name.decode(errors="replace")
    return "".join(c if c.isprintable() else "?" for c in text)
