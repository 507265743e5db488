"""How often something happened, how long it took and how it ended: one row of counters for the metrics.

A ``Tally`` is a histogram of times with the failures among them by number. It is added to for every request of the
kernel and every answer of a service, so it is three additions and one search in a short tuple: about 0.3 us.

Concurrency: changed by one thread (trio's), in synchronous steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

BOUNDS = (0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0)
"""Upper bounds in seconds, from a request answered out of memory to a deadline."""


class Tally:
    """``buckets``: how many took up to the bound of the same place in BOUNDS and longer than the one before it; the
    last has what took longer than all. ``failures``: by errno, or by whatever number the counted has."""

    __slots__ = ("buckets", "failures", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.failures: Counter[int] = Counter()
        self.seconds = 0.0

    def add(self, seconds: float, failure: int = 0) -> None:
        """One more. ``failure``: 0 for one that ended well."""
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        if failure:
            self.failures[failure] += 1

    @property
    def count(self) -> int:
        """How many in all."""
        return sum(self.buckets)

    def cumulated(self) -> list[tuple[str, float]]:
        """The histogram in Prometheus's form: (upper bound, how many took at most so long)."""
        rows, so_far = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.buckets, strict=True):
            so_far += count
            rows.append((bound, float(so_far)))
        return rows
