"""A loop in a thread: errors come out on the side that can deal with them."""

from __future__ import annotations

import pytest
import trio

from mountfs.demo.threads import Loop


async def idle(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started(None)
    await trio.sleep_forever()


async def seven() -> int:
    return 7


async def fail() -> None:
    raise ValueError("in the loop")


def test_a_call_gives_its_result_or_its_error() -> None:
    """Also from a thread that runs a trio loop of its own; the loop lives on after an error."""
    loop = Loop("test-loop")
    loop.start(idle)
    try:
        assert loop.call(seven) == 7
        with pytest.raises(ValueError, match="in the loop"):
            loop.call(fail)

        async def main() -> int:
            return loop.call(seven)

        assert trio.run(main) == 7
    finally:
        loop.stop()


def test_a_body_that_does_not_start_raises_at_start() -> None:
    """And leaves no thread."""

    async def broken(*, task_status: trio.TaskStatus[None]) -> None:
        raise OSError("port taken")

    loop = Loop("test-loop")
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        loop.start(broken)
