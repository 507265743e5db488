"""What a restart costs: ``python -m tests.bench.restarts [SESSIONS]`` prints Markdown (issue 4).

A cache of SESSIONS (10,000) sessions is made by cloning one that mountfs itself fetched; then a daemon is started on
it, as systemd would, RUNS times: seconds until the mount is ready, until the provider is listed, until the first byte
of a
cached member is read. Last, everything is evicted.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from drives import Drive, World, zip_of
from mounts import Daemon

from mountfs.demo.server import Fakes
from mountfs.store import Address, Store

RUNS = 5
FILES = {"a.txt": b"alpha" * 1000, "logs/b.log": b"beta\n" * 2000}
Row = tuple[str, list[float]]


def fill(world: World, sessions: int) -> None:
    """One session fetched, the others cloned from it in the store."""
    world.fakes.dari.add("s_0", zip_of(FILES))

    async def fetch(drive: Drive) -> Address:
        await drive.tree("dari/s_0")
        return drive.fs.providers[1].seen()[0].address

    address = world.run(fetch)
    with Store(str(world.cache), max_size=100 << 30, min_free=0) as store:
        facts = store.session(address).load()
        assert facts is not None
        name = facts["snapshot"]
        model = store.find(address, name)
        assert model is not None
        assert model.length is not None
        data, about = model.read(0, model.length), model.facts
        model.close()
        for number in range(1, sessions):
            clone = Address(address.content_key, address.account, f"s_{number}")
            with store.snapshot(clone, name) as snapshot:
                snapshot.set_length(len(data))
                snapshot.write(0, data)
                snapshot.save_facts(about)
            store.session(clone).save(facts, snapshot=name)


def processor(pid: int) -> float:
    """Seconds of processor time a process has used: what a busy machine does not change much."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def start(world: World, sessions: int) -> tuple[float, float, float, float]:
    """Seconds from the start of the process until ready (and its processor time by then), the first byte, listed."""
    place = world.place / "drive"
    place.mkdir(exist_ok=True)
    began = time.perf_counter()
    with Daemon(world.place / "config.toml", place) as daemon:
        ready = time.perf_counter() - began
        work = processor(daemon.pid)
        with (place / "dari" / f"s_{sessions // 2}" / "a.txt").open("rb", buffering=0) as file:
            assert file.read(1) == b"a"
        first = time.perf_counter() - began
        assert len(list((place / "dari").iterdir())) == sessions
        listed = time.perf_counter() - began
    return ready, work, first, listed


def evict(world: World) -> float:
    """Seconds to evict everything."""
    with Store(str(world.cache), max_size=100 << 30, min_free=0) as store:
        began = time.perf_counter()
        store.clear()
        return time.perf_counter() - began


def measure(sessions: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="mountfs-bench-") as place, Fakes() as fakes:
        world = World(fakes, Path(place))
        world.set("providers.dari", list=False)
        world.set("cache", max_size="100GiB", min_free="0B")
        fill(world, sessions)
        runs = [start(world, sessions) for _ in range(RUNS)]
        names = ("ready", "(processor time by then)", "first byte of a cached member", "listed")
        rows = [(name, list(column)) for name, column in zip(names, zip(*runs, strict=True), strict=True)]
        return [*rows, ("evicting all of it", [evict(world)])]


def main() -> None:
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for count in sorted({1, sessions}):
        print(f"\n### A restart with {count:,} cached sessions\n\n| until | median | worst |\n|---|---|---|")
        for what, seconds in measure(count):
            print(f"| {what} | {statistics.median(seconds):.3f} s | {max(seconds):.3f} s |")


if __name__ == "__main__":
    main()
