"""What the store's tests share that is no fixture."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from mountfs.store import Address, Store

MIB = 1 << 20

MakeStore = Callable[..., Store]
StartWorker = Callable[..., "subprocess.Popen[str]"]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def address(session: str = "sess_1", content: str = "https://api.example|zip", account: str = "a" * 64) -> Address:
    """An address; only the session matters to most tests."""
    return Address(content, account, session)


def disk_use(path: Path) -> int:
    """Bytes on disk of everything under ``path``, as du counts them."""
    total = 0
    for root, _directories, files in os.walk(path):
        for name in [".", *files]:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
    return total


def pattern(seed: int, start: int, stop: int) -> bytes:
    """The bytes [start, stop) of the endless file ``seed``: no two of its 4 KiB blocks are alike."""
    first = start // 4096
    blocks = (hashlib.blake2b(b"%d %d" % (seed, block)).digest() * 64 for block in range(first, -(-stop // 4096)))
    return b"".join(blocks)[start - first * 4096 : stop - first * 4096]
