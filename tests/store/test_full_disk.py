"""A disk that fills up, and one that refuses writing: real ones, on tmpfs, so only root runs these."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from store.tools import MIB, Clock, MakeStore, address, pattern

from mountfs.errors import CacheFull
from mountfs.model import Span
from mountfs.store import BLOCK, Snapshot

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(where)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def _fill(snapshot: Snapshot) -> int:
    """Write until the disk refuses; how many bytes it took."""
    written = 0
    with contextlib.suppress(CacheFull):
        while True:
            snapshot.write(written, pattern(1, written, written + 100_000))
            written += 100_000
    return written


def test_a_disk_that_fills_up_costs_no_byte(small_disk: Path, make_store: MakeStore, clock: Clock) -> None:
    """max_size promises more than the disk has: old sessions make room, and every byte that is here is right."""
    with make_store(directory=small_disk / "cache", max_size=1 << 40) as store:
        for number in range(30):
            with store.snapshot(address(f"s{number}"), "v1") as snapshot:
                for start in range(0, MIB, 70_000):
                    stop = min(start + 70_000, MIB)
                    snapshot.write(start, pattern(number, start, stop))
                assert snapshot.read(0, MIB) == pattern(number, 0, MIB)
            store.session(address(f"s{number}")).save({"n": number}, snapshot="v1")
            clock.advance(5)
        kept = store.sessions("https://api.example|zip", "a" * 64)
        assert len(kept) >= 3
        for session, facts in kept:
            with store.find(address(session), "v1") or pytest.fail("listed but not there") as snapshot:
                assert snapshot.read(0, MIB) == pattern(facts["n"], 0, MIB)


def test_a_disk_full_of_what_is_in_use_refuses_and_recovers(
    small_disk: Path, make_store: MakeStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Writing raises CacheFull, what was written stays right, and there is room again after the close."""
    store = make_store(directory=small_disk / "cache", max_size=1 << 40)
    caplog.set_level("INFO")
    snapshot = store.snapshot(address("huge"), "v1")
    written = _fill(snapshot)
    with pytest.raises(CacheFull, match="No space left"):
        snapshot.write(written, bytes(2 * MIB))
    assert written > 6 * MIB
    assert snapshot.read(0, written) == pattern(1, 0, written)
    with snapshot.new_spool(1) as spool, pytest.raises(CacheFull):
        spool.write(bytes(2 * MIB))
    clock.advance(5)
    with store.snapshot(address("other"), "v1") as other:
        assert not other.attached()
        other.write(0, bytes(MIB))
        assert other.read(0, MIB) == bytes(MIB)
    store.maintain()
    assert "refuses what is read: No space left on device" in caplog.text
    snapshot.close()
    clock.advance(5)
    with store.snapshot(address("other"), "v1") as other:
        other.write(0, pattern(2, 0, 2 * MIB))
        assert other.attached()
        assert other.has(Span(0, 2 * MIB))
    clock.advance(60)
    store.maintain()
    assert "takes what is read again" in caplog.text


def test_min_free_is_kept_free(small_disk: Path, make_store: MakeStore, clock: Clock) -> None:
    """The cache stops, or evicts, before the disk has less than min_free."""
    store = make_store(directory=small_disk / "cache", max_size=1 << 40, min_free=3 * MIB)
    for number in range(12):
        with store.snapshot(address(f"s{number}"), "v1") as snapshot:
            snapshot.write(0, bytes(MIB))
        clock.advance(5)
        state = os.statvfs(small_disk)
        assert state.f_bavail * state.f_frsize >= 3 * MIB - 64 * 1024
    assert store.find(address("s11"), "v1") is not None


def test_a_read_only_disk_is_read_and_never_believed_to_be_written(
    small_disk: Path, make_store: MakeStore, clock: Clock
) -> None:
    """What is cached is served; every write is CacheFull; after a power cut it is suspect, members and all."""
    with make_store(directory=small_disk / "cache") as store:
        with store.snapshot(address(), "v1") as snapshot:
            snapshot.write(0, pattern(1, 0, 3 * BLOCK))
            with snapshot.new_spool(1) as spool:
                spool.write(b"member")
                spool.finish().close()
        store.session(address()).save({"a": 1}, snapshot="v1")
        account = store.account("https://a", "k")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with make_store(directory=small_disk / "cache") as store:
        assert store.account("https://a", "k") == account
        assert store.session(address()).load() == {"a": 1}
        with store.snapshot(address(), "v1") as snapshot:
            assert snapshot.trusted
            assert snapshot.read(0, 3 * BLOCK) == pattern(1, 0, 3 * BLOCK)
            member = snapshot.member(1)
            assert member is not None
            member.close()
            claim = snapshot.claim(Span(0, 10))
            assert claim is not None
            claim.release()
            snapshot.set_length(4 * BLOCK)
            assert snapshot.length == 4 * BLOCK
            snapshot.save_facts({"b": 1})
            assert snapshot.facts == {"b": 1}
            with pytest.raises(CacheFull):
                snapshot.write(3 * BLOCK, b"x")
            with pytest.raises(CacheFull):
                snapshot.forget(Span(0, 1))
            with pytest.raises(CacheFull):
                snapshot.new_spool(1)
            assert not snapshot.mark_synced()
        assert not store.session(address()).save({"a": 2})
        with store.snapshot(address("new"), "v1") as snapshot:
            snapshot.set_length(3 * BLOCK)
            assert snapshot.length == 3 * BLOCK
            assert not snapshot.attached()
        clock.advance(1000)
        store.maintain()
        assert store.clear() == 0
    store = make_store(directory=small_disk / "cache", boot="boot-2")
    with store.snapshot(address(), "v1") as snapshot:
        assert not snapshot.trusted
        assert snapshot.member(1) is None
        snapshot.refresh()
        assert not snapshot.trusted
        assert not snapshot.is_verified(1)
    store.close()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
