"""The Grafana dashboard asks for what is told, and for nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import trio
from drives import World

from mountfs import daemon
from mountfs.demo.server import Fakes
from mountfs.metrics import Figures
from mountfs.metrics.collector import MountCollector

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


def test_every_metric_exists(tmp_path: Path) -> None:
    """Each metric a panel names is one the collector makes, and the other way round but for a few nobody plots."""
    made: set[str] = set()

    async def main(world: World) -> None:
        async with daemon.parts(world.config()) as built:
            figures = Figures(built.filesystem, built.store, built.workers, built.memory_use, "1")
            made.update(family.name for family in MountCollector(figures).collect())

    with Fakes() as fakes:
        trio.run(main, World(fakes, tmp_path))
    asked = {SUFFIX.sub("", name) for name in re.findall(r"\bmountfs_\w+", DASHBOARD.read_text())}
    assert asked - made == set()
    assert made - asked == {
        "mountfs_inodes",
        "mountfs_cache_evictions",
        "mountfs_sessions_listed",
        "mountfs_provider_last_error_timestamp_seconds",
    }


def test_form() -> None:
    """Panels have numbers of their own and do not overlap; every query has a letter and a source."""
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in panels:
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(letters)) == len(letters)
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", ()))
