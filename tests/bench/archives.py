"""The archives every tool is measured on: made on first use, the same bytes every time, kept for later runs.

Contents look like agents' work (log lines with ids in them, which deflate to about a third) or are random bytes, drawn
from generators seeded with the archive's name. Beside each NAME.zip lies NAME.list, its members' paths in the order
of the archive (what a stat storm goes through), and NAME.facts (files and bytes, so that a copy can be checked).

Concurrency: none; one process makes them.
"""

from __future__ import annotations

import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
VERSION = 2
"""Raised when a recipe changes: archives of another version are made again."""

WHEN = (2026, 11, 3, 12, 34, 56)
LEVELS = ("INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR")
_TEXT = (
    "agent step tool call grep read write patch apply plan retry token prompt context window file path line match "
    "browser click navigate page element timeout status session archive upload cache model result output diff test "
    "passed failed build compile module import error trace value key request response header body json parse"
)
WORDS = _TEXT.split()


@dataclass(frozen=True)
class Piece:
    """One member: its path, whether it is deflated, and its bytes in pieces."""

    path: str
    deflated: bool
    data: Iterator[bytes]


@dataclass(frozen=True)
class Archive:
    """A finished archive. ``files`` and ``bytes``: what a whole copy must come to. ``size``: of the archive itself."""

    name: str
    path: Path
    files: int
    bytes: int

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def paths(self) -> list[str]:
        """The members' paths, in the order of the archive."""
        return self.path.with_suffix(".list").read_text().splitlines()


def log_text(rng: random.Random, size: int) -> bytes:
    """Lines of a log, exactly ``size`` bytes; deflates to about 30 %."""
    lines: list[str] = []
    length = 0
    while length < size:
        words = " ".join(rng.choices(WORDS, k=9))
        line = (
            f"2026-11-03T{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"
            f".{rng.randrange(1000):03}Z "
            f"{rng.choice(LEVELS)} worker-{rng.randrange(16):02} {words} id={rng.getrandbits(32):08x}\n"
        )
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()[:size]


