"""One transfer, those who wait for it, and how patient it is.

Concurrency: changed on the trio task thread only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import trio

from mountfs.model import Span


@dataclass(frozen=True, slots=True)
class Patience:
    """Times, in seconds: of one request, how long a failure is believed, and how often an interrupted body is
    resumed."""

    deadline: float
    failing: float
    retries: int
    rng: random.Random = field(default_factory=random.Random, repr=False)

    def pause(self, failures: int, *, first: float = 0.1, longest: float = 2.0) -> float:
        """Before a body that broke off for the ``failures``-th time is gone on with: half to the whole of a growing
        pause, so that all whom a failure hit at once do not come back at once."""
        return min(longest, first * 2.0 ** (failures - 1)) * self.rng.uniform(0.5, 1.0)


@dataclass(eq=False, slots=True)
class Transfer:
    """One span on its way. ``at``: everything before it is here. ``stop`` may move towards ``at``, never away."""

    start: int
    stop: int
    began: float
    demand: bool
    at: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def rest(self) -> Span:
        return Span(self.at, self.stop)

    def seconds_to(self, offset: int, now: float) -> float:
        """How long until ``offset`` is here at the rate so far; 0 where nothing came yet: a slow first byte says
        nothing of the rest, and another request would wait for its own as long."""
        done = self.at - self.start
        if done <= 0:
            return 0.0
        return (offset - self.at) * (now - self.began) / done


@dataclass(eq=False, slots=True)
class Waiter:
    """Somebody waits for ``need``; ``event``: there is news."""

    need: Span
    event: trio.Event
