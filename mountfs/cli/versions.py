"""What ``--version`` tells: ours, and those of the parts a bug may come from.

Concurrency: one thread; asks ``fusermount3``, which answers at once.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

PARTS = ("pyfuse3", "trio", "httpx", "isal", "zlib-ng")


def versions() -> str:
    """One line each: mountfs, its parts, libfuse, Python, kernel."""
    lines = [f"mountfs {package('mountfs')}"]
    lines += [f"{part} {package(part)}" for part in PARTS]
    lines += [f"libfuse {libfuse()}", f"Python {platform.python_version()}", f"Linux {os.uname().release}"]
    return "\n".join(lines)


def package(name: str) -> str:
    """An installed package's version, or that there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def libfuse() -> str:
    """As fusermount3 tells it; it is built with the library."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run(["fusermount3", "--version"], capture_output=True, text=True, timeout=5, check=False)
        words = answer.stdout.split()
        if words:
            return words[-1]
    return "not found"
