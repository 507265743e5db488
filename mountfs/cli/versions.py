"""What ``--version`` tells: ours, and those of the parts a bug may come from.

Concurrency: one thread; asks ``fusermount3``, which answers at once.
"""

from __future__ import annotations

import contextlib
import fcntl
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
    lines += [f"kernel features {', '.join(features()) or 'none that we know of'}"]
    return "\n".join(lines)


def features() -> list[str]:
    """What of the kernel we make use of, or would, as far as it is found."""
    found = ["/dev/fuse"] if os.path.exists("/dev/fuse") else []
    found += ["RWF_NOWAIT"] if hasattr(os, "RWF_NOWAIT") else []
    found += ["OFD locks"] if hasattr(fcntl, "F_OFD_SETLK") else []
    found += ["read-ahead of mounts"] if os.access("/sys/class/bdi", os.R_OK) else []
    found += ["max_background of mounts"] if _fusectl() else []
    for name in ("max_user_bgreq", "enable_uring"):
        with contextlib.suppress(OSError), open(f"/sys/module/fuse/parameters/{name}", encoding="ascii") as file:
            found.append(f"{name}={file.read().strip()}")
    return found


def _fusectl() -> bool:
    """Whether the control file system, through which max_background is set, is mounted."""
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return any(" - fusectl " in line for line in file)
    return False


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
