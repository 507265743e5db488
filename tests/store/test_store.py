"""The store as a whole: accounts, records, the verbs, permissions, and a disk that refuses."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.tools import MIB, Clock, MakeStore, address, disk_use, pattern

from mountfs.errors import CacheDamaged, CacheError
from mountfs.model import Span
from mountfs.store import BLOCK, Snapshot, Store
from mountfs.store.about import record_name


def test_an_account_depends_on_key_url_and_salt(make_store: MakeStore, tmp_path: Path) -> None:
    """It is the same in every run on one cache, other for every other key or URL, and other on another cache."""
    with make_store() as store:
        account = store.account("https://a", "key")
        assert len({account, store.account("https://a", "kez"), store.account("https://b", "key")}) == 3
        assert store.account("https://a", None) != store.account("https://a", "")
    with make_store() as store:
        assert store.account("https://a", "key") == account
    with make_store(directory=tmp_path / "other") as store:
        assert store.account("https://a", "key") != account


def test_no_key_is_anywhere_in_the_cache(make_store: MakeStore, tmp_path: Path) -> None:
    """Neither a file's name nor its contents hold the key."""
    store = make_store()
    where = address(account=store.account("https://a", "sk-very-secret"))
    with store.snapshot(where, "v1") as snapshot:
        snapshot.save_facts({"etag": "x"})
    store.session(where).save({"phase": "live"})
    for root, directories, files in os.walk(tmp_path):
        assert not any("secret" in name for name in [*directories, *files])
        for name in files:
            assert b"secret" not in Path(root, name).read_bytes()


def test_everything_is_private(make_store: MakeStore, tmp_path: Path) -> None:
    """Directories are 0700 and files 0600, whatever the umask."""
    old = os.umask(0)
    try:
        store = make_store()
        store.account("https://a", "k")
        with store.snapshot(address(), "v1") as snapshot, snapshot.new_spool(1) as spool:
            spool.write(b"x")
            spool.finish().close()
        store.session(address()).save({})
    finally:
        os.umask(old)
    for root, _directories, files in os.walk(tmp_path / "cache"):
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o700
        for name in files:
            assert stat.S_IMODE(os.stat(os.path.join(root, name)).st_mode) == 0o600


def test_a_record_is_replaced_whole_and_removed(make_store: MakeStore) -> None:
    """The last save is what every later run loads."""
    with make_store() as store:
        record = store.session(address())
        assert record.load() is None
        record.save({"phase": "live", "n": 1})
        record.save({"phase": "terminal", "n": 2})
    with make_store() as store:
        assert store.session(address()).load() == {"phase": "terminal", "n": 2}
        assert store.sessions("https://api.example|zip", "a" * 64) == [("sess_1", {"phase": "terminal", "n": 2})]
        assert store.sessions("https://api.example|zip", "b" * 64) == []
        store.session(address()).remove()
        assert store.session(address()).load() is None


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'{"version": 1}', b'{"version": 2, "id": "a", "facts": {}}'])
def test_a_damaged_record_does_not_exist(store: Store, tmp_path: Path, text: bytes) -> None:
    """A power cut may leave an empty or torn file: it is as if nothing were known."""
    store.session(address()).save({"phase": "live"})
    next((tmp_path / "cache/v1/records").glob("*/*")).write_bytes(text)
    assert store.session(address()).load() is None
    assert store.sessions("https://api.example|zip", "a" * 64) == []
    store.session(address()).save({"phase": "live"})
    assert store.session(address()).load() == {"phase": "live"}


@settings(deadline=None)
@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_record_names_are_file_names_and_distinct(one: str, two: str) -> None:
    """Any session id, however odd or long, has a file name of its own."""
    for name in (record_name(one), record_name(two)):
        assert "/" not in name
        assert "\0" not in name
        assert name not in (".", "..")
        assert len(name.encode()) <= 255
    assert (record_name(one) == record_name(two)) == (one == two)


def test_info_counts_what_is_there(make_store: MakeStore, tmp_path: Path) -> None:
    """Bytes as du has them, sessions with a record, snapshots."""
    store = make_store()
    for number in range(3):
        with store.snapshot(address(f"s{number}"), "v1") as snapshot:
            snapshot.write(0, bytes(MIB))
    store.session(address("s0")).save({})
    info = store.info()
    assert (info.sessions, info.snapshots, info.max_size) == (1, 3, 64 * MIB)
    assert info.used == disk_use(tmp_path / "cache")
    assert info.used > 3 * MIB


def test_prune_removes_what_no_record_names(store: Store) -> None:
    """Outdated snapshots go, current ones and those in use stay."""
    for name in ("v0", "v1"):
        with store.snapshot(address("s"), name) as snapshot:
            snapshot.write(0, bytes(MIB))
    store.session(address("s")).save({}, snapshot="v1")
    with store.snapshot(address("open"), "v1") as held:
        assert store.prune() >= MIB
        assert store.find(address("s"), "v0") is None
        assert held.attached()
    current = store.find(address("s"), "v1")
    assert current is not None
    current.close()
    assert store.session(address("s")).load() == {}


def test_clear_removes_all_that_is_not_in_use(store: Store, tmp_path: Path) -> None:
    """Snapshots and records go; an open one stays whole."""
    for number in range(3):
        with store.snapshot(address(f"s{number}"), "v1") as snapshot:
            snapshot.write(0, bytes(MIB))
        store.session(address(f"s{number}")).save({}, snapshot="v1")
    with store.snapshot(address("s0"), "v1") as held:
        assert store.clear() >= 2 * MIB
        assert held.read(0, 10) == bytes(10)
        assert store.find(address("s1"), "v1") is None
        assert store.sessions("https://api.example|zip", "a" * 64) == [("s0", {})]
    store.clear()
    assert store.sessions("https://api.example|zip", "a" * 64) == []
    assert disk_use(tmp_path / "cache") < MIB


