"""zip.md's tables, every row, through the file system: what is shown, the errno of what is not, and the log."""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

import pytest
from drives import Drive, World
from hostile.cases import CASES, Case
from hostile.observe import Observed, Seen, judge, judge_log

from mountfs.demo.server import Fakes
from mountfs.errnos import errno_of
from mountfs.errors import MountfsError


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def look(drive: Drive, path: str) -> Seen:
    """One name of the tree, read to its end."""
    attributes, held = await drive.walk(path)
    seen = Seen(attributes.mode, attributes.size, attributes.mtime_ns)
    try:
        if stat.S_ISLNK(attributes.mode):
            seen.data = await drive.fs.readlink(attributes.inode)
        elif stat.S_ISREG(attributes.mode):
            seen.opened = False
            async with drive.file(path) as handle:
                seen.opened = True
                for at in range(0, handle.size, 100_000):
                    seen.data += await handle.read(at, 100_000)
    except MountfsError as exc:
        seen.errno = errno_of(exc)
    finally:
        drive.forget(held)
    return seen


async def observe(drive: Drive, session: str) -> Observed:
    """A whole session; every bad file is looked at twice, so that what is logged once shows."""
    observed = Observed()
    try:
        names = await drive.ls(session)
    except MountfsError as exc:
        observed.errno = errno_of(exc)
        assert await drive.error(drive.stat(f"{session}/a.txt")) == errno.errorcode[observed.errno]
        return observed
    observed.mtime_ns = (await drive.stat(session)).mtime_ns
    left = [(name,) for name in names]
    while left:
        parts = left.pop()
        path = "/".join((session, *parts))
        seen = await look(drive, path)
        if stat.S_ISDIR(seen.mode):
            left += [(*parts, name) for name in await drive.ls(path)]
        elif seen.errno:
            assert (await look(drive, path)).errno == seen.errno
        observed.names[os.fsencode("/".join(parts))] = seen
    return observed


@pytest.fixture(scope="module", params=["ranges", "whole"])
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Observed]:
    """All cases, each a session, read in one go: from a store with ranges, and from one that gives archives whole."""
    place: Path = tmp_path_factory.mktemp(request.param)
    lines = Lines()
    with Fakes() as fakes:
        world = World(fakes, place)
        for number, case in enumerate(CASES):
            world.session("kaizen", number=number).archive = case.data
        if request.param == "whole":
            fakes.store.ranges, fakes.store.etags = False, None

        async def main(drive: Drive) -> dict[str, Observed]:
            return {case.name: await observe(drive, f"kaizen/s_{number}") for number, case in enumerate(CASES)}

        logging.getLogger().addHandler(lines)
        try:
            found = world.run(main)
        finally:
            logging.getLogger().removeHandler(lines)
    for number, case in enumerate(CASES):
        label = f"kaizen/s_{number}"
        found[case.name].log = [line for line in lines.lines if line.startswith((f"{label}:", f"{label}/"))]
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_row(observed: dict[str, Observed], case: Case) -> None:
    """It is shown as the table says."""
    judge(case, observed[case.name])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_row_in_the_log(observed: dict[str, Observed], case: Case) -> None:
    """What is odd is logged once, in one line for the archive and one for each member that cannot be read."""
    judge_log(case, observed[case.name].log)
