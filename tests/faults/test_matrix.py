"""Every step x every operation x every form of every service: the errno of design.md §2, within the deadline, one
line in the log that helps and holds no secret, nothing wrong kept, and the same operation succeeds once the fault is
gone.

Questions (list, lookup, and entering by way of a status or of minting a URL) ask for JSON; transfers (readdir, open,
read early, read late, read late of a compressed member) move the archive's bytes. Where an operation is not touched by
a fault it simply succeeds: that is part of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from drives import Drive, World
from faults.cells import (
    ARCHIVE,
    DEADLINE,
    FORMS,
    QUESTIONS,
    READ_TIMEOUT,
    SECRETS,
    TINY,
    TRANSFERS,
    Bench,
    Form,
    Rig,
    rigged,
)

from mountfs.demo import steps
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.wire import Step

TOLERANCE = 3.0
"""Seconds of a busy machine."""
SKIP = "not tried"
HOUR = {"retry-after": "3600"}


@dataclass(frozen=True)
class Fault:
    """One way to fail. ``errno``: what every operation gets ("" = nothing is noticed), but for those in ``but``:
    by operation, by form, or by "form operation"."""

    name: str
    what: Step | Mode
    errno: str
    but: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False
    """Only a time-out ends it, so the clock is moved on."""
    slow: bool = False
    """Something always comes, just too slowly: the clock may not jump over a time-out of silence."""
    either: str = ""
    """What may come instead: it depends on which of two bytes arrives first."""

    def inject(self, proxy: Proxy) -> None:
        if isinstance(self.what, Mode):
            proxy.mode = self.what
        else:
            proxy.inject(self.what, times=None)

    def expected(self, form: Form, operation: str) -> str:
        for key in (f"{form.name} {operation}", form.name, operation):
            if key in self.but:
                return self.but[key]
        return self.errno


ANY_ANSWER = (
    Fault("500", steps.Answer(500), "EREMOTEIO"),
    Fault("502", steps.Answer(502, "<html>bad gateway</html>"), "EREMOTEIO"),
    Fault("503", steps.Answer(503), "EREMOTEIO"),
    Fault("503 for an hour", steps.Answer(503, headers=HOUR), "EBUSY"),
    Fault("429 for an hour", steps.Answer(429, headers=HOUR), "EBUSY"),
    Fault("429", steps.Answer(429), "EBUSY"),
    Fault("reset at once", steps.Reset(None), "EREMOTEIO"),
    Fault("closed at once", steps.Truncate(None), "EREMOTEIO"),
    Fault("never answers", steps.BlackHole(), "ETIMEDOUT", silent=True),
    Fault("redirect loop", steps.Redirect(), "EREMOTEIO"),
    Fault("refuses connections", Mode.REFUSE, "EHOSTUNREACH"),
    Fault("black hole", Mode.BLACK_HOLE, "ETIMEDOUT", silent=True),
    Fault("hangs up", Mode.HANG_UP, "EREMOTEIO"),
    Fault("late", steps.Delay(0.05), ""),
)
OF_QUESTIONS = (
    *ANY_ANSWER,
    Fault("400", steps.Answer(400), "EINVAL"),
    Fault("401", steps.Answer(401), "EKEYREJECTED"),
    Fault("403", steps.Answer(403), "EACCES"),
    Fault("404", steps.Answer(404), "ENOENT", {"list": "EOPNOTSUPP"}),
    Fault("web page", steps.Answer(200, "<html>welcome</html>"), "EREMOTEIO"),
    Fault("half of JSON", steps.Answer(200, '{"sessions": [{"id'), "EREMOTEIO"),
    Fault("other JSON", steps.Answer(200, "17"), "EREMOTEIO"),
    Fault("deep JSON", steps.Answer(200, "[" * 200_000), "EREMOTEIO"),
    Fault("endless JSON", steps.Endless(b"[", b" " * (1 << 20)), "EREMOTEIO", {"list": "EFBIG"}),
    Fault("cut", steps.Reset(5), "EREMOTEIO"),
    Fault("short", steps.Truncate(5), "EREMOTEIO"),
    Fault("stalls", steps.Stall(5), "ETIMEDOUT", silent=True),
    Fault("a byte a second", steps.Dribble(), "ETIMEDOUT", silent=True, slow=True),
    Fault("gzip", steps.Gzip(), ""),
    Fault("more than announced", steps.Surplus(), "", either="EREMOTEIO"),
    Fault("flipped byte", steps.FlipByte(0), "EREMOTEIO"),
    Fault("elsewhere", steps.Redirect("http://127.0.0.1:9/x"), "EREMOTEIO"),
)
BEGUN = {"files open": ""}
"""Its first bytes are here, which is all that open waits for."""
OF_TRANSFERS = (
    *ANY_ANSWER,
    Fault("400", steps.Answer(400), "EINVAL", {"kaizen": "EREMOTEIO"}),
    Fault("401", steps.Answer(401), "EKEYREJECTED", {"kaizen": "EREMOTEIO"}),
    Fault("403", steps.Answer(403), "EACCES", {"kaizen": "EREMOTEIO"}),
    Fault("404", steps.Answer(404), "ENOENT", {"kaizen": "EREMOTEIO"}),
    Fault("cut", steps.Reset(100), "EREMOTEIO", BEGUN),
    Fault("short", steps.Truncate(100), "EREMOTEIO", BEGUN),
    Fault("stalls", steps.Stall(100), "ETIMEDOUT", BEGUN, silent=True),
    Fault("a byte a second", steps.Dribble(), "ETIMEDOUT", BEGUN, silent=True, slow=True),
    Fault("wrong range", steps.wrong_range(), "EREMOTEIO", {"files readdir": "", "files open": ""}),
    Fault("no ranges", steps.IgnoreRange(), ""),
    Fault("another ETag", steps.changed_etag(), "ESTALE", {"readdir": "", "files open": SKIP}),
    Fault("weak ETag", steps.changed_etag('W/"weak"'), "ESTALE", {"readdir": "", "files open": ""}),
    Fault("gzip", steps.Gzip(), "ESTALE", {"readdir": "", "files": ""}),
    Fault("more than announced", steps.Surplus(), "", either="EREMOTEIO"),
    Fault("endless", steps.Endless(b"PK\3\4"), "ESTALE", {"readdir": "EFBIG", "files open": SKIP}),
    Fault("elsewhere", steps.Redirect("http://127.0.0.1:9/x"), "EHOSTUNREACH", {"files readdir": "EREMOTEIO"}),
    Fault(
        "web page",
        steps.Answer(200, "<html>welcome</html>"),
        "ESTALE",
        {"readdir": "EIO", "files readdir": "EREMOTEIO", "files open": "EIO", "files": "EIO"},
    ),
)


def run(
    world: World,
    form: Form,
    fault: Fault,
    operations: tuple[str, ...],
    content: Mapping[str, bytes],
    caplog: pytest.LogCaptureFixture,
    where: Callable[[Rig], Proxy],
) -> None:
    """One row of the matrix."""
    operations = tuple(operation for operation in operations if fault.expected(form, operation) != SKIP)
    caplog.set_level("DEBUG")
    with rigged(world, form, read_timeout=60.0 if fault.slow else READ_TIMEOUT) as rig:
        for operation in operations:
            rig.add(operation, content.get(operation, TINY))

        async def main(drive: Drive) -> None:
            bench = Bench(rig, drive, operations, caplog.records)
            async with AsyncExitStack() as stack:
                await bench.prepare(stack)
                fault.inject(where(rig))
                outcomes = await bench.act(silent=fault.silent)
                told = {operation: bench.told(operation) for operation in operations}
            expected = {operation: fault.expected(form, operation) for operation in operations}
            for operation, outcome in outcomes.items():
                if fault.either and outcome.errno == fault.either:
                    expected[operation] = fault.either
            assert {operation: outcome.errno for operation, outcome in outcomes.items()} == expected
            for operation, outcome in outcomes.items():
                assert outcome.seconds < DEADLINE + TOLERANCE, operation
                unnoticed = fault.but is BEGUN  # what fails behind a reader's back may be told, too
                assert len(told[operation]) in ({1} if expected[operation] else {0, int(unnoticed)}), told
            for sessions in drive.fs.providers:
                sessions.forget()
            again = await bench.again()
            assert {operation: outcome.errno for operation, outcome in again.items()} == dict.fromkeys(operations, "")

        world.run(main, limit=90)
        check_secrets(rig, caplog)


def check_secrets(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing secret was logged, and no host but the API's own saw the key."""
    lines = "\n".join(caplog.messages)
    for secret in (rig.fake.key, *SECRETS):
        assert secret not in lines
    assert rig.world.fakes.store.leaks() == []


@pytest.mark.parametrize("fault", OF_QUESTIONS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_questions(world: World, caplog: pytest.LogCaptureFixture, form: Form, fault: Fault) -> None:
    """The API fails in every way, at list, lookup and entering."""
    run(world, form, fault, QUESTIONS, {}, caplog, lambda rig: rig.api)


@pytest.mark.parametrize("fault", OF_TRANSFERS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_transfers(world: World, caplog: pytest.LogCaptureFixture, form: Form, fault: Fault) -> None:
    """The place where the bytes lie fails in every way, at readdir, open, and reads early and late."""
    content = dict.fromkeys(TRANSFERS[1:], ARCHIVE)
    run(world, form, fault, TRANSFERS, content, caplog, lambda rig: rig.host)
