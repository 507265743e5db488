"""What one provider's black hole costs the others: p50, p99 and max of ls, stat and cat, with and without, in one run.

    python tests/bench/isolation.py [--blocked 300] [--sessions 150] [--user]

*Blocked*: so many processes wait in opendir for a provider that takes connections and never answers. *Hung*: of 20
readers at least 6 hang inside read. ``--user``: mounted by an ordinary user, whose max_background stays at 12.
Cached is what was read before, by its pages dropped from the kernel's cache; uncached is a session never entered.

Concurrency: blocking; the blocked processes sleep, so they cost memory alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from drives import World, zip_of
from faults.stuck import in_read
from mounts import NOBODY, Daemon, as_user, until

from mountfs.demo import steps
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.server import Fakes

FILES = {f"d/f{number}.txt": b"line of text\n" * 400 for number in range(10)}
NOISE = os.urandom(2 << 20)
ROUNDS = 40


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def cat(path: Path, *, drop: bool = False) -> None:
    with path.open("rb", buffering=0) as file:
        if drop:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert file.read() == FILES["d/f0.txt"]


def measure(place: Path, fresh: Iterator[int]) -> dict[str, list[float]]:
    """Milliseconds of each operation on Kaizen's sessions: session 0 is cached, ``fresh`` ones are new."""
    rows: dict[str, list[float]] = {name: [] for name in ("ls", "stat", "cat", "ls new", "stat new", "cat new")}
    old = place / "kaizen" / "s_0" / "d"
    for _ in range(ROUNDS):
        rows["ls"].append(timed(lambda: os.listdir(old)))
        rows["stat"].append(timed(lambda: os.stat(old / "f1.txt")))
        rows["cat"].append(timed(lambda: cat(old / "f0.txt", drop=True)))
        new = place / "kaizen" / f"s_{next(fresh)}" / "d"
        rows["ls new"].append(timed(lambda at=new: os.listdir(at)))  # type: ignore[misc]
        rows["stat new"].append(timed(lambda at=new: os.stat(at / "f1.txt")))  # type: ignore[misc]
        rows["cat new"].append(timed(lambda at=new: cat(at / "f0.txt")))  # type: ignore[misc]
    return {name: sorted(1000 * second for second in row) for name, row in rows.items()}


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


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """As Markdown: p50 / p99 / max in ms."""
    lines = ["| ms: p50 / p99 / max | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    for name in next(iter(results.values())):
        cells = []
        for rows in results.values():
            row = rows[name]
            cells.append(f"{row[len(row) // 2]:.2f} / {row[int(len(row) * 0.99)]:.2f} / {row[-1]:.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocked", type=int, default=300)
    parser.add_argument("--hung", type=int, default=20)
    parser.add_argument("--user", action="store_true", help="mount as an ordinary user")
    args = parser.parse_args()
    user = NOBODY if args.user else None
    results: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="mountfs-isolation-") as directory, Fakes() as fakes:
        place = Path(directory)
        world = World(fakes, place)
        fresh = iter(range(1, 10_000))
        with Proxy(fakes.dari.url) as hole:
            configure(world, hole, args.blocked)
            if user is not None:
                give(place, user)
            with Daemon(place / "config.toml", place / "drive", user=user) as daemon:
                drive = daemon.place
                if user is not None:
                    os.seteuid(user)
                measure(drive, fresh)
                results["alone"] = measure(drive, fresh)
                hole.mode = Mode.BLACK_HOLE
                commands = [["ls", str(drive / "dari" / f"s_{number}")] for number in range(args.blocked)]
                os.seteuid(0)
                with waiting(commands, user):
                    until(lambda: hole.connections > 0)
                    time.sleep(2)  # until the machine is done with starting so many
                    os.seteuid(user or 0)
                    results[f"{args.blocked} blocked"] = measure(drive, fresh)
                    os.seteuid(0)
                big = drive / "browserbase" / BIG
                subprocess.run([*as_user(user), "ls", str(big)], check=True, stdout=subprocess.DEVNULL)
                fakes.browserbase.inject(steps.Stall(300_000), times=None)
                with waiting([["cat", str(big / f"big{number}.bin")] for number in range(args.hung)], user) as hung:
                    until(lambda: sum(in_read(process.pid) for process in hung) >= 6)
                    time.sleep(1)
                    os.seteuid(user or 0)
                    results[f"{args.hung} hung in read"] = measure(drive, fresh)
                    os.seteuid(0)
                hole.mode = Mode.SERVE
    print(table(results))
    return 0


BIG = "0f2c1d3e-7a41-4c55-9d0b-51c7a1e00001"


def configure(world: World, hole: Proxy, blocked: int) -> None:
    fakes = world.fakes
    archive = zip_of(FILES)
    for number in range(200):
        fakes.kaizen.add(f"s_{number}", archive)
    fakes.browserbase.ranges, fakes.browserbase.etags = True, "strong"
    fakes.browserbase.add(BIG, zip_of({f"big{number}.bin": NOISE for number in range(20)}, stored=True))
    world.set("providers.dari", base_url=hole.url, sessions=[f"s_{number}" for number in range(blocked)])
    world.set("providers.kaizen", sessions=[f"s_{number}" for number in range(200)])
    world.set("network", deadline="120s", read_timeout="60s")
    world.config()


def give(place: Path, user: int) -> None:
    place.chmod(0o755)
    for path in (place, *place.rglob("*")):
        os.lchown(path, user, user)


if __name__ == "__main__":
    sys.exit(main())
