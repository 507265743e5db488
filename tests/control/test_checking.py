"""``cache verify``'s check of one snapshot: what is wrong is found, what cannot be known is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drives import zip_of

from mountfs.config import Limits
from mountfs.control.checking import check
from mountfs.files import FileTable
from mountfs.model import RemoteFile, Span
from mountfs.store import Address, Snapshot, Store
from mountfs.zipformat import Directory, DirectoryParser, ZipLimits

MEMBERS = {"a.txt": b"alpha" * 3000, "b/c.txt": b"gamma" * 3000, "b/": b"", "empty": b""}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path / "cache"), max_size=1 << 30, min_free=0) as opened:
        yield opened


def kept(store: Store, archive: bytes, **facts: Any) -> Snapshot:
    """A snapshot that holds a whole archive."""
    snapshot = store.snapshot(Address("key", "account", "s_1"), "v1")
    snapshot.set_length(len(archive))
    snapshot.write(0, archive)
    directory = parsed(archive)
    snapshot.save_facts({"form": "zip", "whole": False, "fetched": 0, "digest": directory.checksum().hex(), **facts})
    return snapshot


def parsed(archive: bytes) -> Directory:
    found = DirectoryParser(len(archive), ZipLimits()).feed(0, archive)
    assert isinstance(found, Directory)
    return found


@pytest.mark.parametrize("stored", [True, False])
def test_a_sound_archive(store: Store, stored: bool) -> None:
    """Every file is checked, directories are not files."""
    told: list[int] = []
    found = check(kept(store, zip_of(MEMBERS, stored=stored)), Limits(), told.append)
    assert found.sound
    assert (found.members, found.partial, found.damaged) == (3, 0, [])
    assert sum(told) == found.bytes > 0


@pytest.mark.parametrize("whole", [True, False])
def test_a_flipped_byte(store: Store, whole: bool) -> None:
    """A member fetched by ranges is forgotten alone; an archive that came whole has to go."""
    archive = bytearray(zip_of(MEMBERS, stored=True))
    archive[archive.index(b"gammagamma") + 9] ^= 1
    snapshot = kept(store, bytes(archive), whole=whole)
    found = check(snapshot, Limits())
    assert found.damaged == [each for each in found.damaged if each.startswith("b/c.txt: has CRC-32")]
    assert len(found.damaged) == 1
    assert found.sound is not whole
    assert snapshot.complete is whole
    if not whole:
        again = check(snapshot, Limits())
        assert (again.damaged, again.sound) == ([], True)
        assert again.partial


def test_a_damaged_directory(store: Store) -> None:
    """A directory that is not the one kept means that nothing can be believed."""
    archive = zip_of(MEMBERS)
    found = check(kept(store, archive, digest="00" * 32), Limits())
    assert not found.sound
    snapshot = kept(store, archive)
    snapshot.forget(Span(len(archive) - 10, len(archive)))
    assert check(snapshot, Limits()).partial == 1  # its end was given up, and comes again


def test_what_is_not_here(store: Store) -> None:
    """Members whose bytes are missing are counted, not judged."""
    archive = zip_of({"a": bytes(100_000), "b": bytes(100_000)}, stored=True)
    snapshot = kept(store, archive)
    snapshot.forget(Span(0, 50_000))
    found = check(snapshot, Limits())
    assert (found.members, found.partial, found.sound) == (1, 1, True)


def test_an_inflated_copy(store: Store) -> None:
    """A member kept inflated is compared too, and dropped alone."""
    archive = zip_of(MEMBERS)
    snapshot = kept(store, archive, whole=True)
    directory = parsed(archive)
    index = next(index for index, path, _ in directory.names() if path == b"a.txt")
    for content, damaged in ((MEMBERS["a.txt"], 0), (MEMBERS["a.txt"][:-1] + b"X", 1)):
        with snapshot.new_spool(index) as spool:
            spool.write(content)
            spool.finish().close()
        found = check(snapshot, Limits())
        assert (len(found.damaged), found.sound) == (damaged, True)
    assert snapshot.member(index) is None


def test_files_of_their_own(store: Store) -> None:
    """A file that came on its own is checked by its SHA-256."""
    content = b"report"
    digest = hashlib.sha256(content).hexdigest()
    table = FileTable.of((RemoteFile("1", "a.pdf", 6, digest), RemoteFile("2", "b.pdf", 6, digest)))
    snapshot = store.snapshot(Address("key", "account", "s_1"), "files")
    snapshot.save_facts({"form": "files", "fetched": 0, "files": table.dump()})
    for index, data in ((0, content), (1, b"rep0rt")):
        with snapshot.new_spool(index) as spool:
            spool.write(data)
            spool.finish().close()
    found = check(snapshot, Limits())
    assert (found.members, found.sound) == (1, True)
    assert found.damaged == ["b.pdf: its SHA-256 is not the listed one"]
    assert check(snapshot, Limits()).partial == 1


def test_a_description_that_is_damaged(store: Store) -> None:
    """Facts that make no sense are no traceback."""
    assert not check(kept(store, zip_of(MEMBERS), digest=None), Limits()).sound
    snapshot = store.snapshot(Address("key", "account", "s_2"), "v")
    assert check(snapshot, Limits()).sound  # holds nothing yet
    snapshot.save_facts({"form": "files", "files": [{"nonsense": 1}]})
    assert not check(snapshot, Limits()).sound
