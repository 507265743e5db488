"""The C heap: its settings, in a process of their own, and what is given back."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from pathlib import Path

import pytest
from drives import Drive, World

from mountfs import daemon, heap
from mountfs.demo.server import Fakes

PROGRAM = """
import ctypes, sys
from mountfs import heap

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
if sys.argv[1] == "settled":
    assert heap.settle()
bytes(24 << 20)  # freed at once: glibc's own rule maps nothing smaller apart from now on
before = libc.mallinfo2().hblks
large, small = bytes(2 << 20), bytes(1 << 20)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="not glibc 2.33")
@pytest.mark.parametrize(("how", "mapped"), [("as it comes", 0), ("settled", 1)])
def test_large_blocks_are_mapped_apart(how: str, mapped: int) -> None:
    """A block of 2 MiB goes back to the system when it is freed, whatever was freed before; one of 1 MiB is kept for
    the next read."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == mapped


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_a_peak_took_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free blocks that lie between used ones, where malloc alone would keep their pages for ever."""
    monkeypatch.setattr(daemon, "TRIM_EVERY", 0.1)

    async def main(drive: Drive) -> None:
        heap.trim()  # what other tests have left would be used first
        before = resident()
        peak = [b"x" * 100_000 for _ in range(600)]
        full = resident()
        assert full - before > 40 << 20
        peak = peak[::10]
        await drive.settle(lambda: full - resident() > 40 << 20, 20)
        assert len(peak) == 60

    with Fakes() as fakes:
        World(fakes, tmp_path).run(main)


def resident() -> int:
    """Bytes of this process's memory that are resident."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE
