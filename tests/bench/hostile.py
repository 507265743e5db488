"""What archives made to exhaust cost: memory and time, each in a process of its own.

    python -m tests.bench.hostile            prints a table in Markdown

The fakes serve from this process; each row is read by a child through the file system without a mount. Memory is the
child's peak less what it had with the tree built and nothing read. "longest" is the longest time its event loop did not
turn: what everybody else on the mount would wait.

Concurrency: one child at a time.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from drives import Drive, MovableClock, World
from zips import COMPRESSORS, Part, archive, end

from mountfs import config as configuration
from mountfs.daemon import tree
from mountfs.demo.server import Fakes
from mountfs.providers import options_of

MIB = 1 << 20
SESSION = "kaizen/s_1"
TICK = 0.005


def zeros(size: int) -> bytes:
    """A deflate stream of so many zeros, a thousandth as long."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(16 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * (size // (16 * MIB)) + b"\x03\x00"


def records(count: int, name: Callable[[int], bytes], *, offset: Callable[[int], int] = lambda n: 0) -> bytes:
    """So many records of empty files, all at one local header or where ``offset`` says."""
    made = []
    for number in range(count):
        raw = name(number)
        head = (b"PK\1\2", 30, 3, 20, 1 << 11, 0, 0, 33, 0, 0, 0, len(raw), 0, 0, 0, 0, 0o100644 << 16, offset(number))
        made.append(struct.pack("<4sBB5H3L5H2L", *head) + raw)
    return b"".join(made)


def listed(raw: bytes, count: int) -> bytes:
    """An archive of one local header, which all records may share, and a directory."""
    local = Part("x").local() + bytes(70_000)
    return local + raw + end(count, len(raw), len(local))


def bombs() -> dict[str, tuple[Callable[[], bytes], Callable[[Drive], Awaitable[str]]]]:
    """What is served, and what is done to it."""
    gigabyte = Part("bomb", b"", method=8, compressed=zeros(1 << 30), size=1 << 30, crc=0x5B64C2B0)
    kernel = Part("k", b"x" * 5000, method=8)
    overlapping = [replace(kernel, name=f"{n}", local_omitted=True, offset=n % 20) for n in range(10_000)]
    rows: dict[str, tuple[Callable[[], bytes], Callable[[Drive], Awaitable[str]]]] = {
        "nothing odd: 2 small members": (lambda: archive(Part("a", b"a"), Part("b", b"b")), ls),
        "1 GiB in 1 MiB: head": (lambda: archive(gigabyte, pad()), head),
        "1 GiB in 1 MiB: all of it, through a spool": (lambda: archive(gigabyte, pad()), cat),
        "1 GiB in 1 MiB: all of it, through a ring": (lambda: archive(gigabyte, pad()), cat),
        "10,000 overlapping members: ls, open 100": (
            lambda: archive(kernel, *overlapping, Part("p", b"p" * 99)),
            opens,
        ),
        "directory claims 2^62 members": (lambda: archive(kernel, count=2**62, end64=True), ls),
        "directory claims 2^62 bytes": (lambda: archive(kernel, size=2**62, end64=True), ls),
        "3,000 names of 65,535 bytes": (
            lambda: listed(records(3000, lambda n: b"%05d" % n + b"n" * 65_530), 3000),
            ls,
        ),
        "10,000 paths of 2,000 levels": (
            lambda: listed(records(10_000, lambda n: b"%05d/" % n + b"d/" * 1998 + b"d"), 10_000),
            ls,
        ),
        "780 paths of 256 levels (200,000 directories)": (
            lambda: listed(records(780, lambda n: b"%05d/" % n + b"d/" * 254 + b"d"), 780),
            ls,
        ),
        "4,200 paths of 256 levels (over a million)": (
            lambda: listed(records(4200, lambda n: b"%05d/" % n + b"d/" * 254 + b"d"), 4200),
            ls,
        ),
        "65,535 members of one name": (lambda: listed(records(65_535, lambda n: b"same"), 65_535), ls),
        "60,000 links, each a target to read": (lambda: links(60_000), ls),
        "a comment of 2,900 end records": (lambda: archive(kernel, comment=candidates()), ls),
    }
    for method in sorted(COMPRESSORS):
        if method:
            rows[f"64 MiB of zeros by method {method}: all of it"] = (lambda method=method: zeros_by(method), cat)  # type: ignore[misc]
    return rows


