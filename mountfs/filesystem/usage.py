"""How much is read, how much of it had to be waited for, and by which programs: for ``status`` and the metrics.

A read or an open is *at hand* when it was answered from memory without a wait. One that waits is booked to the program
that opened the file: that is who causes transfers and inflating. Of those at hand, ``bytes_in_memory`` came from small
members held in memory; the rest lay in the cache on disk.

Concurrency: trio task thread; two additions a read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from mountfs.tally import Tally

PROGRAMS = 100
"""Programs remembered; the least of them are forgotten first."""


class Usage:
    """Running totals since the mount. ``waited``: of those that were not at hand. ``operations``: what the kernel
    asked, by kind, with the errnos it was answered."""

    __slots__ = (
        "_waited",
        "bytes",
        "bytes_in_memory",
        "bytes_waited",
        "opens",
        "opens_waited",
        "operations",
        "reads",
        "reads_waited",
    )

    def __init__(self) -> None:
        self.opens = 0
        self.opens_waited = 0
        self.reads = 0
        self.reads_waited = 0
        self.bytes = 0
        self.bytes_in_memory = 0
        self.bytes_waited = 0
        self.operations: defaultdict[str, Tally] = defaultdict(Tally)
        self._waited: Counter[str] = Counter()

    def waited(self, program: str, size: int) -> None:
        """``program`` waited for so many bytes."""
        self._waited[program or "unknown"] += size
        if len(self._waited) > 2 * PROGRAMS:
            self._waited = Counter(dict(self._waited.most_common(PROGRAMS)))

    def programs(self) -> list[dict[str, Any]]:
        """Who waited for most bytes, the first ten."""
        return [{"program": name, "bytes": size} for name, size in self._waited.most_common(10)]

    def facts(self) -> dict[str, int]:
        """As JSON values."""
        return {name: getattr(self, name) for name in ("opens", "opens_waited", "reads", "reads_waited", "bytes")}
