"""Archives built and damaged at random, all the way through the file system: what a program sees is what the zip floor
makes of the same bytes, member by member, or the same errno; from a store with ranges and from one without."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest
from built import archives, damaged, large_damaged
from drives import Drive, World
from hostile.methods import METHODS, part
from hostile.test_rows import observe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zips import parse, read

from mountfs.demo.server import Fakes
from mountfs.errnos import errno_of
from mountfs.errors import ArchiveError, BadArchive
from mountfs.model import Shape
from mountfs.tree import ROOT, Namespace
from mountfs.zipformat import Directory, ZipLimits, ensure_readable

FEW = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
FORMS = pytest.mark.parametrize("form", ["ranges", "whole"])
SOURCES = {method: functools.partial(part, method, large=True) for method in METHODS}
Expected = dict[bytes, bytes | int]
"""Path -> contents, or the errno of reading it."""


def expected(data: bytes) -> Expected | int:
    """By the zip floor alone. An int: the errno of all of it."""
    try:
        directory = parse(data)
    except BadArchive as error:
        return errno_of(error)
    namespace = Namespace(directory, Shape(), root_mtime_ns=0)
    found: Expected = {}
    left = [ROOT]
    while left:
        for node in namespace.listing(left.pop()).nodes:
            if node < 0:
                left.append(node)
            else:
                found[namespace.path(node)] = contents(data, directory, node)
    return found


def contents(data: bytes, directory: Directory, index: int) -> bytes | int:
    try:
        member = directory[index]
        ensure_readable(member, ZipLimits())
        if not member.size and not member.crc:
            return b""  # nothing of it is fetched, so what stands in its place is not looked at
        return read(data, directory, index)
    except ArchiveError as error:
        return errno_of(error)


def check(form: str, made: list[bytes]) -> None:
    """Serves them as sessions, reads all of them, compares."""
    with tempfile.TemporaryDirectory() as place, Fakes() as fakes:
        world = World(fakes, Path(place))
        for number, data in enumerate(made):
            world.session("kaizen", number=number).archive = data
        if form == "whole":
            fakes.store.ranges, fakes.store.etags = False, None

        async def main(drive: Drive) -> None:
            for number, data in enumerate(made):
                observed = await observe(drive, f"kaizen/s_{number}")
                wanted = expected(data)
                if isinstance(wanted, int):
                    assert observed.errno == wanted
                    continue
                assert observed.errno == 0
                seen = {path: node for path, node in observed.names.items() if path in wanted}
                assert len(seen) == len(wanted)
                for path, content in wanted.items():
                    assert seen[path].errno == (content if isinstance(content, int) else 0)
                    if isinstance(content, bytes):
                        assert seen[path].data == content
                    else:
                        assert len(seen[path].data) < max(1, seen[path].size)

        world.run(main, limit=120)


@FORMS
@FEW
@given(st.lists(st.one_of(damaged(), archives()), min_size=3, max_size=8))
def test_damaged_archives(form: str, made: list[bytes]) -> None:
    """Small members, directories, names, links, end records."""
    check(form, made)


@FORMS
@FEW
@given(st.lists(large_damaged(SOURCES), min_size=2, max_size=4))
def test_damaged_large_members(form: str, made: list[bytes]) -> None:
    """Members that are inflated while they are read: right to the last byte, or EIO before it."""
    check(form, made)
