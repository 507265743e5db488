"""One world a test; the services and certificates are shared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Certificate
from drives import World
from faults.roads import HOSTS, Road

from mountfs.demo.server import Fakes

pytest.register_assert_rewrite("faults.matrix", "faults.cells")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Fakes() as fakes:
        yield World(fakes, tmp_path)


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    if shutil.which("openssl") is None:
        pytest.skip("makes certificates")
    right, wrong = (Certificate(tmp_path_factory.mktemp("tls"), *HOSTS) for _ in range(2))
    return Road(right, wrong)
