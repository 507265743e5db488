"""The names the kernel is to look up again.

One queue and one thread a provider: the kernel takes a directory's lock for each, so a name in a directory some request
of ours waits in is told later, and a hung directory of one provider holds up no other.

Concurrency: called on the trio task thread; each name is told from a worker thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import trio

from mountfs.filesystem import Filesystem
from mountfs.model import Inode

MOST_NAMES = 1_000_000
"""Waiting in one queue; more are not told, and believed as long as they were."""


class Invalidator:
    """``tell``: makes the kernel drop a name of a directory; blocks, and raises OSError if it does not know it.
    ``busy``: whether a request waits in a directory of which the file system knows nothing yet."""

    def __init__(
        self,
        filesystem: Filesystem,
        nursery: trio.Nursery,
        tell: Callable[[int, bytes], None],
        busy: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._fs = filesystem
        self._nursery = nursery
        self._tell = tell
        self._busy = busy
        self._queues: dict[str, trio.MemorySendChannel[tuple[Inode, bytes]]] = {}

    def __call__(self, provider: str, parent: Inode, name: bytes) -> None:
        queue = self._queues.get(provider)
        if queue is None:
            queue, receive = trio.open_memory_channel[tuple[Inode, bytes]](MOST_NAMES)
            self._queues[provider] = queue
            self._nursery.start_soon(self._work, receive)
        with contextlib.suppress(trio.WouldBlock):
            queue.send_nowait((parent, name))

    async def _work(self, receive: trio.MemoryReceiveChannel[tuple[Inode, bytes]]) -> None:
        limiter = trio.CapacityLimiter(1)
        async for parent, name in receive:
            while self._fs.waiting.waits_in(parent) or self._busy(parent):  # noqa: ASYNC110 - a rare, short wait
                await trio.sleep(0.1)
            with contextlib.suppress(OSError):  # ENOENT: the kernel does not know it any more
                await trio.to_thread.run_sync(self._tell, parent, name, limiter=limiter, abandon_on_cancel=True)
