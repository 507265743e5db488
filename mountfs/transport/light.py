"""httpx without its command line.

``import httpx`` imports its own program as well, where rich and pygments are installed: 60 ms of the 400 ms that a
daemon's imports take, for something nobody runs. httpx does without it where that import fails, so here it fails.

Concurrency: runs once, when the package is imported, before anything else of it.
"""

from __future__ import annotations

import sys

PROGRAM = "httpx._main"

if "httpx" not in sys.modules:
    sys.modules[PROGRAM] = None  # type: ignore[assignment]  # how the import system is told "not to be had"
    try:
        import httpx  # noqa: F401
    finally:
        del sys.modules[PROGRAM]
