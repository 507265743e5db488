"""A snapshot's bytes: what was written is read, what was not is missing, and none of it is lost by a restart."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from mounts import until
from store.tools import MIB, MakeStore, address, disk_use, pattern

from mountfs.errors import CacheDamaged, CacheFull
from mountfs.model import Span
from mountfs.store import BLOCK, Store, disk


def test_written_bytes_are_read_back_and_the_rest_is_missing(store: Store) -> None:
    """Unaligned writes are readable at once; the gaps are whole blocks."""
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.write(100, pattern(1, 100, 10_100))
        assert snapshot.read(100, 10_000) == pattern(1, 100, 10_100)
        assert snapshot.has(Span(100, 10_100))
        assert snapshot.missing(Span(0, 20_000)) == [Span(0, BLOCK), Span(2 * BLOCK, 5 * BLOCK)]
        with pytest.raises(CacheDamaged, match="not in the cache"):
            snapshot.read(0, 200)
        assert snapshot.try_read(0, 200) is None


def test_whole_blocks_survive_a_restart_and_edges_do_not(make_store: MakeStore) -> None:
    """Only whole blocks are written to the map; the last one is whole when the length says so."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        snapshot.write(100, pattern(1, 100, 10_100))
        snapshot.set_length(10_100)
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.length == 10_100
        assert snapshot.missing(Span(0, 10_100)) == [Span(0, BLOCK)]
        assert snapshot.read(BLOCK, 10_100 - BLOCK) == pattern(1, BLOCK, 10_100)
        snapshot.write(0, pattern(1, 0, 100))
        snapshot.write(100, pattern(1, 100, BLOCK))
        assert snapshot.complete


