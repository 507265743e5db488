"""The C heap: without these settings a busy day leaves the daemon twice the memory it uses.

glibc gives every thread an arena of its own, and raises the size from which a block is mapped apart to that of the
largest one freed so far, up to 32 MiB: the buffers of requests and transfers then lie between what the caches keep, in
a dozen heaps that never shrink. After 100 s of the soak: 237 MiB resident, 108 MiB of it free blocks; with these, 112
and 8 MiB (tests/soak).

What is left: glibc gives back only what is free at the end of its heap, so that each peak leaves it a little larger:
with 64 workers 20 of 62 MiB were free blocks after 4 minutes, and slowly more. ``trim`` gives back the free pages
between, which takes 1-3 ms for such a heap (11 at the most), and leaves 73-79 MiB of private memory where there were
85-91.

Concurrency: ``settle`` is to be called once, before there are threads; ``trim`` in any thread: whoever wants memory
meanwhile waits for it.
"""

from __future__ import annotations

import ctypes

_LIBC = ctypes.CDLL(None)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""mallopt(3)."""
SETTINGS = (
    (_ARENA_MAX, 2),
    # Just above the largest read (1 MiB and a header), which is made and freed all the time: with 256 KiB reading took
    # 2.5 times the CPU. Just below libfuse's buffers where it reads the device itself (``-o noexpress``): 1 MiB + 4 KiB
    # for each waiting request, hardly touched. (Else they are small: ``wire.handshake_for_libfuse``.)
    (_MMAP_THRESHOLD, (1 << 20) + (2 << 10)),
    # Below that too: what is free at a heap's end is used first, and then those buffers fill the heap after all.
    (_TRIM_THRESHOLD, 1 << 20),
)


def settle() -> bool:
    """Sets them; False where the C library is not glibc."""
    if not hasattr(_LIBC, "mallopt"):
        return False
    taken = [_LIBC.mallopt(setting, value) for setting, value in SETTINGS]
    return all(taken)


def trim() -> None:
    """Gives the pages of free blocks back to the system."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
