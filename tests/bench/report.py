"""Samples → Markdown: a table of medians for each part, the aims of issue 3 with how far off we are, the machine.

Concurrency: pure, but for asking programs their versions.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata

from tests.bench.measure import Sample
from tests.bench.tools import LOCAL, OURS, REMOTE, Tool, search_path

Key = tuple[str, str, str, str]
"""part, scenario, network, step"""


@dataclass(frozen=True)
class Cell:
    """The medians of one step on one tool. ``rss``: KiB, ``pause``: ms, the largest of all runs."""

    seconds: float
    requests: float
    bytes: float
    rss: int
    pause: float
    runs: int
    fault: str


class Results:
    """Medians by key and tool, in the order they were measured."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        gathered: dict[Key, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
        for each in samples:
            gathered[each.part, each.scenario, each.network, each.step][each.tool].append(each)
        self.cells: dict[Key, dict[str, Cell]] = {
            key: {tool: _cell(runs) for tool, runs in tools.items()} for key, tools in gathered.items()
        }

    def cell(self, tool: str, part: str, scenario: str, step: str, network: str = "") -> Cell | None:
        """What was measured, if it was and came out right."""
        found = self.cells.get((part, scenario, network, step), {}).get(tool)
        return found if found is not None and not found.fault else None


def _cell(runs: list[Sample]) -> Cell:
    good = [each for each in runs if not each.fault] or runs
    return Cell(
        statistics.median(each.seconds for each in good),
        statistics.median(each.requests for each in good),
        statistics.median(each.bytes for each in good),
        max(each.rss for each in good),
        max(each.pause for each in good),
        len(good),
        good[0].fault,
    )


# -- tables ----------------------------------------------------------------------------------------------------------


def tables(results: Results) -> str:
    """Both parts."""
    parts = [
        ("local", LOCAL, "## Local\n\nMilliseconds."),
        ("remote", REMOTE, "## Remote\n\nMilliseconds / requests / KiB, from the tool's start (mountfs: already mounted)."),
    ]
    text = [
        f"{title}\n\n{_table(results, part, tools)}" for part, tools, title in parts if any(k[0] == part for k in results.cells)
    ]
    return "\n\n".join(text)


def _table(results: Results, part: str, tools: tuple[Tool, ...]) -> str:
    keys = [key for key in results.cells if key[0] == part]
    used = [tool.name for tool in tools if any(tool.name in results.cells[key] for key in keys)]
    rows = [["workload", *(["network"] if part == "remote" else []), "step", *used]]
    rows.append(["---"] * len(rows[0]))
    last = ""
    for key in keys:
        _, scenario, network, step = key
        first = [scenario if (scenario, network) != last else "", *([network] if part == "remote" else []), step]
        last = (scenario, network)
        rows.append(first + [_show(results.cells[key].get(tool), part) for tool in used])
    rss = [max((c.rss for k in keys for t, c in results.cells[k].items() if t == tool), default=0) for tool in used]
    label = ["peak RSS, MiB", *([""] if part == "remote" else []), ""]
    rows.append(label + [f"{kib / 1024:.0f}" if kib else "–" for kib in rss])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _show(cell: Cell | None, part: str) -> str:
    if cell is None:
        return "–"
    if cell.fault:
        return cell.fault if cell.fault.startswith(">") else "failed"
    text = f"{cell.seconds * 1000:.0f}" if cell.seconds >= 0.02 else f"{cell.seconds * 1000:.1f}"
    return f"{text} / {cell.requests:.0f} / {cell.bytes / 1024:,.0f}" if part == "remote" else text


def faults(results: Results) -> str:
    """What went wrong, a line each."""
    lines = [
        f"- {tool}: {', '.join(filter(None, key[1:]))}: {cell.fault}"
        for key, tools in results.cells.items()
        for tool, cell in tools.items()
        if cell.fault
    ]
    return "## Not measured\n\n" + "\n".join(lines) if lines else ""


def pauses(results: Results) -> str:
    """The longest mountfs left a statfs unanswered while busy."""
    found = [(c.pause, key) for key, tools in results.cells.items() for t, c in tools.items() if t == OURS and c.pause]
    if not found:
        return ""
    lines = [f"| {', '.join(filter(None, key[1:]))} | {pause:.0f} |" for pause, key in sorted(found, reverse=True)[:8]]
    return "## Longest pause\n\nThe slowest answer to `statfs`, asked every 5 ms meanwhile.\n\n| while | ms |\n| --- | --- |\n" + "\n".join(lines)


