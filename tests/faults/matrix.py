"""Every step x every operation x every form of every service (``rows.py``): the errno of design.md §2, within the
deadline, one line in the log that helps and holds no secret, nothing wrong kept, and the same operation succeeds once
the fault is gone: by itself when what is believed of the failure runs out, or at once by a refresh.

Questions (list, lookup, and entering by way of a status or of minting a URL) ask for JSON; transfers (readdir, open,
read early, read late, read late of a compressed member) move the archive's bytes. Where an operation is not touched by
a fault it simply succeeds: that is part of the table.

This is how a row is tried; ``test_matrix_*.py`` go through the tables, in files of their own so that they run beside
each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AsyncExitStack

import pytest
from drives import Drive, World
from faults.cells import (
    ARCHIVE,
    BEYOND,
    DEADLINE,
    FRESHNESS,
    GRACE,
    QUESTIONS,
    READ_TIMEOUT,
    SECRETS,
    TINY,
    Bench,
    Form,
    Outcome,
    Rig,
    rigged,
)
from faults.roads import Road
from faults.rows import HOUR, Fault

BELIEVED = {
    "EREMOTEIO": "failing",
    "EHOSTUNREACH": "failing",
    "ETIMEDOUT": "failing",
    "EBUSY": "failing",
    "EOPNOTSUPP": "failing",
    "EFBIG": "failing",
    "EINVAL": "refused",
    "EACCES": "refused",
    "EKEYREJECTED": "refused",
    "ENOENT": "absent",
    "EIO": "failing",
}
"""Which setting says how long a failure is believed (design.md §2)."""
FOR_EVER = {"EIO", "EFBIG"}
"""Of the archive of a session that has ended: only a refresh makes mountfs look at it again. (A member is damaged for
as long as a failure is believed.)"""


def run(
    world: World,
    form: Form,
    fault: Fault,
    operations: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
    *,
    place: str,
    road: Road | None = None,
    refresh: bool = False,
    delay: float = 0.0,
) -> None:
    """One row of the matrix. ``refresh``: the fault is got over by one, not by waiting. ``delay``: real seconds every
    name look-up takes."""
    operations = fault.operations or operations
    caplog.set_level("DEBUG")
    patience = 2 * DEADLINE if fault.slow else READ_TIMEOUT
    with rigged(world, form, read_timeout=patience, way=fault.way, road=road) as rig:
        rig.names.delay = delay
        for operation in operations:
            rig.add(operation, TINY if operation in (*QUESTIONS, "readdir") else ARCHIVE)

        async def main(drive: Drive) -> None:
            bench = Bench(rig, drive, operations, caplog.records)
            async with AsyncExitStack() as stack:
                await bench.prepare(stack)
                fault.inject(rig, place)
                outcomes = await bench.act(silent=fault.silent)
                told = {operation: bench.told(operation) for operation in operations}
            check(fault, form, rig, outcomes, told)
            if fault.anew:
                await bench.until_right()
            await bench.heal()
            errnos = {operation: outcome.errno for operation, outcome in outcomes.items()}
            for sessions in drive.fs.providers:
                if refresh or errnos.get(sessions.name.removeprefix("at-")) in FOR_EVER:
                    sessions.forget()
            if not refresh:
                drive.later(believed(fault, errnos))
            again = await bench.again()
            for operation, outcome in again.items():
                assert outcome.errno in {"", fault.afterwards(form, operation)}, operation
            if fault.later:
                again = await bench.again()
                assert {outcome.errno for outcome in again.values()} == {""}

        world.run(main, limit=90, network=rig.network())
        check_secrets(rig, caplog)


def check(fault: Fault, form: Form, rig: Rig, outcomes: Mapping[str, Outcome], told: Mapping[str, list[str]]) -> None:
    """What was expected came, in time, and the log says so once: of which provider and session, what was answered, and
    what to do."""
    expected = {operation: fault.expected(form, operation) for operation in outcomes}
    for operation, outcome in outcomes.items():
        if fault.either and outcome.errno == fault.either:
            expected[operation] = fault.either
    assert {operation: outcome.errno for operation, outcome in outcomes.items()} == expected
    for operation, outcome in outcomes.items():
        assert outcome.seconds < DEADLINE + GRACE + 2 * BEYOND, operation
        unnoticed = bool(fault.but) and not expected[operation]  # what fails behind a reader's back may be told, too
        assert len(told[operation]) in ({1} if expected[operation] else {0, int(unnoticed)}), told
        for line in told[operation]:
            assert f"at-{operation}" in line
            assert operation == "list" or rig.id_of(operation) in line
            if expected[operation]:
                assert re.search(fault.line(expected[operation]), line), line


def believed(fault: Fault, errnos: Mapping[str, str]) -> float:
    """Seconds until nothing of these failures is believed any more."""
    hour = isinstance(getattr(fault.what, "headers", None), dict) and fault.what.headers == HOUR
    if hour and any(errnos.values()):
        return 3600.0 + BEYOND
    settings = {BELIEVED.get(errno, "failing") for errno in errnos.values()}  # what nobody waited for may fail, too
    return max(FRESHNESS[setting] for setting in settings) + BEYOND


def check_secrets(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing secret was logged, and no host but the API's own saw the key."""
    lines = "\n".join(caplog.messages)
    for secret in (rig.fake.key, *SECRETS):
        assert secret not in lines
    assert rig.world.fakes.store.leaks() == []
    if rig.forward is not None:
        assert not {"authorization", "x-bb-api-key"} & {name for each in rig.forward.requests for name in each.headers}
