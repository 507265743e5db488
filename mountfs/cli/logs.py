"""Logging of a process: for a person on standard error, for the journal, or into a file of the background daemon.

Under systemd the journal knows time, unit and pid; it gets the priority (sd-daemon(3): ``<4>``) and the message. A
daemon without a terminal writes into ``mount-NAME.log`` in the state directory, private and bounded. With
``--log-format json`` every line is an object instead, wherever it goes. Where a line was caused by a waiting
file-system request, it names the request's number and the process that waits (``filesystem.waiting.note_request``).

Concurrency: set up once, before the loop starts. A line is written where it is logged; it is short.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

MAX_LOG_SIZE = 1 << 20
"""Bytes of a log file before it is put aside; one old one is kept."""

PRIORITIES: dict[int, int] = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
PLAIN = "%(levelname)s %(message)s"
TIMED = "%(asctime)s %(levelname)s %(message)s"


FORMATS = ("text", "json")


class TextFormatter(logging.Formatter):
    """For a person. A line ends with the request that caused it, if one did."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        request = getattr(record, "request", None)
        text = super().formatMessage(record)
        return f"{text} [request {request.number} of process {request.pid}]" if request is not None else text


class JsonFormatter(logging.Formatter):
    """For a program: one object a line, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = getattr(record, "request", None)
        if request is not None:
            facts |= {"request": request.number, "pid": request.pid, "path": request.label}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts, ensure_ascii=False)


class JournalFormatter(TextFormatter):
    """Puts the priority in front of each line, as the journal reads it from standard error."""

    def format(self, record: logging.LogRecord) -> str:
        priority = f"<{PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(priority + line for line in super().format(record).splitlines() or [""])


def configure_logging(
    level: str, environ: Mapping[str, str], *, path: str | None = None, form: str | None = None
) -> None:
    """Sends the root logger's records to ``path``, or to standard error in the form its reader expects. ``form``: one
    of FORMATS, instead."""
    handler: logging.Handler
    if path is not None:
        handler = PrivateLogFile(path, maxBytes=MAX_LOG_SIZE, backupCount=1, encoding="utf-8")
        handler.setFormatter(TextFormatter(TIMED))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JournalFormatter("%(message)s") if in_journal(environ) else TextFormatter(PLAIN))
    if form == "json":
        handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Their DEBUG and INFO lines print URLs, and a signed URL is a secret.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def in_journal(environ: Mapping[str, str]) -> bool:
    """Whether standard error is the journal's (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class PrivateLogFile(logging.handlers.RotatingFileHandler):
    """A rotating log only its owner can read: session ids and file names stand in it."""

    def _open(self):  # type: ignore[no-untyped-def]
        return open(self.baseFilename, "a", encoding="utf-8", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
