"""Another process on the same cache: ``worker.py JOB DIRECTORY ARGUMENTS…``. It says on stdout what it has done."""

from __future__ import annotations

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from store.tools import MIB, address, pattern

from mountfs.errors import CacheFull
from mountfs.model import Span
from mountfs.store import Snapshot, Store


def say(*words: object) -> None:
    """One line, at once."""
    print(*words, flush=True)


def hold(store: Store, session: str) -> None:
    """Keep a snapshot open, with a claim on its first MiB, until stdin closes."""
    with store.snapshot(address(session), "v1") as snapshot:
        claim = snapshot.claim(Span(0, MIB))
        say("holding" if claim else "refused")
        sys.stdin.read()


def write(store: Store, session: str, start: str, stop: str) -> None:
    """Write part of a session's archive, then keep it open until stdin closes."""
    with store.snapshot(address(session), "v1") as snapshot:
        snapshot.write(int(start), pattern(1, int(start), int(stop)))
        say("written")
        sys.stdin.read()


def download(store: Store, count: str, size: str) -> None:
    """Have every one of ``count`` archives, fetching what nobody else is fetching."""
    numbers = list(range(int(count)))
    random.shuffle(numbers)
    say("ready")
    sys.stdin.readline()
    while numbers:
        number = numbers.pop(0)
        with store.snapshot(address(f"s{number}"), "v1") as snapshot:
            if not obtain(snapshot, number, int(size)):
                numbers.append(number)
    say("done")


def obtain(snapshot: Snapshot, seed: int, size: int) -> bool:
    """Fetch an archive whole unless it is here, or somebody else is at it; whether it is here now."""
    claim = snapshot.claim(Span(0, 1 << 62))
    if claim is None:
        snapshot.refresh()
        return snapshot.complete
    with claim:
        if not snapshot.complete:
            say("fetch", seed)
            for start in range(0, size, 50_000):
                snapshot.write(start, pattern(seed, start, min(start + 50_000, size)))
            snapshot.set_length(size)
    return True


def churn(store: Store, seed: str) -> None:
    """Do a bit of everything for ever, and say after every step that it was done; somebody will kill us."""
    choice = random.Random(int(seed))
    while True:
        number = choice.randrange(40)
        where = address(f"s{number}")
        try:
            with store.snapshot(where, "v1") as snapshot:
                size = 50_000 + number * 20_011
                start = choice.randrange(size)
                stop = min(size, start + choice.randrange(1, 300_000))
                snapshot.write(start, pattern(number, start, stop))
                right = snapshot.read(start, stop - start) == pattern(number, start, stop)
                say("wrote" if right else "WRONG")
                if choice.random() < 0.3:
                    snapshot.set_length(size)
                if choice.random() < 0.3:
                    index = choice.randrange(3)
                    with snapshot.new_spool(index) as spool:
                        for part in range(4):
                            spool.write(pattern(1000 + index, part * 30_000, part * 30_000 + 30_000))
                            say("spooled")
                        spool.finish().close()
                for index in range(3):
                    member = snapshot.member(index)
                    if member is not None:
                        with member:
                            right = member.read(0, member.size) == pattern(1000 + index, 0, 120_000)
                            say("read" if right else "WRONG")
                if choice.random() < 0.1:
                    snapshot.mark_synced()
                if choice.random() < 0.1:
                    store.drop(snapshot)
            store.session(where).save({"number": number}, snapshot="v1")
            say("saved")
        except CacheFull:
            say("full")
        store.maintain()


JOBS = {job.__name__: job for job in (hold, write, download, churn)}


def main(job: str, directory: str, max_size: str, *arguments: str) -> None:
    """Open the store and do one job."""
    with Store(directory, max_size=int(max_size), min_free=0) as store:
        JOBS[job](store, *arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
