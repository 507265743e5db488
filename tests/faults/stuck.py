"""Which system call a program waits in: so that a test goes on when its programs really hang."""

from __future__ import annotations

import platform
from pathlib import Path

READS = {"x86_64": {0, 17, 40, 326, 327}, "aarch64": {63, 67, 71, 285, 286}}
"""read, pread64, sendfile, copy_file_range, preadv2."""
WRITES = {"x86_64": {1, 20}, "aarch64": {64, 66}}
"""write, writev."""
OPENS = {"x86_64": {2, 257}, "aarch64": {56}}
"""open, openat: of a directory too."""
STATS = {"x86_64": {4, 6, 262, 332}, "aarch64": {79, 291}}
"""stat, lstat, newfstatat, statx."""


def in_read(pid: int) -> bool:
    """Whether it sleeps in a call that reads a file other than its standard input."""
    words = _call(pid, READS)
    return bool(words) and int(words[1], 16) > 2


def in_write(pid: int) -> bool:
    """Whether it sleeps in a call that writes to its standard output or error."""
    words = _call(pid, WRITES)
    return bool(words) and int(words[1], 16) in {1, 2}


def in_open(pid: int) -> bool:
    """Whether it sleeps in a call that opens something."""
    return bool(_call(pid, OPENS))


def in_stat(pid: int) -> bool:
    """Whether it sleeps in a call that asks for a file's attributes."""
    return bool(_call(pid, STATS))


def _call(pid: int, calls: dict[str, set[int]]) -> list[str]:
    """The call, as a number, and its arguments, if it sleeps in one of these."""
    try:
        words = Path(f"/proc/{pid}/syscall").read_text().split()
    except OSError:
        return []
    return words if len(words) > 2 and words[0].isdigit() and int(words[0]) in calls[platform.machine()] else []
