"""The worker threads: what a failed call had in hand is let go with its error."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator

import pytest
import trio

from mountfs.errors import CacheFull
from mountfs.workers import Workers


@pytest.fixture
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
@pytest.mark.parametrize("group", ["disk", "cpu"])
def test_a_failed_call_keeps_nothing(group: str) -> None:
    """Without a garbage collection: what it had was a file of a full disk."""
    held: list[weakref.ref[object]] = []

    class Held:
        pass

    def fails() -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        try:
            os.stat("")
        except OSError as error:
            raise CacheFull("the disk is full") from error

    async def main() -> None:
        workers = Workers()
        run = workers.disk if group == "disk" else workers.cpu
        with pytest.raises(CacheFull, match="full") as failed:
            await run(fails)
        assert held[0]() is None
        assert [entry.name for entry in failed.traceback[-2:]] == ["_empty_handed", "fails"]

    trio.run(main)
