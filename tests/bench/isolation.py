"""What one provider's black hole costs the others, and how soon a program stuck in it ends.

    python tests/bench/isolation.py [--user] [--blocked 300] [--samples 1000] [--turns 5]
    python tests/bench/isolation.py --signals [--each 20]
    python tests/bench/isolation.py --ends [--each 5]

*The others*: p50, p99 and max of ls, stat and cat, on one mount, in turns: alone, then with the hole, then alone ...;
so what else the machine does meets both alike. *Blocked*: so many processes wait in opendir for a provider that takes
connections and never answers. *Hung*: of 20 readers at least 6 hang inside read. ``--user``: mounted by an ordinary
user; where max_background stays at 12 (``-o noexpress``), a READ is given up after 10 s (design.md §2), so what others
wait in those first seconds is a row of its own. Cached is what was read before, its pages dropped from the kernel's
cache; new is a session never entered, another one for each sample.

*Signals*: from the signal to the end of a program stuck in lookup, opendir, open or read, which is seen to wait there.
``caught``: it handles SIGINT, as Python does, so the kernel does not end it before we answer.

*Ends*: from SIGTERM, or ``umount -l``, to the end of the daemon, with programs stuck in lookup, opendir and read, or
with 50 greps under way; and from ``mountfs mount`` to the first byte after a SIGKILL.

Concurrency: blocking; the blocked processes sleep, so they cost memory alone.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import json
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from drives import World, zip_of
from faults.stuck import in_open, in_read, in_stat
from mounts import NOBODY, Daemon, as_user, until

from mountfs.cli.table import mount_at
from mountfs.demo import steps
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.server import Fakes

FILES = {f"d/f{number}.txt": b"line of text\n" * 400 for number in range(10)}
NOISE = os.urandom(2 << 20)
BIG = "0f2c1d3e-7a41-4c55-9d0b-51c7a1e00001"
LONG = "0f2c1d3e-7a41-4c55-9d0b-51c7a1e00002"
HUNG = 20
FEWEST_HUNG = 6
STUCK = 10.0
"""Seconds after which the first hung READ is given up."""
Rows = dict[str, list[float]]


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def cat(path: Path, *, drop: bool = False) -> None:
    with path.open("rb", buffering=0) as file:
        if drop:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert file.read() == FILES["d/f0.txt"]


def measure(place: Path, fresh: Iterator[int], rounds: int, rows: Rows, every: int) -> None:
    """Adds milliseconds of each operation on Kaizen's sessions: session 0 is cached, ``fresh`` ones are new."""
    old = place / "kaizen" / "s_0" / "d"

    def new(work: Callable[[Path], object]) -> float:
        session = place / "kaizen" / f"s_{next(fresh)}" / "d"
        return milliseconds(lambda: work(session))

    for turn in range(rounds):
        rows["ls"].append(milliseconds(lambda: os.listdir(old)))
        rows["stat"].append(milliseconds(lambda: os.stat(old / "f1.txt")))
        rows["cat"].append(milliseconds(lambda: cat(old / "f0.txt", drop=True)))
        if turn % every:
            continue
        rows["ls new"].append(new(os.listdir))
        rows["stat new"].append(new(lambda at: os.stat(at / "f1.txt")))
        rows["cat new"].append(new(lambda at: cat(at / "f0.txt")))


