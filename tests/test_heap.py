"""The C heap's settings, in a process of their own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

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