def test_verify_drops_what_is_not_sound(store: Store) -> None:
    """The caller judges each snapshot; False and CacheDamaged drop it, and the report names its session."""
    for number in range(4):
        with store.snapshot(address(f"s{number}"), "v1") as snapshot:
            snapshot.write(0, bytes([number]) * BLOCK)

    def sound(snapshot: Snapshot) -> bool:
        number = snapshot.read(0, 1)[0]
        if number == 2:
            raise CacheDamaged("a CRC is wrong")
        return number != 3

    report = store.verify(sound)
    assert report.sound == 2
    assert sorted(report.dropped) == ["s2", "s3"]
    assert store.find(address("s2"), "v1") is None
    assert store.verify(lambda _snapshot: True).sound == 2


def test_the_next_open_removes_what_a_dead_process_left(make_store: MakeStore, tmp_path: Path) -> None:
    """A tmp directory nobody holds goes; that of a living store stays."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot, snapshot.new_spool(1) as spool:
        spool.write(b"alive")
        left = tmp_path / "cache/v1/tmp/0123456789abcdef"
        left.mkdir()
        (left / "1").write_bytes(bytes(MIB))
        (left / "2").mkdir()
        (left / "2" / "data").write_bytes(bytes(MIB))
        (tmp_path / "cache/v1/tmp/stray").write_bytes(bytes(MIB))
        make_store()
        assert not left.exists()
        assert not (tmp_path / "cache/v1/tmp/stray").exists()
        with spool.finish() as member:
            assert member.read(0, 5) == b"alive"
        assert snapshot.member(1) is not None


def test_a_wrong_total_is_corrected(make_store: MakeStore, tmp_path: Path, clock: Clock) -> None:
    """A ledger that a crash left wrong, or that was emptied, is right after the first maintenance."""
    with make_store() as store, store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, bytes(MIB))
    for damage in ((1 << 40).to_bytes(8, "little"), b"", b"short", bytes(8)):
        (tmp_path / "cache/v1/used").write_bytes(damage)
        with make_store() as store:
            store.maintain()
            assert store._budget.used == disk_use(tmp_path / "cache")
            snapshot = store.find(address(), "v1") or pytest.fail("it was evicted for nothing")
            snapshot.close()
            clock.advance(1000)


def test_a_cache_that_cannot_be_made_degrades(
    make_store: MakeStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening logs one line, bytes live in memory, nothing is kept; when the disk relents, it works."""
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    store = make_store(directory=blocker / "cache")
    assert "cannot be used" in caplog.text
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, bytes(BLOCK))
        assert snapshot.read(0, BLOCK) == bytes(BLOCK)
    assert not store.session(address()).save({})
    assert store.session(address()).load() is None
    assert store.sessions("c", "a") == []
    assert store.find(address(), "v1") is None
    account = store.account("https://a", "k")
    store.maintain()
    assert store.info().snapshots == 0
    assert store.prune() == store.clear() == 0
    blocker.unlink()
    store.maintain()
    with store.snapshot(address(), "v1") as snapshot:
        snapshot.write(0, bytes(BLOCK))
        assert snapshot.has(Span(0, BLOCK))
    assert store.account("https://a", "k") == account


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's directory")
def test_somebody_elses_directory_is_refused(tmp_path: Path, make_store: MakeStore) -> None:
    """A directory of another user is not written to, and the message names the setting."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    with pytest.raises(CacheError, match=r"cache\.dir"):
        make_store(directory=theirs)


def test_a_snapshot_is_found_under_a_relative_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is fixed when the store is made, not when it is used."""
    monkeypatch.chdir(tmp_path)
    with Store("here", max_size=MIB, min_free=0) as store:
        monkeypatch.chdir("/")
        with store.snapshot(address(), "v1") as snapshot:
            snapshot.write(0, pattern(1, 0, BLOCK))
    assert (tmp_path / "here" / "v1").is_dir()


def test_a_shelf_is_read_again_when_it_changed_and_only_then(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What any process saves, replaces or removes is seen at once; an old shelf that did not change is not read."""
    one, two = make_store(), make_store()
    shelf = ("https://api.example|zip", "a" * 64)

    def age() -> None:
        directory = next((tmp_path / "cache/v1/records").iterdir())
        os.utime(directory, (1, directory.stat().st_mtime - 10))

    for number in range(3):
        one.session(address(f"s{number}")).save({"n": number})
    age()
    assert sorted(two.sessions(*shelf)) == [("s0", {"n": 0}), ("s1", {"n": 1}), ("s2", {"n": 2})]
    with monkeypatch.context() as patch:
        patch.setattr("mountfs.store.records.read_record", lambda path: pytest.fail(f"it read {path}"))
        assert len(two.sessions(*shelf)) == 3
    one.session(address("s1")).save({"n": 10})
    assert sorted(two.sessions(*shelf))[1] == ("s1", {"n": 10})
    one.session(address("s1")).save({"n": 11})
    assert sorted(two.sessions(*shelf))[1] == ("s1", {"n": 11})
    age()
    assert len(two.sessions(*shelf)) == 3
    one.session(address("s2")).remove()
    assert len(two.sessions(*shelf)) == 2