# -- aims ------------------------------------------------------------------------------------------------------------


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
    judge: Callable[[Results], Outcome | None]


def ratio(ours: Cell | None, theirs: Iterable[Cell | None], most: float) -> Outcome | None:
    """Our time against the best of theirs; met at ``most`` times it or less."""
    others = [cell.seconds for cell in theirs if cell is not None]
    if ours is None or not others:
        return None
    times = ours.seconds / min(others)
    return Outcome(f"{times:.2f} × ({ours.seconds * 1000:.0f} ms : {min(others) * 1000:.0f} ms)", times <= most)


def _local(scenario: str, step: str, peers: tuple[str, ...], most: float, ours: str = OURS) -> Callable[[Results], Outcome | None]:
    def judge(results: Results) -> Outcome | None:
        mine = results.cell(ours, "local", scenario, step)
        return ratio(mine, (results.cell(peer, "local", scenario, step) for peer in peers), most)

    return judge


def _copy(scenario: str, step: str, network: str, most: float) -> Callable[[Results], Outcome | None]:
    def judge(results: Results) -> Outcome | None:
        peers = ("curl + mount-zip", "curl + unzip")
        mine = results.cell(OURS, "remote", scenario, step, network)
        return ratio(mine, (results.cell(peer, "remote", scenario, step, network) for peer in peers), most)

    return judge


def _traffic(scenario: str, step: str, network: str, requests: int, size: int, seconds: float | None = None) -> Callable[[Results], Outcome | None]:
    """At most so many requests and bytes (and seconds)."""

    def judge(results: Results) -> Outcome | None:
        cell = results.cell(OURS, "remote", scenario, step, network)
        if cell is None:
            return None
        met = cell.requests <= requests and cell.bytes <= size and (seconds is None or cell.seconds <= seconds)
        return Outcome(f"{cell.requests:.0f} requests, {cell.bytes / 1024:,.0f} KiB, {cell.seconds * 1000:.0f} ms", met)

    return judge


def _bytes(scenario: str, network: str, peer: str, most: float) -> Callable[[Results], Outcome | None]:
    """Bytes of a whole copy against those of the archive (which is what curl moved)."""

    def judge(results: Results) -> Outcome | None:
        mine = results.cell(OURS, "remote", scenario, "cp -r", network)
        whole = results.cell(peer, "remote", scenario, "cp -r", network)
        if mine is None or whole is None:
            return None
        times = mine.bytes / whole.bytes
        return Outcome(f"{times:.3f} × in {mine.requests:.0f} requests", times <= most)

    return judge


def _memory(results: Results) -> Outcome | None:
    found = [(c.rss, key) for key, tools in results.cells.items() for t, c in tools.items() if t == OURS and "million" not in key[1] and "1,000,000" not in key[1]]
    if not found:
        return None
    rss, key = max(found)
    return Outcome(f"{rss / 1024:.0f} MiB ({', '.join(filter(None, key[1:]))})", rss <= (150 + 64) * 1024)