@pytest.mark.parametrize("what", ["dropped", "in memory", "spool"])
def test_large_files_are_freed_beside_the_loop(store: Store, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Closing a deleted file frees its bytes, which takes long for many: not in the thread that closes it."""
    monkeypatch.setattr(disk, "LARGE", MIB // 2)
    closed: dict[int, str] = {}
    close = os.close

    def noted(fd: int) -> None:
        size = os.fstat(fd).st_size
        close(fd)
        closed[size] = threading.current_thread().name

    monkeypatch.setattr(os, "close", noted)
    with store.snapshot(address(), "v1") as snapshot:
        if what == "spool":
            spool = snapshot.new_spool(0)
            spool.write(pattern(1, 0, MIB))
            spool.discard()
        else:
            written = store.ephemeral(address(), "v2") if what == "in memory" else store.snapshot(address(), "v2")
            written.write(0, pattern(1, 0, MIB))
            store.drop(written)
            written.close()
    until(lambda: MIB in closed)
    assert closed[MIB] == "freeing"
    assert {name for size, name in closed.items() if size < MIB} == {threading.current_thread().name}


def test_complete_needs_the_length_and_every_byte(store: Store) -> None:
    """An archive of unknown length is never complete; an empty one is at once."""
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, b"x" * BLOCK)
        assert not snapshot.complete
        snapshot.set_length(BLOCK)
        assert snapshot.complete
        assert snapshot.present_bytes == BLOCK
    with store.snapshot(address(), "v2") as snapshot:
        snapshot.set_length(0)
        assert snapshot.complete


def test_a_length_that_changes_is_damage(store: Store) -> None:
    """The same length may be set twice; another one means the validator lied."""
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.set_length(10)
        snapshot.set_length(10)
        with pytest.raises(CacheDamaged, match="from 10 to 11"):
            snapshot.set_length(11)


def test_the_page_cache_answers_without_waiting(store: Store) -> None:
    """try_read serves what was just written, or leaves it to read where the file system knows no RWF_NOWAIT."""
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, pattern(1, 0, MIB))
        assert snapshot.try_read(4000, 200_000) in (pattern(1, 4000, 204_000), None)
        assert snapshot.read(4000, 200_000) == pattern(1, 4000, 204_000)


def test_forgotten_bytes_are_missing_over_a_restart(make_store: MakeStore) -> None:
    """After a CRC failure the blocks concerned are fetched again, by a later process too."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, bytes(4 * BLOCK))
        snapshot.forget(Span(BLOCK + 5, 2 * BLOCK + 1))
        assert snapshot.missing(Span(0, 4 * BLOCK)) == [Span(BLOCK, 3 * BLOCK)]
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.missing(Span(0, 4 * BLOCK)) == [Span(BLOCK, 3 * BLOCK)]


def test_facts_are_kept_with_the_snapshot(make_store: MakeStore) -> None:
    """Facts and length are changed independently, and both are there after a restart."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.facts == {}
        snapshot.save_facts({"total": 5, "digest": "ab"})
        snapshot.set_length(5)
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        assert snapshot.facts == {"total": 5, "digest": "ab"}
        assert (snapshot.length, snapshot.name, snapshot.session_id) == (5, "v1", "sess_1")


def test_two_openings_are_one_snapshot_until_the_last_close(store: Store) -> None:
    """Openings are counted: the first close of two leaves it readable."""
    first = store.snapshot(address(), "v1")
    second = store.snapshot(address(), "v1")
    assert first is second
    first.write(0, b"y" * BLOCK)
    first.close()
    assert second.read(0, 3) == b"yyy"
    second.close()
    with store.snapshot(address(), "v1") as third:
        assert third is not first
        assert third.read(0, 3) == b"yyy"


def test_accounts_content_sessions_and_names_never_meet(store: Store) -> None:
    """Any part of the address that differs is another snapshot."""
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, b"y" * BLOCK)
        for other, name in [
            (address(account="b" * 64), "v1"),
            (address(content="https://api.example|zip|paths=a"), "v1"),
            (address("sess_2"), "v1"),
            (address(), "v2"),
        ]:
            assert store.find(other, name) is None
            with store.snapshot(other, name) as fresh:
                assert not fresh.has(Span(0, 1))


def test_find_makes_nothing(store: Store, tmp_path: Path) -> None:
    """Asking for a snapshot that is not there leaves no trace."""
    assert store.find(address(), "v1") is None
    assert os.listdir(tmp_path / "cache" / "v1" / "snapshots") == []


def test_a_dropped_snapshot_is_read_to_its_end_and_begins_afresh(store: Store) -> None:
    """Those who have it open keep its bytes; the next opening has none."""
    old = store.snapshot(address(), "v1")
    old.write(0, b"o" * BLOCK)
    store.drop(old)
    with store.snapshot(address(), "v1") as new:
        assert not new.has(Span(0, 1))
        new.write(0, b"n" * BLOCK)
        assert old.read(0, 1) == b"o"
        old.write(BLOCK, b"p" * BLOCK)
        assert old.read(BLOCK, 1) == b"p"
        assert not new.has(Span(BLOCK, BLOCK + 1))
        old.close()
        assert new.read(0, 1) == b"n"


def test_deleting_the_cache_loses_nothing_but_time(make_store: MakeStore, tmp_path: Path) -> None:
    """Open snapshots go on; everything made afterwards is kept in the directory made anew, under the same salt."""
    store = make_store()
    account = store.account("https://api.example", "key")
    old = store.snapshot(address(), "v1")
    old.write(0, b"o" * BLOCK)
    shutil.rmtree(tmp_path / "cache")
    assert old.read(0, 1) == b"o"
    old.write(BLOCK, b"p" * BLOCK)
    assert old.read(BLOCK, 1) == b"p"
    old.save_facts({"a": 1})
    old.set_length(2 * BLOCK)
    assert not old.mark_synced()
    with old.new_spool(1) as spool:
        spool.write(b"member")
        assert spool.finish().read(0, 6) == b"member"
    assert old.member(1) is None
    store.session(address()).save({"b": 2})
    with store.snapshot(address(), "v1") as new:
        assert new is not old
        new.write(0, b"n" * BLOCK)
    old.close()
    store.maintain()
    store.close()
    with make_store() as again:
        assert again.account("https://api.example", "key") == account
        assert again.session(address()).load() == {"b": 2}
        with again.snapshot(address(), "v1") as snapshot:
            assert snapshot.read(0, BLOCK) == b"n" * BLOCK
        assert again.info().used == disk_use(tmp_path / "cache")


@pytest.mark.parametrize("part", ["meta", "map", "data"])
def test_a_snapshot_with_a_part_missing_is_made_anew(make_store: MakeStore, tmp_path: Path, part: str) -> None:
    """What somebody half deleted is not believed."""
    with make_store() as store:
        with store.snapshot(address(), "v1") as snapshot:
            snapshot.write(0, b"o" * BLOCK)
        next((tmp_path / "cache/v1/snapshots").glob(f"*/{part}")).unlink()
        with store.snapshot(address(), "v1") as snapshot:
            assert not snapshot.has(Span(0, 1))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b'{"version": 99}', b'{"version": 1, "x": 2}', b"\xff"])
def test_a_snapshot_with_a_damaged_description_is_made_anew(make_store: MakeStore, tmp_path: Path, text: bytes) -> None:
    """A description that does not parse means that nothing is known of the bytes."""
    with make_store() as store:
        with store.snapshot(address(), "v1") as snapshot:
            snapshot.write(0, b"o" * BLOCK)
        next((tmp_path / "cache/v1/snapshots").glob("*/meta")).write_bytes(text)
        with store.snapshot(address(), "v1") as snapshot:
            assert not snapshot.has(Span(0, 1))


def test_a_data_file_cut_short_is_damage_not_zeros(store: Store, tmp_path: Path) -> None:
    """If something truncated the data file, reading says so."""
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, b"o" * (2 * BLOCK))
        os.truncate(next((tmp_path / "cache/v1/snapshots").glob("*/data")), BLOCK)
        with pytest.raises(CacheDamaged):
            snapshot.read(0, 2 * BLOCK)
        assert snapshot.try_read(0, 2 * BLOCK) is None


def test_many_threads_write_and_read_one_snapshot(store: Store) -> None:
    """Threads that write interleaved, unaligned pieces and read each other's leave every byte right."""
    size, piece, threads = 2 * MIB, 10_007, 4
    expected = pattern(3, 0, size)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for start in range(number * piece, size, threads * piece):
                stop = min(start + piece, size)
                snapshot.write(start, expected[start:stop])
                assert snapshot.read(start, stop - start) == expected[start:stop]
                assert snapshot.missing(Span(start, stop)) == []
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)

    with store.snapshot(address(), "v1") as snapshot:
        snapshot.set_length(size)
        workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
        assert failures == []
        assert snapshot.complete
        assert snapshot.read(0, size) == expected


def test_a_snapshot_in_memory_behaves_alike_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """Where the cache takes nothing, bytes live in memory up to the limit and are gone with the close."""
    before = disk_use(tmp_path)
    with store.ephemeral(address(), "v1") as snapshot:
        snapshot.write(10, pattern(1, 10, 100_000))
        assert snapshot.read(10, 1000) == pattern(1, 10, 1010)
        assert snapshot.try_read(10, 1000) == pattern(1, 10, 1010)
        snapshot.set_length(3 * MIB)
        snapshot.save_facts({"a": 1})
        assert snapshot.facts == {"a": 1}
        assert snapshot.trusted
        assert not snapshot.mark_synced()
        assert snapshot.member(0) is None
        claim = snapshot.claim(Span(0, 10))
        assert claim is not None
        assert snapshot.claim(Span(5, 6)) is None
        claim.release()
        with store.ephemeral(address(), "v2") as other:
            other.write(0, bytes(MIB))
            with pytest.raises(CacheFull):
                snapshot.write(MIB, bytes(MIB))
        snapshot.write(MIB, bytes(MIB))
    assert store._memory.used == 0
    assert store.find(address(), "v1") is None
    assert disk_use(tmp_path) == before
