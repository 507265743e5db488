"""Opening and closing from many threads at once."""

from __future__ import annotations

import random
import threading

from store.tools import MIB, MakeStore, address, pattern

from mountfs.store import Store


def _run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_that_open_and_close_share_and_lose_nothing(make_store: MakeStore) -> None:
    """Under eviction all the time, what a thread has open stays, and every opening is closed in the end."""
    store = make_store(max_size=5 * MIB // 2)
    wrong: list[str] = []

    def work(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(60):
            number = choice.randrange(6)
            with store.snapshot(address(f"s{number}"), "v1") as snapshot:
                start = choice.randrange(400_000)
                data = pattern(number, start, start + 100_000)
                try:
                    snapshot.write(start, data)
                except OSError as error:
                    wrong.append(repr(error))
                if snapshot.read(start, 100_000) != data:
                    wrong.append(f"s{number} at {start}")
            if not seed:
                store.maintain()

    _run([threading.Thread(target=work, args=(seed,)) for seed in range(4)])
    assert wrong == []
    assert store._table._open == {}


def test_threads_that_open_one_snapshot_get_one(store: Store) -> None:
    """However many ask at once, it is made once, and each has its own opening."""
    got = []
    _run([threading.Thread(target=lambda: got.append(store.snapshot(address(), "v1"))) for _ in range(8)])
    assert len({id(snapshot) for snapshot in got}) == 1
    for snapshot in got:
        assert snapshot.attached()
        snapshot.close()
    assert store._table._open == {}
