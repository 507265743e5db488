"""Samples → Markdown: a table of medians for each part, the aims of issue 3 with how far off we are, the machine.

Concurrency: pure, but for asking programs their versions.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata

from .aims import AIMS
from .measure import Sample
from .results import Cell, Results
from .tools import LOCAL, OURS, REMOTE, Tool, search_path

# -- tables ----------------------------------------------------------------------------------------------------------


def tables(results: Results) -> str:
    """Both parts."""
    parts = [
        ("local", LOCAL, "## Local\n\nMilliseconds."),
        (
            "remote",
            REMOTE,
            "## Remote\n\nMilliseconds / requests / KiB, from the tool's start (mountfs: already mounted).",
        ),
    ]
    text = [
        f"{title}\n\n{_table(results, part, tools)}"
        for part, tools, title in parts
        if any(k[0] == part for k in results.cells)
    ]
    return "\n\n".join(text)


def _table(results: Results, part: str, tools: tuple[Tool, ...]) -> str:
    keys = [key for key in results.cells if key[0] == part]
    used = [tool.name for tool in tools if any(tool.name in results.cells[key] for key in keys)]
    rows = [["workload", *(["network"] if part == "remote" else []), "step", *used]]
    rows.append(["---"] * len(rows[0]))
    last: tuple[str, str] | None = None
    for key in keys:
        _, scenario, network, step = key
        first = [scenario if (scenario, network) != last else "", *([network] if part == "remote" else []), step]
        last = (scenario, network)
        rows.append(first + [_show(results.cells[key].get(tool), part) for tool in used])
    rss = [max((c.rss for k in keys for t, c in results.cells[k].items() if t == tool), default=0) for tool in used]
    label = ["peak RSS, MiB", *([""] if part == "remote" else []), ""]
    rows.append(label + [f"{kib / 1024:.0f}" if kib else "-" for kib in rss])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _show(cell: Cell | None, part: str) -> str:
    if cell is None:
        return "-"
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
    found = [(tools[OURS].pause, key) for key, tools in results.cells.items() if OURS in tools and tools[OURS].pause]
    if not found:
        return ""
    lines = [f"| {', '.join(filter(None, key[1:]))} | {pause:.0f} |" for pause, key in sorted(found, reverse=True)[:8]]
    head = ["## Longest pause", "", "The slowest answer to `statfs`, asked every 5 ms meanwhile.", ""]
    return "\n".join([*head, "| while | ms |", "| --- | --- |", *lines])


def aims(results: Results) -> str:
    """The aims that were measured, those missed marked."""
    lines = ["| workload | aim | measured | |", "| --- | --- | --- | --- |"]
    for aim in AIMS:
        if (outcome := aim.judge(results)) is not None:
            verdict = "met" if outcome.met else "**missed**"
            lines.append(f"| {aim.workload} | {aim.aim} | {outcome.measured} | {verdict} |")
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
    model = models[0] if models else platform.machine()
    ours = ", ".join(f"{package} {metadata.version(package)}" for package in ("pyfuse3", "trio", "httpx", "isal"))
    lines = [
        f"- {len(models)} x {model}, {memory:.0f} GiB, Linux {platform.release()}",
        f"- Python {platform.python_version()}, {ours}",
    ]
    lines += [f"- {name}: {version}" for name, command in VERSIONS.items() if (version := _version(command))]
    return "## Machine\n\n" + "\n".join(lines)


def _version(command: tuple[str, ...]) -> str:
    try:
        ran = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=20, env={**os.environ, "PATH": search_path()}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (ran.stdout + ran.stderr).strip().splitlines()[0]


def markdown(samples: list[Sample], remarks: list[str]) -> str:
    """The whole report."""
    results = Results(samples)
    runs = [cell.runs for tools in results.cells.values() for cell in tools.values()]
    head = f"# Benchmarks\n\nMedians of {min(runs, default=0)} to {max(runs, default=0)} runs."
    notes = [f"- {tool.name}: {tool.remark}" for tool in (*LOCAL, *REMOTE) if tool.remark] + [f"- {r}" for r in remarks]
    parts = [
        head,
        aims(results),
        tables(results),
        pauses(results),
        faults(results),
        machine(),
        "## Notes\n\n" + "\n".join(dict.fromkeys(notes)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
