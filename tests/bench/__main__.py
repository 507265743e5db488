"""``make bench``: measures mountfs beside its peers and writes a Markdown report.

    python -m tests.bench                       everything, medians of 5: hours
    python -m tests.bench --quick               one run of each
    python -m tests.bench --only 'small10k' --tools 'mountfs|mount-zip' --part local
    python -m tests.bench --report-only         the report anew from what was measured

Needs /dev/fuse; peers that are missing are skipped with a line saying so (``BENCH_PEERS`` names directories to look
in before PATH). Every sample is appended to results.jsonl as it is taken; ``--fresh`` starts a new file.

Concurrency: none here.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import signal
import sys
from functools import partial
from pathlib import Path

from . import report, workloads
from .measure import Bench, Sample, Server, load, write
from .tools import LOCAL, REMOTE, Tool
from .workloads import Network, Scenario

NOT_MEASURED = ["rclone's archive backend: needs rclone 1.72 or newer, which Debian 12 does not have"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="measures mountfs beside its peers")
    parser.add_argument("--quick", action="store_true", help="one run of each instead of --runs")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="scenarios: a regular expression")
    parser.add_argument("--tools", default="", help="tools: a regular expression on the whole name")
    parser.add_argument("--networks", default="", help="networks: a regular expression, as '^50 ms'")
    parser.add_argument("--part", choices=("local", "remote", "all"), default="all")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a step may take")
    parser.add_argument("--keep-caches", action="store_true", help="do not drop the kernel's caches between runs")
    parser.add_argument("--pulse", action="store_true", help="measure how long mountfs leaves a question unanswered")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--report-only", action="store_true")
    parser.add_argument("--work", type=Path, default=Path(os.environ.get("BENCH_WORK", "/var/tmp/mountfs-bench")))
    parser.add_argument("--out", type=Path, help="where the report goes; default: report.md in the work directory")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that mounts and servers go with us
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the C passthrough holds a descriptor for every inode
    options.work.mkdir(parents=True, exist_ok=True)
    results = options.work / "results.jsonl"
    if options.fresh:
        results.unlink(missing_ok=True)
    missing: list[str] = []
    if not options.report_only:
        (options.work / "archives").mkdir(exist_ok=True)
        server = Server(options.work / "archives")
        try:
            bench = Bench(
                options.work, server, options.limit, not options.keep_caches, options.pulse, partial(_record, results)
            )
            for part, tools, scenarios in (
                ("local", LOCAL, workloads.LOCAL),
                ("remote", REMOTE, workloads.REMOTE),
            ):
                if options.part in (part, "all"):
                    missing += _measure(bench, part, tools, scenarios, options)
        finally:
            server.close()
    text = report.markdown(load(results), missing + NOT_MEASURED)
    out = options.out or options.work / "report.md"
    out.write_text(text, encoding="utf-8")
    print(f"\n{out}")
    return 0


def _measure(
    bench: Bench, part: str, tools: tuple[Tool, ...], scenarios: tuple[Scenario, ...], options: argparse.Namespace
) -> list[str]:
    """Runs one part; answers a line for every tool that is missing."""
    chosen = [tool for tool in tools if re.fullmatch(options.tools or ".*", tool.name)]
    missing = [line for tool in chosen if (line := tool.missing())]
    for line in missing:
        print(line, file=sys.stderr)
    chosen = [tool for tool in chosen if tool.missing() is None]
    for scenario in scenarios:
        if not re.search(options.only, scenario.name):
            continue
        for network in scenario.networks or (Network(),):
            if scenario.networks and not re.search(options.networks, str(network)):
                continue
            failed: set[str] = set()
            for _ in range(1 if options.quick else options.runs):
                for tool in chosen:  # side by side: what disturbs the machine disturbs them all
                    if tool.name not in failed and tool.name not in scenario.without:
                        failed |= _run(bench, part, scenario, network, tool)
    return missing


def _run(bench: Bench, part: str, scenario: Scenario, network: Network, tool: Tool) -> set[str]:
    """One run; the tool's name if it failed, so that it is not waited for again."""
    faults: list[str] = []
    record = bench.record

    def watch(sample: Sample) -> None:
        record(sample)
        faults.extend(filter(None, [sample.fault]))

    bench.record = watch
    try:
        bench.run(part, scenario, network, tool)
    finally:
        bench.record = record
    return {tool.name} if faults else set()


def _record(results: Path, sample: Sample) -> None:
    write(sample, results)
    label = ", ".join(filter(None, (sample.scenario, sample.network, sample.step)))
    words = [f"{label:62} {sample.tool:22} {sample.seconds * 1000:9.1f} ms, cpu {sample.cpu * 1000:6.0f} ms"]
    if sample.part == "remote":
        words.append(f"{sample.requests:5d} requests {sample.bytes / 1024:12,.0f} KiB")
    words.append(f"{sample.rss / 1024:6.0f} MiB")
    if sample.pause:
        words.append(f"pause {sample.pause:.0f} ms")
    print(*words, sample.fault, flush=True)


if __name__ == "__main__":
    sys.exit(main())
