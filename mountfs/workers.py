"""Where work that may block is done: two groups of threads, so that a slow disk does not hold up inflating.

Nothing that blocks runs on the trio loop: disk calls go to ``disk`` (they wait for the device), parsing and inflating
to ``cpu`` (isal and zlib release the GIL; more threads than cores only add switches). Both are limiters of our own:
trio's default one is shared with name resolution, whose abandoned look-ups keep their place.

An error leaves its thread without what the failed call had in hand: its traceback, the thread's frames and the error
are one reference cycle, which would keep that until a garbage collection; and where a disk is full, that is the very
file that was just deleted to make room.

Concurrency: created once in the daemon and handed down; a thread is never abandoned, so what it touches stays valid.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Workers:
    """Two thread groups. ``disk_threads``: 8 keeps a few slow reads from queueing; the page cache answers most."""

    def __init__(self, *, disk_threads: int = 8, cpu_threads: int | None = None) -> None:
        self._disk = trio.CapacityLimiter(disk_threads)
        self._cpu = trio.CapacityLimiter(cpu_threads or max(2, os.cpu_count() or 1))

    async def disk(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """``call(*args)`` in a thread that may wait for a disk."""
        return await trio.to_thread.run_sync(_empty_handed, call, *args, limiter=self._disk)

    async def cpu(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """``call(*args)`` in a thread meant for computing."""
        return await trio.to_thread.run_sync(_empty_handed, call, *args, limiter=self._cpu)


def _empty_handed(call: Callable[[*Ts], T], *args: *Ts) -> T:
    """``call(*args)``; an error of it keeps the lines of its traceback, but no variable of theirs."""
    try:
        return call(*args)
    except BaseException as error:
        raised: BaseException | None = error
        while raised is not None:
            traceback.clear_frames(raised.__traceback__)
            raised = raised.__cause__ or raised.__context__
        raise
