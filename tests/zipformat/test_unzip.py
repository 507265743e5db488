"""Beside Info-ZIP unzip and zipfile: archives made by hand, at random, and with damage."""

from __future__ import annotations

import collections
import random

import pytest
from built import archives, damaged
from hostile import methods
from hostile.cases import CASES, Case
from hypothesis import HealthCheck, given, settings
from peers import UNZIP, compare
from zips import DIRECTORY, Part, archive, extended_time

from mountfs.zipformat import ZipLimits

pytestmark = pytest.mark.skipif(UNZIP is None, reason="unzip is not installed")
LIMITS = ZipLimits(max_members=1000, max_directory_size=1 << 20, max_member_size=1 << 20, max_ratio=2000)
OURS_ALONE = {
    "overlapping members": "overlap",
    "inflates to less than declared": "inflates to",
}
"""Cases in which both peers give a member's bytes and we an error -> our words: where they are less careful."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rows(case: Case) -> None:
    """Of zip.md's rows: no peer gives other bytes than ours, and what both give is an error of ours in two rows."""
    compared = compare(case.data)
    assert compared.wrong == []
    for member in compared.members:
        if member.ours is None and len(member.peers) == 2:
            assert OURS_ALONE[case.name] in member.error


def test_many_members() -> None:
    """Two thousand members of all kinds of contents and every method that all three read: the same bytes."""
    rng = random.Random(5)
    parts = [
        Part(
            f"d{number % 7}/{number}" if number % 11 else f"e{number}/",
            b"" if not number % 11 else rng.choice([rng.randbytes, bytes, lambda n: b"text %d\n" % n * (n // 8)])(size),
            method=0 if not number % 11 else rng.choice([0, 8, 8, 12]),
            mode=0o100644 if number % 11 else DIRECTORY,
            extra=rng.choice([b"", extended_time(number)]),
            local_extra=rng.choice([b"", extended_time(number)]),
            local_zeroed=not number % 5,
        )
        for number, size in enumerate(rng.choices([0, 1, 100, 5000, 70_000], k=2000))
    ]
    compared = compare(archive(*parts))
    counts = collections.Counter(member.word for member in compared.members)
    assert counts == {
        "our bytes, both peers to compare with": sum(1 for part in parts if not part.raw_name.endswith(b"/"))
    }


def test_methods() -> None:
    """Of the methods unzip knows: it gives what we give (it also knows deflate64, zipfile also LZMA)."""
    found = {member.name: len(member.peers) for member in compare(methods.sound()).members}
    assert compare(methods.sound()).wrong == []
    assert [number for number in methods.METHODS if found[methods.name(number, large=True)] == 2] == [0, 8, 12]
    assert [number for number in methods.METHODS if found[methods.name(number, large=True)] == 1] == [9, 14]


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(archives())
def test_built_at_random(data: bytes) -> None:
    """No peer gives other bytes."""
    assert compare(data, limits=LIMITS).wrong == []


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_damaged_at_random(data: bytes) -> None:
    """Where both peers agree on a member's bytes we give the same bytes or an error; and no others where one reads
    them."""
    assert compare(data, limits=LIMITS).wrong == []
