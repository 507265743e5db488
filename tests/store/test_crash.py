"""kill -9 at random moments: what is left is right, readable, and free of leftovers."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from store.tools import MIB, MakeStore, StartWorker, disk_use, pattern

from mountfs.model import Span
from mountfs.store import BLOCK, Snapshot, Store

_ROUNDS = int(os.environ.get("MOUNTFS_CRASH_ROUNDS", "8"))
"""A few at every run; the soak run asks for hundreds."""


def _check(snapshot: Snapshot) -> bool:
    number = int(snapshot.session_id.removeprefix("s"))
    end = snapshot.length or 2 * MIB
    for start in range(0, end, BLOCK):
        span = Span(start, min(start + BLOCK, end))
        if snapshot.has(span) and snapshot.read(span.start, span.size) != pattern(number, *span):
            return False
    for index in range(3):
        member = snapshot.member(index)
        if member is not None:
            with member:
                if member.read(0, member.size) != pattern(1000 + index, 0, 120_000):
                    return False
    return snapshot.trusted


def _check_store(store: Store, directory: Path) -> None:
    report = store.verify(_check)
    assert report.dropped == ()
    assert report.sound == len(os.listdir(directory / "v1/snapshots"))
    records = list((directory / "v1/records").glob("*/*"))
    assert len(records) == len(store.sessions("https://api.example|zip", "a" * 64)), "every record can be read"
    assert len(os.listdir(directory / "v1/tmp")) == 1, "only the living process's own"


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_any_moment_nothing_half_is_believed(
    tmp_path: Path, worker: StartWorker, make_store: MakeStore, processes: int
) -> None:
    """Kill during writing, spooling, evicting and dropping; open again; compare every byte that is said to be here."""
    directory = tmp_path / "cache"
    choice = random.Random(4)
    for _round in range(_ROUNDS // processes):
        running = [worker("churn", directory, 4 * MIB, choice.randrange(1 << 30)) for _ in range(processes)]
        for process in running:
            assert process.stdout is not None
            for _line in range(choice.randrange(1, 150)):
                assert process.stdout.readline().strip() not in ("", "WRONG")
        for process in running:
            process.kill()
            process.wait()
        with make_store(max_size=4 * MIB, boot=None) as store:
            store.maintain()
            _check_store(store, directory)
            assert disk_use(directory) <= 4 * MIB