def big_log(rng: random.Random, size: int) -> Iterator[bytes]:
    """A large log in pieces of 1 MiB: a pool of 16 of them, each use marked with its place every 4 KiB, so that no
    two blocks are alike and a reader that got the wrong one would be seen."""
    pool = [bytearray(log_text(rng, MIB)) for _ in range(min(16, -(-size // MIB)))]
    for at in range(0, size, MIB):
        piece = bytearray(pool[at // MIB % len(pool)])
        for block in range(0, MIB, 4 * KIB):
            piece[block : block + 16] = b"%015d\n" % (at + block)
        yield bytes(piece[: min(MIB, size - at)])


def noise(rng: random.Random, size: int) -> Iterator[bytes]:
    """Random bytes in pieces of 1 MiB."""
    for at in range(0, size, MIB):
        yield rng.randbytes(min(MIB, size - at))


def once(data: bytes) -> Iterator[bytes]:
    """One piece."""
    yield data


def small_files(rng: random.Random, files: int, directories: int, low: int, high: int) -> Iterator[Piece]:
    """``files`` log files of ``low`` to ``high`` bytes, directory by directory."""
    pool = log_text(rng, 4 * MIB)
    for number in range(files):
        size = rng.randint(low, high)
        at = rng.randrange(len(pool) - size)
        directory = number * directories // files
        yield Piece(
            f"run-{directory // 20:02}/step-{directory:04}/out-{number:06}.log", True, once(pool[at : at + size])
        )


def small10k(rng: random.Random) -> Iterator[Piece]:
    return small_files(rng, 10_000, 200, KIB, 16 * KIB)


def many100k(rng: random.Random) -> Iterator[Piece]:
    return small_files(rng, 100_000, 1_000, 64, 64)


def million(rng: random.Random) -> Iterator[Piece]:
    data = log_text(rng, 16)
    for number in range(1_000_000):
        yield Piece(f"run-{number // 20_000:02}/step-{number // 1000:04}/out-{number:06}.txt", False, once(data))


def big1(rng: random.Random) -> Iterator[Piece]:
    yield Piece("agent.log", True, big_log(rng, GIB))


def stored1(rng: random.Random) -> Iterator[Piece]:
    yield Piece("recording.bin", False, noise(rng, GIB))


def mixed(rng: random.Random) -> Iterator[Piece]:
    """500 files of 10 KiB to 20 MiB, most of them small, some 600 MiB; two in five deflate, as logs and reports do,
    the others do not, as screenshots and archives do."""
    sizes = random.Random("sizes")
    for number in range(500):
        size = int(10 * KIB * (2 * KIB) ** (sizes.random() ** 2.2))
        path = f"area-{number // 25:02}/item-{number:04}"
        if number % 5 < 2:
            yield Piece(path + ".log", True, big_log(random.Random(f"{number}"), size))
        else:
            yield Piece(path + ".png", False, noise(rng, size))


def wide1g(rng: random.Random) -> Iterator[Piece]:
    """10,000 members in 100 directories, 1 GiB in all: every tenth about 1 MiB of noise, the others 4 KiB of log."""
    pool = log_text(rng, 4 * MIB)
    for number in range(10_000):
        path = f"part-{number // 100:03}/file-{number:05}"
        if number % 10:
            at = rng.randrange(len(pool) - 4 * KIB)
            yield Piece(path + ".log", True, once(pool[at : at + 4 * KIB]))
        else:
            yield Piece(path + ".bin", False, noise(rng, 1040 * KIB))


def interleaved(rng: random.Random) -> Iterator[Piece]:
    """3,000 members in 60 directories, 90 MB, stored as a streaming writer would: in the order they were finished,
    not by directory."""
    order = list(range(3_000))
    rng.shuffle(order)
    for number in order:
        yield Piece(f"area-{number % 60:02}/shot-{number:05}.bin", False, noise(rng, rng.randint(20 * KIB, 40 * KIB)))


RECIPES: dict[str, Callable[[random.Random], Iterator[Piece]]] = {
    "small10k": small10k,
    "many100k": many100k,
    "million": million,
    "big1": big1,
    "stored1": stored1,
    "mixed": mixed,
    "wide1g": wide1g,
    "interleaved": interleaved,
}


def make(name: str, directory: Path) -> Archive:
    """The archive ``name`` under ``directory``, made now unless it is there."""
    path = directory / f"{name}.zip"
    facts_path = directory / f"{name}.facts"
    facts = json.loads(facts_path.read_text()) if facts_path.exists() else {}
    if facts.get("version") != VERSION or not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        facts = _write(name, path)
        facts_path.write_text(json.dumps(facts))
    return Archive(name, path, facts["files"], facts["bytes"])


def _write(name: str, path: Path) -> dict[str, int]:
    partial = path.with_suffix(".partial")
    files = size = 0
    with zipfile.ZipFile(partial, "w", allowZip64=True) as archive, path.with_suffix(".list").open("w") as paths:
        for piece in RECIPES[name](random.Random(name)):
            info = zipfile.ZipInfo(piece.path, WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED if piece.deflated else zipfile.ZIP_STORED
            info.external_attr = 0o100644 << 16
            with archive.open(info, "w") as member:
                for data in piece.data:
                    member.write(data)
                    size += len(data)
            paths.write(piece.path + "\n")
            files += 1
    os.rename(partial, path)
    return {"version": VERSION, "files": files, "bytes": size}


def extracted(archive: Archive, directory: Path) -> Path:
    """The archive's members as plain files, extracted now unless they are there: the limit a mount is held to."""
    target = directory / archive.name
    done = directory / f"{archive.name}.extracted"
    if not done.exists():
        with zipfile.ZipFile(archive.path) as source:
            source.extractall(target)
        done.write_text(str(VERSION))
    return target
