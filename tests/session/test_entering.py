"""A live session whose archive changes while it is being entered: between its tail and the rest of its directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from drives import Drive, World, zip_of

from mountfs.demo.steps import Step
from mountfs.demo.wire import Ask, Reply

MANY = 6000
"""Members whose directory is longer than the tail that is asked for."""


@dataclass(frozen=True, slots=True)
class Then(Step):
    """Something happens at the service once it has answered."""

    happens: Callable[[], None]

    def reply(self, ask: Ask, reply: Reply) -> Reply:
        self.happens()
        return reply


def archive(version: int) -> bytes:
    return zip_of({f"{number:06}-{version}.txt": b"%d" % number for number in range(MANY)})


@pytest.mark.parametrize(("changes", "shown"), [(1, 1), (2, None), (None, None)])
def test_it_is_asked_for_anew_once(world: World, changes: int | None, shown: int | None) -> None:
    """The new version is shown. One that changes at every look is told, and asked for no more often than that."""
    session = world.session("kaizen", archive(0))
    versions = iter(range(1, 100))

    def another() -> None:
        session.archive = archive(next(versions))

    async def main(drive: Drive) -> None:
        world.fakes.store.inject(Then(another), times=None if changes is None else 2 * changes - 1)
        if shown is None:
            assert await drive.error(drive.ls("kaizen/s_1")) == "ESTALE"
            assert len(world.fakes.store.requests) == 4
            world.fakes.store.script.clear()
            drive.later(60)
        names = await drive.ls("kaizen/s_1")
        assert len(names) == MANY
        assert shown is None or names[0] == f"000000-{shown}.txt"

    world.run(main)
