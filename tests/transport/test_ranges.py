"""Which 206 may count, and how a part is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountfs.errors import BadAnswer
from mountfs.model import Span, Validator
from mountfs.transport.messages import Suffix
from mountfs.transport.ranges import range_header, served, unsatisfied_total, validator_of


@pytest.mark.parametrize(
    ("want", "header"), [(Span(0, 1), "bytes=0-0"), (Span(5, 20), "bytes=5-19"), (Suffix(262144), "bytes=-262144")]
)
def test_a_want_is_one_range(want: Span | Suffix, header: str) -> None:
    """Spans are half open with us and closed on the wire."""
    assert range_header(want) == header


@pytest.mark.parametrize(
    ("want", "content_range", "span", "total"),
    [
        (Span(0, 10), "bytes 0-9/100", Span(0, 10), 100),
        (Span(0, 10), "BYTES 0-9/100", Span(0, 10), 100),
        (Span(0, 10), "bytes 0-9/*", Span(0, 10), None),
        (Span(90, 200), "bytes 90-99/100", Span(90, 100), 100),
        (Span(5, 10), "bytes 0-99/100", Span(0, 100), 100),
        (Suffix(10), "bytes 90-99/100", Span(90, 100), 100),
        (Suffix(500), "bytes 0-99/100", Span(0, 100), 100),
        (Suffix(10), "bytes 0-99/100", Span(0, 100), 100),
    ],
)
def test_a_206_that_covers_the_want_counts(
    want: Span | Suffix, content_range: str, span: Span, total: int | None
) -> None:
    """More than was asked for is fine, as long as it says where it lies."""
    assert served(want, {"content-range": content_range}) == (span, total)


@pytest.mark.parametrize(
    ("want", "headers"),
    [
        (Span(0, 10), {}),
        (Span(0, 10), {"content-range": "bytes 0-9"}),
        (Span(0, 10), {"content-range": "items 0-9/100"}),
        (Span(0, 10), {"content-range": "bytes */100"}),
        (Span(0, 10), {"content-range": "bytes 9-0/100"}),
        (Span(0, 10), {"content-range": "bytes 0-9/5"}),
        (Span(0, 10), {"content-range": "bytes 10-19/100"}),
        (Span(0, 10), {"content-range": "bytes 0-4/100"}),
        (Span(0, 10), {"content-range": "bytes 1-9/100"}),
        (Span(0, 10), {"content-range": "bytes 0-4/*"}),
        (Span(0, 10), {"content-range": "bytes 0-9/100", "content-length": "9"}),
        (Span(0, 10), {"content-range": "bytes 0--1/100"}),
        (Span(0, 10), {"content-range": "bytes 0-99999999999999999999/*"}),
        (Span(0, 10), {"content-range": "bytes \u0660-\u0669/100"}),
        (Suffix(10), {"content-range": "bytes 90-98/100"}),
        (Suffix(10), {"content-range": "bytes 95-99/100"}),
        (Suffix(10), {"content-range": "bytes 90-99/*"}),
        (Span(0, 10), {"content-type": "multipart/byteranges; boundary=x"}),
    ],
)
def test_a_206_that_does_not_say_so_exactly_never_counts(want: Span | Suffix, headers: dict[str, str]) -> None:
    """Its bytes could land at the wrong place."""
    with pytest.raises(BadAnswer) as caught:
        served(want, headers)
    assert caught.value.status == 206


def test_minio_answers_an_empty_object_with_a_bogus_range() -> None:
    """Then there are no bytes, and that is right."""
    headers = {"content-range": "bytes 0--1/0", "content-length": "0"}
    assert served(Suffix(10), headers) == (Span(0, 0), 0)


@given(start=st.integers(0, 2**40), size=st.integers(1, 2**40), total=st.integers(1, 2**41), wide=st.booleans())
def test_what_counts_always_covers(start: int, size: int, total: int, wide: bool) -> None:
    """Whatever a server says, an accepted span holds every wanted byte that exists."""
    want = Span(start, start + size)
    first = 0 if wide else start
    last = min(want.stop, total) - 1
    try:
        span, said = served(want, {"content-range": f"bytes {first}-{last}/{total}"})
    except BadAnswer:
        assert start >= total
    else:
        assert said == total
        assert span.start <= start
        assert span.stop >= min(want.stop, total)


def test_a_416_may_tell_the_length() -> None:
    """``bytes */N``, and nothing else."""
    assert unsatisfied_total({"content-range": "bytes */1234"}) == 1234
    assert unsatisfied_total({"content-range": "bytes 0-1/1234"}) is None
    assert unsatisfied_total({}) is None


def test_what_tells_versions_apart_is_read_from_the_headers() -> None:
    """An unversioned S3 bucket says "null", which tells nothing."""
    assert validator_of({"etag": '"a"', "last-modified": "x"}) == Validator('"a"', "x")
    assert validator_of({"x-goog-generation": "7"}) == Validator(version="7")
    assert validator_of({"x-amz-version-id": "null"}) == Validator()


@pytest.mark.parametrize("tag", ['"tag\u00fc"', "x" * 600, '"a\x01b"', ""])
def test_a_tag_that_could_not_be_sent_back_is_none(tag: str) -> None:
    """Then there are no ranges, rather than a crash at the second one."""
    assert validator_of({"etag": tag}) == Validator()
