"""The soak: many workers at a real mount, services that fail, sessions that change, and a model that knows every byte.

    python -m tests.soak --minutes 10 --workers 64

Concurrency: workers are threads (each system call on the mount leaves the interpreter's lock); the services answer from
threads of their own; the daemon is another process.
"""

from __future__ import annotations

import collections
import errno
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from drives import World
from mounts import Daemon
from soak.causes import Causes, Failure
from soak.model import Known, Model

from mountfs.demo import steps
from mountfs.demo.server import Fakes
from mountfs.demo.wire import Ask, Cut, Reply, Step

LATENCY = 0.005
MUTATE_EVERY = 0.5
SAMPLE_EVERY = 2.0
FLAT = 1.10
"""What the last quarter may have more than the second: about what the quarters of a run that is flat differ by."""
KEPT_LOG = Path(tempfile.gettempdir()) / "mountfs-soak.log"


class Sometimes(Step):
    """A fault now and then. ``rate``: of requests. ``flips``: whether bytes may be wrong (in absolute ranges alone: a
    broken directory of a terminal session is believed for ever)."""

    def __init__(self, rate: float, seed: int, causes: Causes, *, flips: bool = False) -> None:
        self._rate = rate
        self._causes = causes
        self._rng = random.Random(seed)
        self._flips = flips
        self.made = 0

    def _now(self) -> bool:
        hit = self._rng.random() < self._rate / 2
        self.made += hit
        return hit

    def instead(self, ask: Ask) -> Reply | None:
        if not self._now():
            return None
        choice = self._rng.randrange(5)
        if choice == 0:
            self._causes.injected(ask, "reset")
            raise Cut(reset=True)
        answer = (steps.Answer(500), steps.Answer(502, "<html>"), steps.Answer(503), _throttled())[choice - 1]
        self._causes.injected(ask, f"status {answer.status}")
        return answer.instead(ask)

    def reply(self, ask: Ask, reply: Reply) -> Reply:
        if not self._now():
            return reply
        wanted = ask.headers.get("range", "")
        flip = self._flips and wanted and not wanted.startswith("bytes=-") and self._rng.random() < 0.2
        choices: tuple[tuple[str, Step], ...] = (
            ("late", steps.Delay(0.3)),
            ("cut", steps.Reset(self._rng.randrange(100_000))),
            ("short", steps.Truncate(self._rng.randrange(100_000))),
            ("wrong range", steps.wrong_range()),
            ("stall", steps.Stall(self._rng.randrange(100_000))),
        )
        flipped = ("flipped byte", steps.FlipByte(self._rng.randrange(10_000)))
        kind, step = flipped if flip else self._rng.choice(choices)
        self._causes.injected(ask, kind)
        return step.reply(ask, reply)


def _throttled() -> steps.Answer:
    return steps.Answer(429, headers={"retry-after-ms": "50"})


