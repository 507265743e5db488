"""One world a test, where a test needs one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from drives import World

from mountfs.demo.server import Fakes


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Fakes() as fakes:
        yield World(fakes, tmp_path)
