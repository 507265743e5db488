"""Sorting that other threads survive.

Theory: ``sorted`` holds the interpreter's lock from its first comparison to its last: a second for a million names,
in which the event loop answers nobody. Sorted in runs that are merged afterwards, it is held for 20 ms at a time.

Concurrency: pure functions, made to run in a worker thread.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T", int, bytes)

RUN = 32_768


def in_order(values: Iterable[T]) -> Iterator[T]:
    """The values in rising order, like ``sorted``."""
    rest = iter(values)
    runs: list[list[T]] = []
    while run := sorted(islice(rest, RUN)):
        runs.append(run)
    return iter(runs[0]) if len(runs) == 1 else heapq.merge(*runs)


def ranks(values: Sequence[int]) -> Iterator[int]:
    """The places of the values in their rising order; equal ones keep theirs. At most 2^32 values, none negative."""
    for value in in_order(value << 32 | place for place, value in enumerate(values)):
        yield value & 0xFFFF_FFFF