@dataclass
class Result:
    """What came of it. ``errors``: by errno and cause; ``wrong``: descriptions of wrong bytes or names;
    ``unexplained``: errors without a cause, or without a line in the log."""

    operations: int = 0
    errors: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    unexplained: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    """(seconds since the start, resident bytes, open files) of the daemon."""
    faults: int = 0
    requests: int = 0
    wrong_at: str = ""
    """Where the daemon's log is kept, if anything needs an explanation."""

    def lines(self) -> list[str]:
        """As a report."""
        every = sorted(second for row in self.seconds.values() for second in row)
        told = [
            f"operations {self.operations:,}, requests {self.requests:,}, faults {self.faults:,}",
            f"errors {self.errors.total()}, unexplained {len(self.unexplained)}, wrong {len(self.wrong)}",
        ]
        told += [f"{word:10} {count:4}  {cause}" for (word, cause), count in self.errors.most_common()]
        for name, row in [("all", every), *sorted(self.seconds.items())]:
            told.append(
                f"{name:8} p50 {_at(row, 0.5):8.1f} ms  p99 {_at(row, 0.99):8.1f} ms  max {_at(row, 1):8.1f} ms"
            )
        step = max(1, len(self.samples) // 12)
        told += [f"at {at:5.0f} s: RSS {rss >> 20} MiB, {files} open files" for at, rss, files in self.samples[::step]]
        memory, files = self.growth()
        verdict = "flat" if self.flat() else "NOT FLAT"
        told.append(f"last quarter over the second: RSS {memory:.2f}, open files {files:.2f}: {verdict}")
        return [*told, *self.unexplained[:10], *self.wrong[:10], self.wrong_at]

    def growth(self) -> tuple[float, float]:
        """Resident memory and open files of the last quarter over those of the second: whether they go on growing."""
        quarter = max(1, len(self.samples) // 4)
        late, early = self.samples[-quarter:], self.samples[quarter : 2 * quarter] or self.samples
        memory = statistics.mean(row[1] for row in late) / statistics.mean(row[1] for row in early)
        return memory, statistics.mean(row[2] for row in late) / statistics.mean(row[2] for row in early)

    def flat(self) -> bool:
        return max(self.growth()) <= FLAT


def _at(row: list[float], part: float) -> float:
    ordered = sorted(row)
    return 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class Worker:
    """One thread that does one thing after the other. ``read``: bytes a pread."""

    def __init__(
        self, place: Path, model: Model, result: Result, causes: Causes, lock: threading.Lock, seed: int
    ) -> None:
        self._place = place
        self._causes = causes
        self._model = model
        self._result = result
        self._lock = lock
        self._rng = random.Random(seed)
        self._asked = place
        self._table: list[tuple[int, str, Callable[[Known], None]]] = [
            (4, "list", self._list),
            (12, "walk", self._walk),
            (15, "stat", self._stat),
            (30, "read", self._read),
            (25, "pread", self._pread),
            (8, "part", self._part),
            (6, "nothing", self._nothing),
        ]

    def run(self, until: float) -> None:
        weights = [weight for weight, _, _ in self._table]
        while time.monotonic() < until:
            _, name, operation = self._rng.choices(self._table, weights)[0]
            known = self._rng.choice(self._model.sessions)
            began, since = time.monotonic(), time.time()
            problem: OSError | None = None
            try:
                operation(known)
            except OSError as exc:
                problem = exc
            except AssertionError as exc:
                with self._lock:
                    self._result.wrong.append(f"{name} {known.provider}/{known.id}: {exc}")
            with self._lock:
                self._result.operations += 1
                self._result.seconds[name].append(time.monotonic() - began)
            if problem is not None:
                path = os.path.relpath(problem.filename or self._asked, self._home(known))
                path = "" if path == "." else path
                self._causes.met(Failure(name, known, path, problem.errno or 0, since, time.time()))

    def _home(self, known: Known) -> Path:
        return self._place / known.provider / known.id

    def _file(self, known: Known) -> str:
        path = self._rng.choice(known.files())
        self._asked = self._home(known) / path  # a read that fails names no file
        return path

    def _forget(self, descriptor: int) -> None:
        """Now and then the kernel is to ask for the pages again."""
        if self._rng.random() < 0.3:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    # -- operations ----------------------------------------------------------------------------------------------

    def _list(self, known: Known) -> None:
        names = set(os.listdir(self._place / known.provider))
        every = {each.id for each in self._model.sessions if each.provider == known.provider}
        assert names <= every, f"names nobody knows: {sorted(names - every)[:3]}"
        assert len(names) == len(every), f"{len(every - names)} sessions are missing"

    def _walk(self, known: Known) -> None:
        home = self._home(known)
        before = len(known.versions)
        found: set[str] = set()
        for directory, _, files in os.walk(home, onerror=_raise):
            found |= {os.path.relpath(os.path.join(directory, name), home) for name in files}
        wanted = [set(version) for version in known.versions[:]]
        if known.live:  # its directories may have been read before and after a change
            assert found <= set().union(*wanted), f"files nobody knows: {sorted(found - set().union(*wanted))[:3]}"
        else:
            assert found == wanted[0], f"{len(found)} files instead of {len(wanted[0])} ({before})"

    def _stat(self, known: Known) -> None:
        path = self._file(known)
        size = os.stat(self._home(known) / path).st_size
        assert known.candidates(path, size), f"{path}: {size} bytes, which it never had"

    def _read(self, known: Known) -> None:
        path = self._file(known)
        with open(self._home(known) / path, "rb", buffering=0) as file:
            self._forget(file.fileno())
            size = os.fstat(file.fileno()).st_size
            parts = []
            at = 0
            while data := os.pread(file.fileno(), 1 << 17, at):
                parts.append(data)
                at += len(data)
        self._check(known, path, size, [(0, b"".join(parts))], whole=True)

    def _pread(self, known: Known) -> None:
        path = self._file(known)
        with open(self._home(known) / path, "rb", buffering=0) as file:
            self._forget(file.fileno())
            size = os.fstat(file.fileno()).st_size
            parts = []
            for _ in range(self._rng.randint(1, 6)):
                at = self._rng.randrange(size)
                wanted = min(self._rng.randint(1, 40_000), size - at)
                data = os.pread(file.fileno(), wanted, at)
                assert len(data) == wanted, f"{path}: {len(data)} bytes of {wanted} at {at} of {size}"
                parts.append((at, data))
        self._check(known, path, size, parts)

    def _part(self, known: Known) -> None:
        path = self._file(known)
        with open(self._home(known) / path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            data = os.pread(file.fileno(), 4096, 0)
        self._check(known, path, size, [(0, data)])

    def _nothing(self, known: Known) -> None:
        missing = self._home(known) / f"nothing-{self._rng.randrange(1000)}"
        try:
            os.stat(missing)
        except FileNotFoundError:
            return
        raise AssertionError("a file that never was")

    def _check(
        self, known: Known, path: str, size: int, parts: list[tuple[int, bytes]], *, whole: bool = False
    ) -> None:
        """All that was read through one handle is of one version."""
        for file in known.candidates(path, size):
            right = file.data(known.id)
            if all(right[at : at + len(data)] == data for at, data in parts) and (
                not whole or len(parts[0][1]) == size
            ):
                return
        raise AssertionError(f"{path}: bytes it never had ({size} long, {[(at, len(data)) for at, data in parts]})")


def _raise(error: OSError) -> None:
    raise error


def watch(daemon: Daemon, result: Result, began: float, stop: threading.Event) -> None:
    """The daemon's memory and open files, now and then."""
    while not stop.wait(SAMPLE_EVERY if result.samples else 0.1):
        try:
            with open(f"/proc/{daemon.pid}/statm", encoding="ascii") as file:
                resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            files = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        except OSError:
            return
        result.samples.append((time.monotonic() - began, resident, files))


def mutate(model: Model, stop: threading.Event) -> None:
    while not stop.wait(MUTATE_EVERY):
        model.change()


def run(seconds: float, *, workers: int = 64, sessions: int = 200, rate: float = 0.05, seed: int = 1) -> Result:
    """Soaks for so long; the daemon must end well."""
    result = Result()
    with tempfile.TemporaryDirectory(prefix="mountfs-soak-") as directory, Fakes() as fakes:
        place = Path(directory)
        model = Model(fakes, sessions, random.Random(seed))
        configure(World(fakes, place), model)
        fakes.browserbase.ranges, fakes.browserbase.etags = True, "strong"
        causes = Causes()
        faults = [Sometimes(rate, seed + at, causes, flips=fake is fakes.store) for at, fake in enumerate(fakes.all)]
        for fake, fault in zip(fakes.all, faults, strict=True):
            fake.latency = LATENCY
            fake.inject(fault, times=None)
        with Daemon(place / "config.toml", place / "drive", "--log-format", "json") as daemon:
            soak(daemon, model, result, causes, seconds, workers, seed)
            for fake in fakes.all:
                fake.script.clear()
            for failure, cause, objection in causes.judged(daemon.logged()):
                result.errors[errno.errorcode.get(failure.number, "?"), cause or "unexplained"] += 1
                if objection:
                    result.unexplained.append(f"{failure}: {objection}")
            if result.unexplained or result.wrong:
                KEPT_LOG.write_text(daemon.logged())
                result.wrong_at = str(KEPT_LOG)
            if daemon.logged().count("Traceback"):
                result.unexplained.append("a traceback in the daemon's log: " + _traceback(daemon.logged()))
        result.faults = sum(fault.made for fault in faults)
        result.requests = sum(len(fake.requests) for fake in fakes.all)
    return result


def configure(world: World, model: Model) -> None:
    pinned = [each.id for each in model.sessions if each.provider == "kaizen"]
    world.set("providers.kaizen", sessions=pinned)
    world.set("cache", dir=str(world.cache), max_size="40MiB", min_free="0", memory="16MiB")
    world.set("freshness", live="2s", listing="2s", failing="0.2s", empty="1s", pending="1s", absent="1s")
    world.set("network", retries=2, deadline="10s", read_timeout="2s", lookup_timeout="3s")
    world.config()


def soak(daemon: Daemon, model: Model, result: Result, causes: Causes, seconds: float, workers: int, seed: int) -> None:
    stop, lock, began = threading.Event(), threading.Lock(), time.monotonic()
    made = [Worker(daemon.place, model, result, causes, lock, seed * 1000 + number) for number in range(workers)]
    threads = [threading.Thread(target=each.run, args=(began + seconds,)) for each in made]
    helpers = [
        threading.Thread(target=watch, args=(daemon, result, began, stop)),
        threading.Thread(target=mutate, args=(model, stop)),
    ]
    for thread in [*threads, *helpers]:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    for thread in helpers:
        thread.join()


def _traceback(log: str) -> str:
    at = log.index("Traceback")
    return log[max(0, at - 300) : at + 3000]
