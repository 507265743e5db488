"""The judge of the soak: what it lets pass, and what it does not."""

from __future__ import annotations

import errno
import json
import time
from datetime import UTC, datetime

import pytest
from soak.causes import WINDOW, Causes, Failure
from soak.model import File, Known

from mountfs.demo.fake import FakeSession
from mountfs.demo.wire import Ask


def judged(known: Known, number: int, path: str = "a.txt", *, after: float = 1.0, told: bool = True) -> str:
    """What is wrong with a failure that began ``after`` seconds after s1's request was answered 500. ``told``: whether
    the log has a line of it."""
    line = {"time": datetime.now(UTC).isoformat(), "level": "warning", "message": "dari/s1: HTTP 500"}
    causes = Causes()
    causes.injected(Ask("GET", "/v1/sessions/s1/workspace"), "status 500")
    now = time.time() + after
    causes.met(Failure("read", known, path, number, now, now))
    [(_, _, objection)] = causes.judged(json.dumps(line) if told else "")
    return objection


def known(*versions: dict[str, File], id: str = "s1") -> Known:  # noqa: A002
    return Known("dari", id, FakeSession(id), live=len(versions) > 1, versions=list(versions))


OLD = {"a.txt": File("a.txt", 5, 0), "b.txt": File("b.txt", 5, 0)}
NEW = {"a.txt": File("a.txt", 7, 1)}


@pytest.mark.parametrize(
    ("what", "number", "options", "objection"),
    [
        (known(OLD), errno.EREMOTEIO, {}, ""),
        (known(OLD), errno.EREMOTEIO, {"told": False}, "no line in the log tells of it (status 500)"),
        (known(OLD), errno.EREMOTEIO, {"after": 2 * WINDOW}, "no fault explains it"),
        (known(OLD, id="s2"), errno.EREMOTEIO, {}, "no fault explains it"),
        (known(OLD), errno.EIO, {}, "no fault explains it"),
        (known(OLD), errno.ENOENT, {}, "no fault explains it"),
        (known(OLD, NEW), errno.EIO, {}, "no fault explains it"),
        (known(OLD, NEW), errno.ESTALE, {"told": False}, ""),
        (known(OLD, NEW), errno.ENOENT, {}, "no fault explains it"),
        (known(OLD, NEW), errno.ENOENT, {"path": "b.txt"}, ""),
        (known(OLD, NEW), errno.ENOENT, {"path": ""}, "no fault explains it"),
        (known(OLD, NEW), errno.ESTALE, {"path": ""}, ""),
        (known(OLD), errno.ESTALE, {"path": ""}, "no fault explains it"),
    ],
)
def test_judged(what: Known, number: int, options: dict[str, object], objection: str) -> None:
    """A fault explains its own errnos of its own session for a while, if the log tells; a change only what differs."""
    assert judged(what, number, **options) == objection  # type: ignore[arg-type]