KIB = 1024
DIRECTORY_OF_WIDE1G = 760 * KIB  # 10,000 records of 46 bytes and a name of 22 … and an end record
LINKS = ("0 ms", "50 ms")
AIMS: tuple[Aim, ...] = (
    Aim("`ls -R` of 1 GiB, 10,000 members", "≤ 3 requests (and the URL's); directory + 256 KiB", _traffic("1 GiB, 10,000 members: ls -R, cat", "first ls -R", "0 ms", 4, DIRECTORY_OF_WIDE1G + 256 * KIB)),
    Aim("`cat` of one 4 KiB member after it", "1 request, ≤ 64 KiB over its size", _traffic("1 GiB, 10,000 members: ls -R, cat", "cat of one 4 KiB member", "0 ms", 1, 68 * KIB)),
    Aim("first 4 KiB of 1 GiB deflated, 50 ms", "entering + ≤ 1 request, ≤ 256 KiB, ≤ 1.5 × latency + 20 ms for it", _traffic("1 GiB deflated: ends of it", "first 4 KiB", "50 ms", 4, 512 * KIB, 0.245)),
    Aim("last 4 KiB of 1 GiB stored", "entering + 1 request, ≤ 128 KiB", _traffic("1 GiB stored: its end", "last 4 KiB", "0 ms", 4, 384 * KIB)),
    *(
        Aim(f"whole `cp -r`, {name}, {link}", "≤ 1.0 × curl + mount-zip or + unzip", _copy(f"{name}: copy", "cp -r", link, 1.0))
        for name in ("small10k", "mixed", "interleaved")
        for link in LINKS
    ),
    *(
        Aim(f"whole `cp -r`, {name}, 200 ms, 50 MB/s", "≤ 0.5 ×", _copy(f"{name}: copy", "cp -r", "200 ms, 50 MB/s", 0.5))
        for name in ("small10k", "mixed", "interleaved")
    ),
    *(
        Aim(f"bytes of `cp -r`, {name}, 50 ms", "≤ 1.02 × the archive", _bytes(f"{name}: copy", "50 ms", "curl + mount-zip", 1.02))
        for name in ("small10k", "mixed", "interleaved")
    ),
    Aim("sequential read of big1, cache warm", "≤ 1.0 × mount-zip, fuse-zip", _local("big1, sequential", "sequential read", ("mount-zip", "fuse-zip"), 1.0)),
    Aim("the same, second read", "≤ 1.0 × mount-zip, fuse-zip", _local("big1, sequential", "second read, daemon warm", ("mount-zip", "fuse-zip"), 1.0)),
    Aim("the same beside a C passthrough", "≤ 1.25 × its time", _local("big1, sequential", "second read, daemon warm", ("C passthrough",), 1.25)),
    *(
        Aim(f"cache warm: {scenario}", "≤ 1.2 × mount-zip", _local(scenario, step, ("mount-zip",), 1.2))
        for scenario, step in (
            ("small10k, cp -r", "cp -r"),
            ("small10k, find", "find"),
            ("small10k, ls -lR", "ls -lR"),
            ("small10k, stat storm", "stat storm"),
            ("many100k, find", "find"),
            ("many100k, ls -lR", "ls -lR"),
            ("many100k, stat storm", "stat storm"),
        )
    ),
    Aim("1,000 random 4 KiB in 1 GiB deflated, after one pass", "≤ 0.2 × the best archive mount", _local("big1, random", "1,000 random 4 KiB", ("mount-zip", "fuse-zip", "fuse-archive"), 0.2)),
    Aim("peak RSS", "≤ 150 MiB beside a 64 MiB memory cache", _memory),
)


def aims(results: Results) -> str:
    """The aims that were measured, those missed marked."""
    lines = ["| workload | aim | measured | |", "| --- | --- | --- | --- |"]
    for aim in AIMS:
        if (outcome := aim.judge(results)) is not None:
            lines.append(f"| {aim.workload} | {aim.aim} | {outcome.measured} | {'met' if outcome.met else '**missed**'} |")
    return "## Aims\n\n" + "\n".join(lines)


# -- the machine -----------------------------------------------------------------------------------------------------

VERSIONS: dict[str, tuple[str, ...]] = {
    "mount-zip": ("mount-zip", "--version"),
    "fuse-zip": ("fuse-zip", "--version"),
    "fuse-archive": ("fuse-archive", "--version"),
    "archivemount": ("archivemount", "--version"),
    "ratarmount": ("ratarmount", "--version"),
    "rclone": ("rclone", "--version"),
    "curl": ("curl", "--version"),
    "unzip": ("unzip", "-v"),
    "fusermount3": ("fusermount3", "--version"),
}


def machine() -> str:
    """CPU, memory, kernel, and the version of everything measured."""
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        models = [line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"- {len(models)} × {models[0] if models else platform.machine()}, {memory:.0f} GiB, Linux {platform.release()}",
        f"- Python {platform.python_version()}, pyfuse3 {metadata.version('pyfuse3')}, trio {metadata.version('trio')}, "
        f"httpx {metadata.version('httpx')}",
    ]
    lines += [f"- {name}: {version}" for name, command in VERSIONS.items() if (version := _version(command))]
    return "## Machine\n\n" + "\n".join(lines)


def _version(command: tuple[str, ...]) -> str:
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20, env={**os.environ, "PATH": search_path()})
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (ran.stdout + ran.stderr).strip().splitlines()[0]


def markdown(samples: list[Sample], remarks: list[str]) -> str:
    """The whole report."""
    results = Results(samples)
    runs = [cell.runs for tools in results.cells.values() for cell in tools.values()]
    head = f"# Benchmarks\n\nMedians of {min(runs, default=0)}–{max(runs, default=0)} runs."
    notes = [f"- {tool.name}: {tool.remark}" for tool in (*LOCAL, *REMOTE) if tool.remark] + [f"- {r}" for r in remarks]
    parts = [head, aims(results), tables(results), pauses(results), faults(results), machine(), "## Notes\n\n" + "\n".join(dict.fromkeys(notes))]
    return "\n\n".join(part for part in parts if part) + "\n"
