"""Logging of a process: for a person on standard error, for the journal, or into a file of the background daemon.

Under systemd the journal knows time, unit and pid; it gets the priority (sd-daemon(3): ``<4>``) and the message. A
daemon without a terminal writes into ``mount-NAME.log`` in the state directory, private and bounded.

Concurrency: set up once, before the loop starts. A line is written where it is logged; it is short.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from collections.abc import Mapping

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


class JournalFormatter(logging.Formatter):
    """Puts the priority in front of each line, as the journal reads it from standard error."""

    def format(self, record: logging.LogRecord) -> str:
        priority = f"<{PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(priority + line for line in super().format(record).splitlines() or [""])


def configure_logging(level: str, environ: Mapping[str, str], *, path: str | None = None) -> None:
    """Sends the root logger's records to ``path``, or to standard error in the form its reader expects."""
    handler: logging.Handler
    if path is not None:
        handler = PrivateLogFile(path, maxBytes=MAX_LOG_SIZE, backupCount=1, encoding="utf-8")
        handler.setFormatter(logging.Formatter(TIMED))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JournalFormatter("%(message)s") if in_journal(environ) else logging.Formatter(PLAIN))
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
