"""Two processes on one directory."""

from __future__ import annotations

import signal
from pathlib import Path

from store.tools import MIB, MakeStore, StartWorker, address, disk_use, pattern

from mountfs.model import Span
from mountfs.store import Store


def test_claims_exclude_each_other_and_end_with_their_process(
    tmp_path: Path, worker: StartWorker, make_store: MakeStore
) -> None:
    """What another process claims is refused, what it does not is granted, and its death frees it."""
    other = worker("hold", tmp_path / "cache", 64 * MIB, "s")
    assert other.stdout is not None
    assert other.stdout.readline() == "holding\n"
    with make_store(boot=None).snapshot(address("s"), "v1") as snapshot:
        assert snapshot.claim(Span(MIB - 1, MIB + 1)) is None
        beside = snapshot.claim(Span(MIB, 2 * MIB))
        assert beside is not None
        other.send_signal(signal.SIGKILL)
        other.wait()
        with beside:
            claim = snapshot.claim(Span(0, MIB))
            assert claim is not None
            claim.release()
            claim.release()


def test_claims_within_one_process_exclude_each_other_too(store: Store) -> None:
    """Two tasks of one process never fetch the same bytes; neighbours may."""
    with store.snapshot(address(), "v1") as snapshot:
        first = snapshot.claim(Span(0, 4096))
        assert first is not None
        assert snapshot.claim(Span(0, 4096)) is None
        assert snapshot.claim(Span(4095, 9000)) is None
        assert snapshot.claim(Span(0, 1 << 62)) is None
        second = snapshot.claim(Span(4096, 9000))
        assert second is not None
        first.release()
        with second:
            again = snapshot.claim(Span(0, 4096))
            assert again is not None
            again.release()
        whole = snapshot.claim(Span(0, 1 << 62))
        assert whole is not None
        whole.release()


def test_what_another_process_wrote_is_seen(tmp_path: Path, worker: StartWorker, make_store: MakeStore) -> None:
    """Its whole blocks appear with refresh, and with a claim."""
    with make_store(boot=None).snapshot(address("s"), "v1") as snapshot:
        other = worker("write", tmp_path / "cache", 64 * MIB, "s", 0, MIB)
        assert other.stdout is not None
        assert other.stdout.readline() == "written\n"
        snapshot.refresh()
        assert snapshot.read(0, MIB) == pattern(1, 0, MIB)


def test_what_another_process_has_open_is_not_evicted(
    tmp_path: Path, worker: StartWorker, make_store: MakeStore
) -> None:
    """In use is known across processes, and so is the end of use by a kill."""
    other = worker("write", tmp_path / "cache", 64 * MIB, "s", 0, MIB)
    assert other.stdout is not None
    assert other.stdout.readline() == "written\n"
    store = make_store(boot=None)
    store.clear()
    with store.snapshot(address("s"), "v1") as snapshot:
        assert snapshot.has(Span(0, MIB))
    other.kill()
    other.wait()
    store.clear()
    assert store.find(address("s"), "v1") is None


def test_two_processes_fetch_each_archive_once(tmp_path: Path, worker: StartWorker, make_store: MakeStore) -> None:
    """Fifty sessions wanted by two at the same time: fifty fetches, and every byte right for both."""
    workers = [worker("download", tmp_path / "cache", 64 * MIB, 50, 300_000) for _ in range(2)]
    for process in workers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in workers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].splitlines() for process in workers]
    assert all(lines[-1] == "done" for lines in said)
    fetched = [line for lines in said for line in lines if line.startswith("fetch")]
    assert len(fetched) == len(set(fetched)) == 50
    store = make_store(boot=None)
    for number in range(50):
        with store.snapshot(address(f"s{number}"), "v1") as snapshot:
            assert snapshot.complete
            assert snapshot.read(0, 300_000) == pattern(number, 0, 300_000)


def test_two_processes_hold_one_bound(tmp_path: Path, worker: StartWorker, make_store: MakeStore) -> None:
    """Both write and evict at once; what they leave is within the bound, and right."""
    workers = [worker("churn", tmp_path / "cache", 4 * MIB, seed) for seed in (1, 2)]
    for _ in range(200):
        for process in workers:
            assert process.stdout is not None
            assert process.stdout.readline().strip() not in ("", "WRONG")
        assert disk_use(tmp_path / "cache") <= 4 * MIB + MIB
    for process in workers:
        process.kill()
        process.wait()
    store = make_store(max_size=4 * MIB, boot=None)
    store.maintain()
    assert disk_use(tmp_path / "cache") <= 4 * MIB
