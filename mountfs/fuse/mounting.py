"""Mounts, serves until told to stop, unmounts.

*Who reads the device*: libfuse mounts and shakes hands with the kernel, and pyfuse3 runs on it. Once mounted,
``Relay`` puts itself between: libfuse's descriptor is made one end of a socket pair, the device goes to ``express``,
which answers what is at hand and passes every other request on through the socket. Where libfuse's descriptor cannot be
told (no /proc), or with ``-o noexpress``, pyfuse3 serves the device alone: slower, the same answers.

Concurrency: one mount a process (pyfuse3's state is the module's).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

import pyfuse3
import trio

from mountfs import knobs
from mountfs.errors import MountfsError
from mountfs.filesystem import Filesystem
from mountfs.fuse.express import Express
from mountfs.fuse.invalidation import Invalidator
from mountfs.fuse.operations import Operations, Owner, WithAttributes
from mountfs.fuse.relay import Relay

MAX_TASKS = 100_000  # no lid: hundreds of readers blocked on one provider must leave room for another's
MIN_TASKS = 8
MAY_NOT = "mounting needs root or fusermount3 with its setuid bit; in a container, start it with --cap-add SYS_ADMIN"


def tune(mountpoint: str, *, express: bool) -> dict[str, str]:
    """Raises read-ahead and max_background where permitted; answers what each is now (``knobs.tune``)."""
    state = knobs.tune(os.stat(mountpoint).st_dev)
    if express and state["max_background"] == "unknown":
        state["max_background"] = str(knobs.granted())
    return state


@contextlib.asynccontextmanager
async def mounted(
    filesystem: Filesystem,
    mountpoint: str,
    *,
    owner: Owner,
    options: set[str],
    xattr: bool = False,
    express: bool = True,
    device: int | None = None,
) -> AsyncIterator[trio.Event]:
    """Mounts and serves while the context is open; the event is set when the kernel's side is gone (umount).
    ``device``: the open /dev/fuse of a mount somebody else made; it is served, and not unmounted."""
    operations = (WithAttributes if xattr else Operations)(filesystem, owner)
    before = Relay.devices()
    try:
        where = mountpoint if device is None else f"/dev/fd/{device}"  # libfuse's name for "mounted already"
        pyfuse3.init(operations, where, {*pyfuse3.default_options, *options})
    except RuntimeError as error:  # libfuse, or fusermount3, has said why on standard error
        raise MountfsError(f"{mountpoint}: cannot be mounted: {error}", advice=MAY_NOT) from None
    ended = trio.Event()
    gone = False
    relay: Relay | None = None

    async def serve() -> None:
        nonlocal gone
        try:
            await pyfuse3.main(min_tasks=MIN_TASKS, max_tasks=MAX_TASKS)
            gone = True
        finally:
            ended.set()

    try:
        found = {device} if device is not None else Relay.devices() - before
        if express and len(found) == 1:
            relay = Relay(found.pop())
        async with trio.open_nursery() as nursery:
            if relay is not None:
                line = Express(filesystem, owner, relay, nursery)
                operations.drain = line.drain
                nursery.start_soon(line.serve, pyfuse3.terminate)
                nursery.start_soon(line.deliver)
                filesystem.nodes.invalidate = Invalidator(filesystem, nursery, relay.invalidate, line.waits_in)
            else:
                filesystem.nodes.invalidate = Invalidator(filesystem, nursery, pyfuse3.invalidate_entry)
            nursery.start_soon(serve)
            nursery.start_soon(filesystem.waiting.watch_reads)
            nursery.start_soon(filesystem.waiting.watch_callers)
            try:
                yield ended
            finally:
                nursery.cancel_scope.cancel()
    finally:
        # Only now: a worker that still ran would go on with a session that is freed, and crash the process.
        if relay is None:
            pyfuse3.close(unmount=not gone)
        else:
            line.give_up()
            relay.close_device()
            pyfuse3.close(unmount=not gone)
            relay.close()
