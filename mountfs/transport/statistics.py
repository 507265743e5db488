"""What a transport has done, counted: for ``status``, ``why`` and the metrics.

Concurrency: ``Counters`` is changed by the transport's tasks, one synchronous step each; ``Statistics`` is a copy.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from mountfs.errors import ServiceError
from mountfs.tally import Tally


@dataclass(frozen=True, slots=True)
class Statistics:
    """A moment's figures. ``requests``: by HTTP status; 0 counts those without an answer. Times are seconds:
    ``latency`` is the mean to the first byte, ``last_error_at`` is since 1970. ``answers``: the times to the first
    byte by status; shared, not a copy."""

    requests: Mapping[int, int]
    retries: int
    bytes_received: int
    latency: float | None
    transfers: int
    waiting: int
    breaker_open: bool
    last_error: str
    last_error_at: float | None
    answers: Mapping[int, Tally]


@dataclass(slots=True)
class Counters:
    """The running totals behind ``Statistics``."""

    requests: Counter[int] = field(default_factory=Counter)
    retries: int = 0
    bytes_received: int = 0
    answers: defaultdict[int, Tally] = field(default_factory=lambda: defaultdict(Tally))
    transfers: int = 0
    last_error: ServiceError | None = None
    last_error_at: float | None = None

    def answered(self, status: int, seconds: float) -> None:
        """An answer's head came after so long."""
        self.requests[status] += 1
        self.answers[status].add(seconds)

    def failed(self, error: ServiceError, wall: float) -> None:
        """A call ended in this error."""
        self.last_error = error
        self.last_error_at = wall

    def snapshot(self, *, waiting: int, breaker_open: bool) -> Statistics:
        """The figures now."""
        answered = sum(tally.count for tally in self.answers.values())
        return Statistics(
            requests=dict(self.requests),
            retries=self.retries,
            bytes_received=self.bytes_received,
            latency=sum(tally.seconds for tally in self.answers.values()) / answered if answered else None,
            transfers=self.transfers,
            waiting=waiting,
            breaker_open=breaker_open,
            last_error=self.last_error.message if self.last_error else "",
            last_error_at=self.last_error_at,
            answers=self.answers,
        )
