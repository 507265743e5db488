"""One transfer, those who wait for it, how patient it is, and what is believed of those that failed.

Concurrency: changed on the trio task thread only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import trio

from mountfs.errors import MountfsError, ServiceError
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


class Failures:
    """Errors by the span that could not be had, each believed until a time (trio's clock)."""

    def __init__(self) -> None:
        self._rows: list[tuple[Span, MountfsError, float]] = []

    def add(self, span: Span, error: MountfsError, until: float) -> None:
        self._rows.append((span, error, until))

    def clear(self) -> None:
        """Everything may be asked for again."""
        self._rows.clear()

    def raise_one_of(self, holes: list[Span], now: float) -> None:
        """Raises what is believed of any of ``holes``."""
        self._rows = [row for row in self._rows if row[2] > now]
        for span, error, _ in self._rows:
            if any(span.start < hole.stop and hole.start < span.stop for hole in holes):
                raise error.again()

    def believed(self, now: float) -> list[ServiceError]:
        """The services' failures among them."""
        return [error for _, error, until in self._rows if until > now and isinstance(error, ServiceError)]
