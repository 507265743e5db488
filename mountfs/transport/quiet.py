"""httpx and httpcore log every request's URL; a signed URL is a secret, so their loggers are shut.

Concurrency: idempotent.
"""

from __future__ import annotations

import logging

TALKATIVE = ("httpx", "httpcore")


def silence() -> None:
    """Shuts the loggers for this process. Called by every transport as it opens, not at import."""
    for name in TALKATIVE:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
