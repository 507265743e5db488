"""What a program does on the mount where no common tool does it: run in a process of its own, tells its own seconds.

    python client.py random PATH COUNT SEED      COUNT reads of 4 KiB at random places of one file, one after another
    python client.py range PATH OFFSET SIZE      one read; a negative OFFSET counts from the end
    python client.py whole PATH                  one sequential read, 1 MiB at a time
    python client.py stats ROOT LIST             lstat of every path of LIST below ROOT
    python client.py readers ROOT LIST COUNT     COUNT threads at once, each reading a file of its own whole
    python client.py pulse ROOT                  statfs every 5 ms until standard input ends: {"worst_ms": …}
    python client.py copied ROOT                 no timing: {"files", "bytes"} below ROOT, to check a copy

Prints one JSON object: {"seconds": …, "bytes": …}. The clock runs from the first call on the mount to the last.

Concurrency: threads only for ``readers``.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable

KIB = 1 << 10
CHUNK = 1 << 20


def read_whole(path: str) -> int:
    """Reads a file from start to end; answers how many bytes there were."""
    total = 0
    buffer = bytearray(CHUNK)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def read_random(path: str, count: str, seed: str) -> int:
    rng = random.Random(seed)
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    total = 0
    for _ in range(int(count)):
        total += len(os.pread(fd, 4 * KIB, rng.randrange(size - 4 * KIB)))
    os.close(fd)
    return total


def read_range(path: str, offset: str, size: str) -> int:
    fd = os.open(path, os.O_RDONLY)
    at = int(offset) if int(offset) >= 0 else os.fstat(fd).st_size + int(offset)
    data = os.pread(fd, int(size), at)
    os.close(fd)
    return len(data)


def stat_all(root: str, listing: str) -> int:
    for path in _paths(root, listing):
        os.lstat(path)
    return 0


def read_at_once(root: str, listing: str, count: str) -> int:
    paths = _paths(root, listing)
    chosen = paths[:: max(1, len(paths) // int(count))][: int(count)]
    totals: list[int] = []
    threads = [threading.Thread(target=lambda each=each: totals.append(read_whole(each))) for each in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(totals)


def _paths(root: str, listing: str) -> list[str]:
    with open(listing, encoding="utf-8") as lines:
        return [f"{root}/{line.rstrip()}" for line in lines]


def copied(root: str) -> dict[str, int]:
    files = size = 0
    for where, _, names in os.walk(root):
        files += len(names)
        size += sum(os.lstat(os.path.join(where, name)).st_size for name in names)
    return {"files": files, "bytes": size}


def pulse(root: str) -> dict[str, float]:
    """How long statfs, which the kernel always hands to the daemon, took at worst."""
    ended = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    worst = 0.0
    while not ended.wait(0.005):
        began = time.perf_counter()
        os.statvfs(root)
        worst = max(worst, time.perf_counter() - began)
    return {"worst_ms": worst * 1000}


OTHERS: dict[str, Callable[[str], object]] = {"copied": copied, "pulse": pulse}
VERBS: dict[str, Callable[..., int]] = {
    "random": read_random,
    "range": read_range,
    "whole": read_whole,
    "stats": stat_all,
    "readers": read_at_once,
}


def main(verb: str, *args: str) -> None:
    if verb in OTHERS:
        print(json.dumps(OTHERS[verb](*args)))
        return
    began = time.perf_counter()
    size = VERBS[verb](*args)
    print(json.dumps({"seconds": time.perf_counter() - began, "bytes": size}))


if __name__ == "__main__":
    main(*sys.argv[1:])