def pad() -> Part:
    return Part("pad", bytes(range(256)) * 20_000)


def zeros_by(method: int) -> bytes:
    return archive(Part("bomb", bytes(64 * MIB), method=method), pad())


def links(count: int) -> bytes:
    parts = (Part(f"l{number}", b"target-%d" % number, mode=0o120777) for number in range(count))
    return archive(*parts)


def candidates() -> bytes:
    return b"".join(end(1, 46, 0)[:20] + struct.pack("<H", 22 * left) for left in range(2900, -1, -1))


# -- what is done --------------------------------------------------------------------------------------------------


async def ls(drive: Drive) -> str:
    error = await drive.error(drive.stat(f"{SESSION}/none"))
    if error != "ENOENT":
        return error
    return f"{len(await drive.ls(SESSION)):,} names"


async def head(drive: Drive) -> str:
    async with drive.file(f"{SESSION}/bomb") as handle:
        return f"{len(await handle.read(0)) >> 10} KiB"


async def cat(drive: Drive) -> str:
    async with drive.file(f"{SESSION}/bomb") as handle:
        total = 0
        try:
            for at in range(0, handle.size, MIB):
                total += len(await handle.read(at, MIB))
        except Exception as exc:  # noqa: BLE001 - a figure, not a judgement
            return f"{total >> 20} MiB, then {type(exc).__name__}"
        return f"{total >> 20} MiB"


async def opens(drive: Drive) -> str:
    names = await drive.ls(SESSION)
    errors = {await drive.error(drive.cat(f"{SESSION}/{number}")) for number in range(100)}
    return f"{len(names):,} names, {'/'.join(sorted(errors))}"


# -- the child -----------------------------------------------------------------------------------------------------


def child(row: str, config: str) -> None:
    """Reads one row's session; prints its figures."""
    work = bombs()[row][1]

    async def main() -> None:
        settings = configuration.load(config, {}, options=options_of)
        async with tree(settings) as filesystem:
            drive = Drive(filesystem, MovableClock(), None, trio.CancelScope())  # type: ignore[arg-type]
            await drive.ls("kaizen")
            before = memory("VmRSS")
            forget_peak()
            longest = [0.0]
            began, busy = time.monotonic(), time.process_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, longest)
                found = await work(drive)
                nursery.cancel_scope.cancel()
            figures = {
                "found": found,
                "seconds": time.monotonic() - began,
                "cpu": time.process_time() - busy,
                "mib": (memory("VmHWM") - before) / 1024,
                "longest": longest[0],
            }
        print(json.dumps(figures))

    trio.run(main)


async def watch(longest: list[float]) -> None:
    while True:
        asked = time.monotonic()
        await trio.sleep(TICK)
        longest[0] = max(longest[0], time.monotonic() - asked - TICK)


def forget_peak() -> None:
    """The peak starts from here (proc(5))."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def memory(field: str) -> int:
    """KiB."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))


def measure() -> None:
    print("| archive | what came | seconds | CPU s | peak MiB | longest loop stall, ms | archive |")
    print("|---|---|---|---|---|---|---|")
    for row, (make, _) in bombs().items():
        with tempfile.TemporaryDirectory() as directory, Fakes() as fakes:
            world = World(fakes, Path(directory))
            data = make()
            world.session("kaizen", data)
            world.set("cache", dir=str(world.cache), min_free="0B", max_size="64MiB" if "ring" in row else "8GiB")
            world.set("network", deadline="120s")
            world.set("limits", max_ratio=10_000_000)
            world.config()
            command = [sys.executable, "-m", "tests.bench.hostile", row, str(world.place / "config.toml")]
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
            if ended.returncode:
                print(f"| {row} | failed: {ended.stderr[-300:]!r} | | | | | |")
                continue
            f = json.loads(ended.stdout.splitlines()[-1])
            figures = f"{f['seconds']:.2f} | {f['cpu']:.2f} | {f['mib']:.0f} | {f['longest'] * 1000:.0f}"
            print(f"| {row} | {f['found']} | {figures} | {len(data) / MIB:.1f} MiB |", flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if len(sys.argv) == 3:
        child(sys.argv[1], sys.argv[2])
    else:
        measure()
