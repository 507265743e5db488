"""The aims of issue 3, each a row that judges what was measured.

Times are ratios within one run, since the machine is what it is; requests and bytes are counted, so they are exact.
What entering a session costs (the question for its URL, the directory) is counted where it cannot be told apart.

Concurrency: pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .results import Cell, Results
from .tools import OURS

Judge = Callable[[Results], "Outcome | None"]

KIB = 1024
WIDE = "1 GiB, 10,000 members: ls -R, cat"
COPIES = ("small10k", "mixed", "interleaved")


@dataclass(frozen=True)
class Outcome:
    """What was measured, beside what was aimed at."""

    measured: str
    met: bool


@dataclass(frozen=True)
class Aim:
    """One row of issue 3. ``judge``: None when it was not measured."""

    workload: str
    aim: str
    judge: Judge


def ratio(ours: Cell | None, theirs: Iterable[Cell | None], most: float) -> Outcome | None:
    """Our time against the best of theirs; met at ``most`` times it or less."""
    others = [cell.seconds for cell in theirs if cell is not None]
    if ours is None or not others:
        return None
    times = ours.seconds / min(others)
    return Outcome(f"{times:.2f}x ({ours.seconds * 1000:.0f} ms : {min(others) * 1000:.0f} ms)", times <= most)


def _local(scenario: str, step: str, peers: tuple[str, ...], most: float, ours: str = OURS) -> Judge:
    def judge(results: Results) -> Outcome | None:
        mine = results.cell(ours, "local", scenario, step)
        return ratio(mine, (results.cell(peer, "local", scenario, step) for peer in peers), most)

    return judge


def _copy(scenario: str, step: str, network: str, most: float) -> Judge:
    def judge(results: Results) -> Outcome | None:
        peers = ("curl + mount-zip", "curl + unzip")
        mine = results.cell(OURS, "remote", scenario, step, network)
        return ratio(mine, (results.cell(peer, "remote", scenario, step, network) for peer in peers), most)

    return judge


def _traffic(scenario: str, step: str, network: str, requests: int, size: int, seconds: float | None = None) -> Judge:
    """At most so many requests and bytes (and seconds)."""

    def judge(results: Results) -> Outcome | None:
        cell = results.cell(OURS, "remote", scenario, step, network)
        if cell is None:
            return None
        met = cell.requests <= requests and cell.bytes <= size and (seconds is None or cell.seconds <= seconds)
        return Outcome(f"{cell.requests:.0f} requests, {cell.bytes / 1024:,.0f} KiB, {cell.seconds * 1000:.0f} ms", met)

    return judge


def _bytes(scenario: str, network: str, peer: str, most: float) -> Judge:
    """Bytes of a whole copy against those of the archive (which is what curl moved)."""

    def judge(results: Results) -> Outcome | None:
        mine = results.cell(OURS, "remote", scenario, "cp -r", network)
        whole = results.cell(peer, "remote", scenario, "cp -r", network)
        if mine is None or whole is None:
            return None
        times = mine.bytes / whole.bytes
        return Outcome(f"{times:.3f}x in {mine.requests:.0f} requests", times <= most)

    return judge


def _memory(results: Results) -> Outcome | None:
    mine = [(tools[OURS].rss, key) for key, tools in results.cells.items() if OURS in tools]
    found = [(rss, key) for rss, key in mine if "million" not in key[1] and "1,000,000" not in key[1]]
    if not found:
        return None
    rss, key = max(found)
    return Outcome(f"{rss / 1024:.0f} MiB ({', '.join(filter(None, key[1:]))})", rss <= (150 + 64) * 1024)


DIRECTORY_OF_WIDE1G = 760 * KIB  # 10,000 records of 46 bytes and a name of 22 … and an end record
LINKS = ("0 ms", "50 ms")
AIMS: tuple[Aim, ...] = (
    Aim(
        "`ls -R` of 1 GiB, 10,000 members",
        "≤ 3 requests (and the URL's); directory + 256 KiB",
        _traffic(WIDE, "first ls -R", "0 ms", 4, DIRECTORY_OF_WIDE1G + 256 * KIB),
    ),
    Aim(
        "`cat` of one 4 KiB member after it",
        "1 request, ≤ 64 KiB over its size",
        _traffic(WIDE, "cat of one 4 KiB member", "0 ms", 1, 68 * KIB),
    ),
    Aim(
        "first 4 KiB of 1 GiB deflated, 50 ms",
        "entering + ≤ 1 request, ≤ 256 KiB, ≤ 1.5x the latency + 20 ms for it",
        _traffic("1 GiB deflated: ends of it", "first 4 KiB", "50 ms", 4, 512 * KIB, 0.245),
    ),
    Aim(
        "last 4 KiB of 1 GiB stored",
        "entering + 1 request, ≤ 128 KiB",
        _traffic("1 GiB stored: its end", "last 4 KiB", "0 ms", 4, 384 * KIB),
    ),
    *(
        Aim(
            f"whole `cp -r`, {name}, {link}",
            "≤ 1.0x curl + mount-zip or + unzip",
            _copy(f"{name}: copy", "cp -r", link, 1.0),
        )
        for name in COPIES
        for link in LINKS
    ),
    *(
        Aim(
            f"whole `cp -r`, {name}, 200 ms, 50 MB/s",
            "≤ 0.5x",
            _copy(f"{name}: copy", "cp -r", "200 ms, 50 MB/s", 0.5),
        )
        for name in COPIES
    ),
    *(
        Aim(
            f"bytes of `cp -r`, {name}, 50 ms",
            "≤ 1.02x the archive",
            _bytes(f"{name}: copy", "50 ms", "curl + mount-zip", 1.02),
        )
        for name in COPIES
    ),
    Aim(
        "sequential read of big1, cache warm",
        "≤ 1.0x mount-zip, fuse-zip",
        _local("big1, sequential", "sequential read", ("mount-zip", "fuse-zip"), 1.0),
    ),
    Aim(
        "the same, second read",
        "≤ 1.0x mount-zip, fuse-zip",
        _local("big1, sequential", "second read, daemon warm", ("mount-zip", "fuse-zip"), 1.0),
    ),
    Aim(
        "the same beside a C passthrough",
        "≤ 1.25x its time",
        _local("big1, sequential", "second read, daemon warm", ("C passthrough",), 1.25),
    ),
    *(
        Aim(f"cache warm: {scenario}", "≤ 1.2x mount-zip", _local(scenario, step, ("mount-zip",), 1.2))
        for scenario, step in (
            ("small10k, cp -r", "cp -r"),
            ("small10k, find", "find"),
            ("small10k, ls -lR", "ls -lR"),
            ("small10k, stat storm", "stat storm"),
            ("many100k, find", "find"),
            ("many100k, ls -lR", "ls -lR"),
            ("many100k, stat storm", "stat storm"),
            ("small10k, cp -r, any CPU", "cp -r"),
            ("small10k, find, any CPU", "find"),
            ("small10k, ls -lR, any CPU", "ls -lR"),
            ("small10k, stat storm, any CPU", "stat storm"),
        )
    ),
    Aim(
        "1,000 random 4 KiB in 1 GiB deflated, after one pass",
        "≤ 0.2x the best archive mount",
        _local("big1, random", "1,000 random 4 KiB", ("mount-zip", "fuse-zip", "fuse-archive"), 0.2),
    ),
    Aim("peak RSS", "≤ 150 MiB beside a 64 MiB memory cache", _memory),
)