@contextmanager
def waiting(commands: list[list[str]], user: int | None) -> Iterator[list[subprocess.Popen[bytes]]]:
    quiet = subprocess.DEVNULL
    running = [subprocess.Popen([*as_user(user), *words], stdout=quiet, stderr=quiet) for words in commands]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def table(results: dict[str, Rows]) -> str:
    """As Markdown: p50 / p99 / max in ms."""
    lines = ["| ms: p50 / p99 / max | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    for name in next(iter(results.values())):
        cells = []
        for rows in results.values():
            row = sorted(rows[name])
            cells.append(f"{row[len(row) // 2]:.2f} / {row[int(len(row) * 0.99)]:.2f} / {row[-1]:.2f} ({len(row)})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


class Stage:
    """A mount with a hole in it."""

    def __init__(self, stack: ExitStack, pinned: int, user: int | None, sessions: int = 40_000) -> None:
        self.user = user
        self.every = 1
        self.fakes = stack.enter_context(Fakes())
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mountfs-isolation-")))
        self.hole = stack.enter_context(Proxy(self.fakes.dari.url))
        world = World(self.fakes, place)
        configure(world, self.hole, pinned, sessions)
        if user is not None:
            give(place, user)
            stack.enter_context(open_device())
        self.daemon = stack.enter_context(Daemon(place / "config.toml", place / "drive", user=user))
        self.drive = self.daemon.place
        self.fresh = iter(range(1, sessions))
        self.unknown = iter(range(pinned))

    def sample(self, rounds: int, rows: Rows) -> None:
        """Measures in a child: as who mounted, since nobody else may look in, and without the fakes' threads."""
        fresh = iter(list(itertools.islice(self.fresh, 3 * -(-rounds // self.every))))
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                if self.user is not None:
                    os.setgroups([])
                    os.setresgid(self.user, self.user, self.user)
                    os.setresuid(self.user, self.user, self.user)
                taken: Rows = defaultdict(list)
                measure(self.drive, fresh, rounds, taken, self.every)
                with os.fdopen(writer, "w") as out:
                    json.dump(taken, out)
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        with os.fdopen(reader) as told:
            words = told.read()
        assert os.waitpid(child, 0)[1] == 0, "measuring failed"
        for name, row in json.loads(words).items():
            rows[name] += row

    @contextmanager
    def blocked(self, count: int) -> Iterator[None]:
        """So many processes are stuck in opendir of the black hole."""
        self.hole.mode = Mode.BLACK_HOLE
        # Others each time: between two turns the service answers, and that is believed for a while.
        commands = [["ls", str(self.drive / "dari" / f"s_{next(self.unknown)}")] for _ in range(count)]
        with waiting(commands, self.user) as running:
            until(lambda: sum(in_open(process.pid) for process in running) >= count, 120)
            yield
            assert sum(in_open(process.pid) for process in running) == count, "some were let go meanwhile"
        self.hole.mode = Mode.SERVE

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Readers hang inside read, of another service that falls silent in the middle of its bodies."""
        big = self.drive / "browserbase" / BIG
        subprocess.run([*as_user(self.user), "ls", str(big)], check=True, stdout=subprocess.DEVNULL)
        self.fakes.browserbase.inject(steps.Stall(300_000), times=None)
        with waiting([["cat", str(big / f"big{number}.bin")] for number in range(HUNG)], self.user) as running:
            until(lambda: sum(in_read(process.pid) for process in running) >= FEWEST_HUNG)
            yield
        self.fakes.browserbase.script.clear()


def configure(world: World, hole: Proxy, pinned: int, sessions: int) -> None:
    fakes = world.fakes
    archive = zip_of(FILES)
    for number in range(sessions):
        fakes.kaizen.add(f"s_{number}", archive)
    fakes.browserbase.ranges, fakes.browserbase.etags = True, "strong"
    fakes.browserbase.add(BIG, zip_of({f"big{number}.bin": NOISE for number in range(HUNG)}, stored=True))
    world.set("providers.dari", base_url=hole.url, sessions=[f"s_{number}" for number in range(pinned)])
    world.set("network", deadline="600s", read_timeout="600s", lookup_timeout="60s", connect_timeout="60s")
    world.config()


@contextmanager
def open_device() -> Iterator[None]:
    """udev gives /dev/fuse the mode 0666; where nobody did, it is so meanwhile."""
    before = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)
    try:
        yield
    finally:
        os.chmod("/dev/fuse", before)


def give(place: Path, user: int) -> None:
    place.chmod(0o755)
    for path in (place, *place.rglob("*")):
        os.lchown(path, user, user)


def others(blocked: int, samples: int, turns: int, every: int, user: int | None) -> None:
    """The table of the others' latencies."""
    results: dict[str, Rows] = defaultdict(lambda: defaultdict(list))
    rounds = -(-samples // turns)
    with ExitStack() as stack:
        stage = Stage(stack, blocked * turns, user)
        stage.every = every
        stage.sample(20, defaultdict(list))  # what is loaded and opened once
        for _ in range(turns):
            stage.sample(rounds, results["alone"])
            with stage.blocked(blocked):
                stage.sample(rounds, results[f"{blocked} blocked"])
        print(f"max_background {background_of(stage.drive)}, {blocked} blocked, by", "a user" if user else "root")
        for _ in range(turns):
            stage.sample(rounds, results["alone, again"])
            with stage.hung():
                if user is not None:
                    began = time.monotonic()
                    while time.monotonic() - began < STUCK + HUNG:
                        stage.sample(1, results["until hung READs were given up"])
                stage.sample(rounds, results[f"{HUNG} hung in read"])
    print(table(results))


def background_of(drive: Path) -> str:
    try:
        device = os.stat(drive).st_dev
        return Path(f"/sys/fs/fuse/connections/{os.minor(device)}/max_background").read_text().strip()
    except OSError:
        return "unknown (12 unless it was raised)"


CATCHES = """
import os, signal, sys
def end(*_): os._exit(7)
signal.signal(signal.SIGINT, end)
signal.siginterrupt(signal.SIGINT, True)
{"lookup": os.stat, "opendir": os.listdir, "open": open}[sys.argv[1]](sys.argv[2])
"""
"""A program that handles SIGINT: its handler runs when the call has returned, with EINTR from us."""


def signals(each: int) -> None:
    """The table of how soon stuck programs end."""
    lines = ["| stuck in | signal | median ms | max ms | n |", "|---|---|---|---|---|"]
    with ExitStack() as stack:
        stage = Stage(stack, 1000, None, sessions=2)
        stage.fakes.dari.ranges, stage.fakes.dari.etags, stage.fakes.dari.chunked = True, "strong", False
        stage.fakes.dari.add(
            "s_0", zip_of({f"f{n}.bin": NOISE[: 1 << 20] + b"%d" % n for n in range(500)}, stored=True)
        )
        dari = stage.drive / "dari"
        os.listdir(dari / "s_0")
        stage.hole.mode = Mode.BLACK_HOLE
        files, sessions, unlisted = iter(range(500)), iter(range(1, 1000)), itertools.count()
        where: dict[str, tuple[str, Callable[[], Path], Callable[[int], bool]]] = {
            "lookup": ("stat", lambda: dari / f"s_unlisted{next(unlisted)}", in_stat),
            "opendir": ("ls", lambda: dari / f"s_{next(sessions)}", in_open),
            "open": ("cat", lambda: dari / "s_0" / f"f{next(files)}.bin", in_open),
        }
        for name, (program, path, stuck) in where.items():
            for number in (signal.SIGINT, signal.SIGTERM):
                took = [ended([program, str(path())], number, stuck, -number) for _ in range(each)]
                lines.append(row(name, number.name, took))
            caught = [sys.executable, "-c", CATCHES, name]
            took = [ended([*caught, str(path())], signal.SIGINT, stuck, 7) for _ in range(each)]
            lines.append(row(name, "SIGINT, caught", took))
        stage.hole.mode = Mode.SERVE
        stage.fakes.browserbase.add(LONG, zip_of({"long.bin": NOISE * 2 * each}, stored=True))
        long = stage.drive / "browserbase" / LONG / "long.bin"
        assert long.stat().st_size == len(NOISE) * 2 * each
        stage.fakes.browserbase.inject(steps.Stall(300_000), times=None)
        starts = itertools.count(1, len(NOISE))  # one after the other, so each begins where nothing is yet
        for number in (signal.SIGINT, signal.SIGTERM):
            took = [ended(["tail", "-c", f"+{next(starts)}", str(long)], number, in_read, -number) for _ in range(each)]
            lines.append(row("read", number.name, took))
    print("\n".join(lines))


def ends(each: int) -> None:
    """The table of how soon the daemon goes, and comes again."""
    took: Rows = defaultdict(list)
    for _ in range(each):
        for way in ("SIGTERM, programs stuck", "umount -l and SIGTERM, programs stuck", "SIGTERM, 50 greps under way"):
            with ExitStack() as stack:
                stage = Stage(stack, 10, None, sessions=60)
                if "stuck" in way:
                    stack.enter_context(stage.hung())
                    stage.hole.mode = Mode.BLACK_HOLE
                    # One after the other: while a lookup is stuck, the kernel lets no other into that directory.
                    for program, name, stuck in (("ls", "s_0", in_open), ("stat", "s_unlisted", in_stat)):
                        (running,) = stack.enter_context(waiting([[program, str(stage.drive / "dari" / name)]], None))
                        until(partial(stuck, running.pid))
                else:
                    copies = [["grep", "-r", "nothing", str(stage.drive / "kaizen" / f"s_{n}")] for n in range(50)]
                    stack.enter_context(waiting(copies, None))
                    stage.fakes.kaizen.wait_requests(4, 30)
                if way.startswith("umount"):
                    unmount = partial(subprocess.run, ["umount", "-l", stage.drive], check=True)
                    took["umount -l itself"].append(milliseconds(unmount))
                stage.daemon.send(signal.SIGTERM)
                took[way].append(milliseconds(stage.daemon.wait))
                assert stage.daemon.process is not None
                assert stage.daemon.process.returncode == 0
                assert mount_at(str(stage.drive)) is None
                stage.hole.mode = Mode.SERVE
        with ExitStack() as stack:
            stage = Stage(stack, 1, None, sessions=2)
            file = stage.drive / "kaizen" / "s_0" / "d" / "f0.txt"
            cat(file)
            stage.daemon.send(signal.SIGKILL)
            stage.daemon.wait()
            try:
                os.listdir(stage.drive)
            except OSError as error:
                assert error.errno == errno.ENOTCONN  # noqa: PT017 - whatever else it is, it is no empty directory
            else:
                raise AssertionError("it lists")
            took["mount after SIGKILL, until ready"].append(milliseconds(stage.daemon.start))
            cat(file)
    print("| | median ms | max ms | n |\n|---|---|---|---|")
    for name, times in took.items():
        print(row(name, "", times).replace(" |  |", " |"))


def ended(words: list[str], number: signal.Signals, stuck: Callable[[int], bool], status: int) -> float:
    """Milliseconds from the signal to the end of a program that waits."""
    program = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: stuck(program.pid))
        time.sleep(0.1 + random.random() * 0.5)  # at any moment between two looks for a signal
        assert stuck(program.pid)
        program.send_signal(number)
        took = milliseconds(lambda: program.wait(30))
        assert program.returncode == status, f"{words} ended with {program.returncode}"
        return took
    finally:
        program.kill()
        program.wait()


def row(name: str, number: str, took: list[float]) -> str:
    took.sort()
    return f"| {name} | {number} | {took[len(took) // 2]:.0f} | {took[-1]:.0f} | {len(took)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocked", type=int, default=300)
    parser.add_argument("--samples", type=int, default=1000, help="of each operation in each state")
    parser.add_argument("--turns", type=int, default=5, help="between the two states")
    parser.add_argument(
        "--every", type=int, default=1, help="rounds for each that enters new sessions (they take long)"
    )
    parser.add_argument("--user", action="store_true", help="mount as an ordinary user")
    parser.add_argument("--signals", action="store_true", help="measure how soon a stuck program ends instead")
    parser.add_argument("--ends", action="store_true", help="measure how soon the daemon goes instead")
    parser.add_argument("--each", type=int, default=20, help="programs of each kind, with --signals or --ends")
    args = parser.parse_args()
    if args.signals:
        signals(args.each)
    elif args.ends:
        ends(args.each)
    else:
        others(args.blocked, args.samples, args.turns, args.every, NOBODY if args.user else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
