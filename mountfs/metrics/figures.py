"""Where the metrics come from: the parts, and the one thing nobody else counts, the delay of the loop.

Concurrency: trio task thread; the store is asked in a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from mountfs.filesystem import Filesystem
from mountfs.store import Store
from mountfs.tally import Tally
from mountfs.workers import Workers

INTERVAL = 0.5
"""Seconds between two looks at the loop's delay."""
DISK_PATIENCE = 1.0
"""Seconds a scrape waits for the disk; then the last known size of the cache is told."""


@dataclass(eq=False, slots=True)
class Figures:
    """``memory``: (bytes used, bytes allowed) of the memory cache. ``used``: bytes of the disk cache, at the last
    look."""

    filesystem: Filesystem
    store: Store
    workers: Workers
    memory: Callable[[], tuple[int, int]]
    version: str
    loop_delay: Tally = field(default_factory=Tally)
    used: int = 0
    _looking: bool = False

    async def watch_loop(self) -> None:
        """Sleeps and sees how much too late it is woken: what every request of the mount waits at least."""
        while True:
            due = trio.current_time() + INTERVAL
            await trio.sleep_until(due)
            self.loop_delay.add(max(0.0, trio.current_time() - due))

    async def look(self, nursery: trio.Nursery) -> None:
        """Learns what only the disk knows. Where that hangs, one look stays behind it, and scrapes go on."""
        if not self._looking:
            self._looking = True
            seen = trio.Event()
            nursery.start_soon(self._look, seen)
            with trio.move_on_after(DISK_PATIENCE):
                await seen.wait()

    async def _look(self, seen: trio.Event) -> None:
        try:
            self.used = await self.workers.disk(lambda: self.store.used)
        finally:
            self._looking = False
            seen.set()
