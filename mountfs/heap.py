"""The C heap's settings: without them a busy day leaves the daemon twice the memory it uses.

glibc gives every thread an arena of its own, and raises the size from which a block is mapped apart to that of the
largest one freed so far, up to 32 MiB: the buffers of requests and transfers then lie between what the caches keep, in
a dozen heaps that never shrink. After 100 s of the soak: 237 MiB resident, 108 MiB of it free blocks; with these, 112
and 8 MiB (tests/soak).

Concurrency: to be called once, before there are threads.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""mallopt(3)."""
SETTINGS = (
    (_ARENA_MAX, 2),
    # Just above the largest read (1 MiB and a header), which is made and freed all the time: with 256 KiB reading took
    # 2.5 times the CPU. Just below libfuse's buffers (1 MiB + 4 KiB for each waiting request, hardly touched).
    (_MMAP_THRESHOLD, (1 << 20) + (2 << 10)),
    # Below that too: what is free at a heap's end is used first, and then those buffers fill the heap after all.
    (_TRIM_THRESHOLD, 1 << 20),
)


def settle() -> bool:
    """Sets them; False where the C library is not glibc."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    taken = [libc.mallopt(setting, value) for setting, value in SETTINGS]
    return all(taken)
