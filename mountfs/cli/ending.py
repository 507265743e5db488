"""Ending by a signal, once and cleanly: what is half-built when it comes is still taken down.

The first of the signals raises KeyboardInterrupt; all later ones are ignored, since cleaning up is bounded and must not
stop half-way. Where a thing exists but nobody yet answers for it, the signal is held back for that moment.

Concurrency: signal handlers run in the main thread, between two of its bytecodes; so this belongs to that thread alone.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """A context in which the signals end what runs. On leaving it they mean again what they meant before, unless one
    came: then the process is about to end, and is let do so."""

    def __init__(self) -> None:
        self._holding = False
        self._ignoring = False
        self._came = False

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        # nohup ignores SIGHUP for its child, and that is meant.
        under_nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        numbers = [number for number in SIGNALS if number != signal.SIGHUP or not under_nohup]
        before = {number: signal.signal(number, self._end) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                # Python's own end takes a moment too, in which a handler of ours would be no more.
                signal.signal(number, signal.SIG_IGN if self._came else handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A signal that comes inside ends things at its end. Nothing inside may wait."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._came:
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """From now on no signal disturbs. By a flag: for one that is on its way when SIG_IGN is set, Python shows a
        traceback."""
        self._ignoring = True

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if self._ignoring:
            return
        self._ignoring = self._came = True
        if not self._holding:
            raise KeyboardInterrupt
