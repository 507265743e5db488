"""A store in a directory of its own, a wall clock that stands still, and processes that are always reaped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from store.tools import MIB, Clock, MakeStore, StartWorker

from mountfs.store import Store
from mountfs.store.disk import read_boot_id

WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture
def clock() -> Clock:
    """Both the wall clock and the monotonic one."""
    return Clock()


@pytest.fixture
def make_store(tmp_path: Path, clock: Clock) -> Iterator[MakeStore]:
    """Opens stores on one directory; whatever a test leaves open is closed."""
    stores: list[Store] = []

    def make(
        *,
        directory: Path = tmp_path / "cache",
        max_size: int = 64 * MIB,
        min_free: int = 0,
        boot: str | None = "boot-1",
    ) -> Store:
        store = Store(
            str(directory),
            max_size=max_size,
            min_free=min_free,
            memory=2 * MIB,
            wall=clock,
            clock=clock,
            boot_id=read_boot_id if boot is None else lambda: boot,
        )
        stores.append(store)
        return store.open()

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    """One store of 64 MiB."""
    return make_store()


@pytest.fixture
def worker() -> Iterator[StartWorker]:
    """Starts ``worker.py`` with a job and arguments; every process is dead and reaped at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(WORKER), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
