"""Runs scenarios on tools, and writes down each step: seconds, requests, bytes, peak memory, worst pause.

Copies go to memory (``Bench.out``). Before a run: what the last one left is deleted, dirty pages are written out, and
(as root, unless told not to) the kernel's caches are dropped; then what the tool will read (the archive, the extracted
tree, our disk cache) is read once, so that nobody is measured by the disk it lies on.
A step that takes longer than the limit is killed and written down as such; its scenario ends there for that tool.

Concurrency: one tool and one step at a time; the server is a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from . import archives
from .archives import Archive
from .tools import OURS, Scene, Shown, Tool, ToolFailed, mountfs_at, read_all, search_path
from .workloads import CLIENT, Network, Scenario, Step

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """One measured step. ``rss``: KiB. ``cpu``: seconds the daemons computed. ``pause``: the longest the daemon left a
    trivial question unanswered, ms. ``fault``: why there are no figures, or why they are not to be trusted."""

    part: str
    scenario: str
    network: str
    step: str
    tool: str
    seconds: float
    requests: int = 0
    bytes: int = 0
    rss: int = 0
    cpu: float = 0.0
    pause: float = 0.0
    fault: str = ""


class Server:
    """The range server's process, seen from here."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), str(directory)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def be(self, network: Network) -> None:
        self._get(f"/_set?latency_ms={network.latency_ms}&mb={network.rate_mb}")

    def counts(self, *, reset: bool = False) -> dict[str, int]:
        counts: dict[str, int] = json.loads(self._get("/_counts" + ("?reset=1" if reset else "")))
        return counts

    def _get(self, path: str) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path) as answer:
            data: bytes = answer.read()
        return data

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()


@dataclass
class Bench:
    """``work``: where everything lies. ``limit``: seconds a step may take. ``drop``: whether caches are dropped.
    ``pulse``: whether pauses are measured, which costs some time itself."""

    work: Path
    server: Server
    limit: float
    drop: bool
    pulse: bool
    record: Callable[[Sample], None]

    def archive(self, name: str) -> Archive:
        return archives.make(name, self.work / "archives")

    def run(self, part: str, scenario: Scenario, network: Network, tool: Tool) -> None:
        """One run of one scenario on one tool."""
        archive = self.archive(scenario.archive)
        scratch = self.work / "scratch"
        keep = self.work / "keep"
        keep.mkdir(parents=True, exist_ok=True)
        _empty(scratch)
        scene = Scene(archive, scratch, keep, self.server.url, "0" if scenario.one_cpu else None)
        self.server.be(network if part == "remote" else Network())
        self._settle(archive)
        self.server.counts(reset=True)

        def note(
            step: Step,
            seconds: float,
            shown: Shown | None = None,
            cpu: float = 0.0,
            pause: float = 0.0,
            fault: str = "",
        ) -> None:
            counts = self.server.counts(reset=True)
            requests = counts["requests"] + counts["questions"]
            rss = shown.peak_rss() if shown else 0
            names = (part, scenario.name, str(network) if part == "remote" else "", step.name, tool.name)
            self.record(Sample(*names, seconds, requests, counts["bytes"], rss, cpu, pause, fault))

        try:
            self._steps(scene, scenario, tool, note, local=part == "local")
        except (ToolFailed, subprocess.CalledProcessError) as exc:
            note(scenario.steps[0], 0.0, fault=str(exc))
        finally:
            _empty(scratch)
            shutil.rmtree(self.out, ignore_errors=True)

    @property
    def out(self) -> Path:
        """Where copies go: memory, where there is some. ext4 passes over every inode deleted in the last minute: 10,000
        files made after as many were deleted took 0.4 to 5 s, whoever made them."""
        memory = Path("/dev/shm")
        return (memory if os.access(memory, os.W_OK) else self.work) / "mountfs-bench-out"

    def _steps(self, scene: Scene, scenario: Scenario, tool: Tool, note: Callable[..., None], *, local: bool) -> None:
        with ExitStack() as stack:
            shown = stack.enter_context(tool.show(scene))
            for number, step in enumerate(scenario.steps):
                if tool.only_unzip and step.unzip is None:
                    return
                if step.restart:
                    if tool.name != OURS:
                        return
                    stack.close()
                    shown = stack.enter_context(mountfs_at(scene, scene.scratch / "cache"))
                    self.server.counts(reset=True)
                before = shown.cpu() if number else 0.0
                seconds, pause, fault = self._step(scene, shown, step, tool)
                if number == 0:
                    seconds += shown.start if local else shown.counted_start
                note(step, seconds, shown, shown.cpu() - before, pause, fault)
                if fault.startswith(">"):
                    return

    def _step(self, scene: Scene, shown: Shown, step: Step, tool: Tool) -> tuple[float, float, str]:
        """Seconds, pause in ms, and what went wrong."""
        out = self.out
        _empty(out)
        paths = scene.archive.paths
        words = {
            "root": str(shown.root),
            "out": str(out),
            "list": str(scene.archive.path.with_suffix(".list")),
            "zip": str(shown.archive_file),
            "a": paths[0],
            "m": paths[min(len(paths) - 1, len(paths) // 2 + 1)],
        }
        if step.forget:
            _forget(step.forget.format(**words))
        template = step.unzip if tool.only_unzip and step.unzip else step.command
        command = scene.pinned([word.format(**words) for word in template])
        with ExitStack() as stack:
            pauses = stack.enter_context(_pulse(shown.root)) if self.pulse and step.pulse and tool.name == OURS else []
            seconds, fault = self._time(command, own_clock=template[:2] == CLIENT)
        if step.checked and not fault:
            facts = json.loads(_output([*CLIENT, "copied", str(out)]))
            if facts != {"files": scene.archive.files, "bytes": scene.archive.bytes}:
                fault = f"the copy is wrong: {facts}"
        return seconds, max(pauses, default=0.0), fault

    def _time(self, command: list[str], *, own_clock: bool) -> tuple[float, str]:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if own_clock else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": search_path()},
        )
        try:
            said, complaint = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            process.kill()
            return self.limit, f"> {self.limit:.0f} s"
        seconds = time.perf_counter() - began
        if process.returncode and not (command[0] == "grep" and process.returncode == 1):
            return seconds, complaint.decode(errors="replace").strip()[-200:] or f"exit status {process.returncode}"
        return (float(json.loads(said)["seconds"]) if own_clock else seconds), ""

    def _settle(self, archive: Archive) -> None:
        os.sync()
        if self.drop and os.geteuid() == 0:
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as knob:
                knob.write("3")
        read_all(archive.path)


@contextmanager
def _pulse(root: Path) -> Iterator[list[float]]:
    """Asks the mount for statfs, which no cache answers, every 5 ms; gives the worst answer in ms at the end."""
    pauses: list[float] = []
    process = subprocess.Popen(
        [*CLIENT, "pulse", str(root.parent.parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield pauses
    finally:
        said, _ = process.communicate("")
        pauses.append(float(json.loads(said)["worst_ms"]))


def _forget(path: str) -> None:
    """Drops a file's pages from the kernel."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write(sample: Sample, path: Path) -> None:
    """Appends a sample to a file of JSON lines, so that a run cut short keeps what it has."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(sample)) + "\n")


def load(path: Path) -> list[Sample]:
    """The samples of such a file."""
    if not path.exists():
        return []
    return [Sample(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
