"""Mounts of the fakes: one of all sample sessions for the tests that only read, one of a test's own for the others."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from drives import World
from mounts import Daemon, Samples, left_below

from mountfs.demo.samples import SAMPLES
from mountfs.demo.server import Fakes


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    """A test that leaves a mount behind fails, and takes it away."""
    yield
    left = left_below(tmp_path)
    for path in reversed(left):
        subprocess.run(["umount", "-l", path], check=False)
    assert not left


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    """One mount of all sample sessions, for tests that only read."""
    place = tmp_path_factory.mktemp("samples")
    with Fakes(place / "archives", pending=0.0) as fakes:
        world = World(fakes, place)
        world.set("providers.kaizen", sessions=[sample.id for sample in SAMPLES if sample.provider == "kaizen"])
        world.config()
        mountpoint = place / "drive"
        with Daemon(place / "config.toml", mountpoint):
            yield Samples(fakes, mountpoint, place / "archives", place / "unpacked")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Fakes of this test's own."""
    with Fakes() as fakes:
        yield World(fakes, tmp_path)


@pytest.fixture
def mount(world: World, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Mounts the world on ``tmp_path / "drive"``, and ends the daemon after the test."""
    with ExitStack() as stack:

        def mounted(*words: str, name: str = "drive", user: int | None = None) -> Daemon:
            world.config()
            return stack.enter_context(Daemon(tmp_path / "config.toml", tmp_path / name, *words, user=user))

        yield mounted
