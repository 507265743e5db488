"""Ranges and conditions as pure functions, against the plain slice they stand for."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mountfs.demo.bodies import PIECE, RangeRules, pieces, serve, sha256_of, size_of
from mountfs.demo.wire import Ask, Reply
from mountfs.model import Span


def body_of(reply: Reply) -> bytes:
    return b"".join(piece for piece in reply.body if isinstance(piece, bytes))


@given(data=st.binary(min_size=1, max_size=64), first=st.integers(0, 80), last=st.integers(0, 80))
def test_an_absolute_range_is_a_slice(data: bytes, first: int, last: int) -> None:
    """206 with the slice, 416 where it is empty, 200 where the range is none."""
    reply = serve(data, Ask("GET", "/", headers={"range": f"bytes={first}-{last}"}), RangeRules(), kind="x")
    if last < first:
        assert (reply.status, body_of(reply)) == (200, data)
    elif first >= len(data):
        assert reply.status == 416
    else:
        assert (reply.status, body_of(reply)) == (206, data[first : last + 1])
        assert reply.headers["content-length"] == str(len(data[first : last + 1]))


@given(data=st.binary(min_size=1, max_size=64), length=st.integers(1, 80))
def test_a_suffix_range_is_the_end(data: bytes, length: int) -> None:
    """However long it is."""
    reply = serve(data, Ask("GET", "/", headers={"range": f"bytes=-{length}"}), RangeRules(), kind="x")
    assert (reply.status, body_of(reply)) == (206, data[-length:])


@given(header=st.text(max_size=30))
def test_any_other_range_header_is_ignored(header: str) -> None:
    """No header raises; what is no range gets everything."""
    reply = serve(b"data", Ask("GET", "/", headers={"range": f"x{header}"}), RangeRules(), kind="x")
    assert (reply.status, body_of(reply)) == (200, b"data")


def test_a_file_comes_in_pieces_and_is_closed(tmp_path: Path) -> None:
    """Spans over several pieces, and one that is left before its end."""
    data = bytes(range(251)) * 5000
    place = tmp_path / "x"
    place.write_bytes(data)
    assert size_of(place) == len(data)
    assert sha256_of(place) == sha256_of(data)
    assert b"".join(pieces(place, Span(7, len(data) - 3))) == data[7:-3]
    left = pieces(place, Span(0, len(data)))
    assert len(next(left)) == PIECE
    del left
