"""Archives that others made, beside zipfile and Info-ZIP unzip: those of Python's own tests, those that Debian's source
packages ship for their tests (`make zips`), and ``$MOUNTFS_ZIPS``, folders with ``:`` between them.

Where a peer gives a member's bytes, we give the same bytes or an error of ours; what we alone refuse is listed here.
"""

from __future__ import annotations

import os
import pathlib
import sysconfig
from collections.abc import Iterator

import pytest
from peers import archives, compare
from zips import parse

from mountfs.model import Shape
from mountfs.tree import Namespace

FETCHED = pathlib.Path(__file__).parents[2] / ".zips"
LARGEST = 16 << 20
REFUSED = {
    "incons-central-compsize-larger-toolarge": "outside the archive's data",
    "incons-central-size-larger": "claims more bytes",
    "compressed uncompressed size mismatch for stored file": "outside the archive's data",
    "not enough bytes in the stream": "claims more bytes",
    "wrong-entry-sizes": "inflates to 39 bytes instead of 48",
}
"""Members that both peers read and we do not -> our words. In all of them the directory is wrong about a size, and the
peers' output is not as long as they say that the member is."""


def folders() -> Iterator[pathlib.Path]:
    yield pathlib.Path(sysconfig.get_paths()["stdlib"]) / "test"
    yield FETCHED
    yield from (pathlib.Path(folder) for folder in os.environ.get("MOUNTFS_ZIPS", "").split(":") if folder)


ARCHIVES = [path for folder in folders() for path in archives(folder) if path.stat().st_size <= LARGEST]


def test_there_are_some() -> None:
    """What Debian ships was fetched."""
    if not FETCHED.exists():
        pytest.skip("the archives that Debian's source packages ship are not here: `make zips` fetches them")
    assert len(list(archives(FETCHED))) > 100


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name)
def test_others_archives(path: pathlib.Path) -> None:
    """The same members with the same bytes as the peers, or an error."""
    data = path.read_bytes()
    compared = compare(data)
    assert compared.wrong == []
    for member in compared.members:
        if member.ours is None and len(member.peers) == 2:
            assert any(name in path.name and words in member.error for name, words in REFUSED.items())
    if not compared.refused:
        Namespace(parse(data), Shape(), root_mtime_ns=0)
