"""Samples → medians.

Concurrency: pure.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from .measure import Sample

Key = tuple[str, str, str, str]
"""part, scenario, network, step"""


@dataclass(frozen=True)
class Cell:
    """The medians of one step on one tool. ``cpu``: the daemons' seconds. ``rss`` (KiB) and ``pause`` (ms): the
    largest of all runs."""

    seconds: float
    requests: float
    bytes: float
    rss: int
    cpu: float
    pause: float
    runs: int
    fault: str


class Results:
    """Medians by key and tool, in the order they were measured."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        gathered: dict[Key, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
        for each in samples:
            gathered[each.part, each.scenario, each.network, each.step][each.tool].append(each)
        self.cells: dict[Key, dict[str, Cell]] = {
            key: {tool: _cell(runs) for tool, runs in tools.items()} for key, tools in gathered.items()
        }

    def cell(self, tool: str, part: str, scenario: str, step: str, network: str = "") -> Cell | None:
        """What was measured, if it was and came out right."""
        found = self.cells.get((part, scenario, network, step), {}).get(tool)
        return found if found is not None and not found.fault else None


def _cell(runs: list[Sample]) -> Cell:
    good = [each for each in runs if not each.fault] or runs
    return Cell(
        statistics.median(each.seconds for each in good),
        statistics.median(each.requests for each in good),
        statistics.median(each.bytes for each in good),
        max(each.rss for each in good),
        statistics.median(each.cpu for each in good),
        max(each.pause for each in good),
        len(good),
        good[0].fault,
    )
