"""Looking for callers' signals: every stuck program soon, and never so many at once that others wait for it."""

from __future__ import annotations

import time
from collections import Counter
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock

from mountfs.errors import Interrupted
from mountfs.filesystem.nodes import Caller
from mountfs.filesystem.waiting import LOOKS, SIGNAL_POLL, Waiting
from mountfs.model import Inode

SLACK = 0.01


class Looked(Caller):
    """A caller whose signals are a set of pids, and who notes when it was looked at."""

    looks: ClassVar[Counter[float]] = Counter()
    signalled: ClassVar[set[int]] = set()

    def interrupted(self) -> bool:
        self.looks[trio.current_time()] += 1
        return self.pid in self.signalled


@pytest.mark.parametrize("count", [1, 5, 300])
def test_every_signal_is_seen_soon(count: int) -> None:
    """However many wait, each is looked at every SIGNAL_POLL seconds, a few in one go, and one with a signal ends; one
    that has just begun to wait too."""
    Looked.looks.clear()
    Looked.signalled.clear()
    ended: dict[int, float] = {}

    async def stuck(waiting: Waiting, pid: int) -> None:
        try:
            await waiting.wait(Looked(pid), trio.sleep_forever, f"p/{pid}", Inode(pid))
        except Interrupted:
            ended[pid] = trio.current_time()

    async def main() -> None:
        waiting = Waiting(3600, time.time)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.watch_callers)
            for pid in range(1, count + 1):
                nursery.start_soon(stuck, waiting, pid)
            await trio.sleep(1.03)
            before = len(Looked.looks)
            assert Looked.looks.total() >= 3 * count
            for pid in {1, count, count + 1}:
                began = trio.current_time()
                Looked.signalled.add(pid)
                if pid > count:
                    nursery.start_soon(stuck, waiting, pid)
                await trio.sleep(SIGNAL_POLL + SLACK)
                assert began <= ended[pid] <= began + SIGNAL_POLL + SLACK
            assert len(Looked.looks) > before
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert max(Looked.looks.values()) <= LOOKS
