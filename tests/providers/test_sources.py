"""The opening sequence over every habit of object stores (providers.md §6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clients import provider, run, soon

from mountfs.demo.server import Fakes
from mountfs.demo.steps import Gzip, changed_etag
from mountfs.errors import NotReady, SnapshotLost
from mountfs.model import Span, Validator
from mountfs.transport import Body, Suffix

BIG = bytes(range(256)) * 64
SMALL = b"just a few bytes"


@pytest.fixture(scope="module")
def served() -> Iterator[Fakes]:
    with Fakes() as made:
        yield made


@pytest.fixture
def fakes(served: Fakes) -> Fakes:
    store = served.store
    store.ranges, store.etags, store.suffix_refusal, store.long_suffix, store.empty = True, "strong", 416, 206, 416
    store.script.clear()
    served.kaizen.sessions.clear()
    served.clear_requests()
    return served


def opened(fakes: Fakes, data: bytes, want: Span | Suffix | None, times: int = 1, **more: Any) -> tuple[Body, bytes]:
    """The body and its bytes, of the last of several openings of one source."""
    fakes.kaizen.add("s", data)

    async def main() -> tuple[Body, bytes]:
        async with provider(fakes.kaizen) as made:
            source = made.zip_source("s")
            for _ in range(times):
                async with source.open(want, deadline=soon(), **more) as body:
                    got = body, await body.read(1 << 20)
            return got

    return run(main)


@pytest.mark.parametrize("data", [BIG, SMALL, b""], ids=["big", "small", "empty"])
@pytest.mark.parametrize("ranges", [True, "no-suffix", False])
@pytest.mark.parametrize("refusal", [200, 400, 416])
@pytest.mark.parametrize("long_suffix", [206, 416])
@pytest.mark.parametrize("empty", [200, 206, 416])
def test_a_suffix_works_on_every_store(
    fakes: Fakes, data: bytes, ranges: Any, refusal: Any, long_suffix: Any, empty: Any
) -> None:
    """The tail or everything, never anything else; the length is known; at most four requests."""
    store = fakes.store
    store.ranges, store.suffix_refusal, store.long_suffix, store.empty = ranges, refusal, long_suffix, empty
    body, got = opened(fakes, data, Suffix(1000))
    assert got in {data[-1000:], data}
    assert body.start == len(data) - len(got)
    assert body.total == len(data)
    if body.partial and data:
        assert got == data[-1000:]
    assert len(store.requests) <= 4
    assert fakes.store.leaks() == []


def test_a_store_with_ranges_costs_one_request(fakes: Fakes) -> None:
    """The good case."""
    body, _ = opened(fakes, BIG, Suffix(1000))
    assert body.partial
    assert [request.range for request in fakes.store.requests] == ["bytes=-1000"]


@pytest.mark.parametrize("refusal", [400, 416])
def test_a_store_without_suffixes_is_remembered(fakes: Fakes, refusal: Any) -> None:
    """Its 416 tells the length; after a 400 the first byte does. The suffix is not tried again."""
    fakes.store.ranges, fakes.store.suffix_refusal = "no-suffix", refusal
    opened(fakes, BIG, Suffix(1000), times=2)
    tail = f"bytes={len(BIG) - 1000}-{len(BIG) - 1}"
    first = ["bytes=-1000", tail] if refusal == 416 else ["bytes=-1000", "bytes=0-0", tail]
    assert [request.range for request in fakes.store.requests] == [*first, "bytes=0-0", tail]


def test_an_encoded_tail_becomes_the_whole(fakes: Fakes) -> None:
    """There are no ranges of what is encoded."""
    fakes.store.inject(Gzip(), times=None)
    body, got = opened(fakes, BIG, Suffix(1000))
    assert got == BIG
    assert body.encoded
    body, got = opened(fakes, BIG, Span(0, 10))
    assert got == BIG


def test_an_archive_that_became_shorter_is_lost(fakes: Fakes) -> None:
    """Its old offsets lead nowhere; also without a pin."""
    with pytest.raises(SnapshotLost):
        opened(fakes, SMALL, Span(100, 200))
    with pytest.raises(SnapshotLost):
        opened(fakes, BIG, Span(100, 200), pin=Validator(etag='"old"'))


def test_a_change_within_the_sequence_is_noticed(fakes: Fakes) -> None:
    """Each step carries the pin."""
    fakes.store.ranges, fakes.store.suffix_refusal = "no-suffix", 400
    fakes.store.inject(changed_etag(), times=None)
    with pytest.raises(SnapshotLost):
        opened(fakes, BIG, Suffix(1000), pin=Validator(etag='"old"'))


def test_a_source_heals(fakes: Fakes) -> None:
    """After a refusal of the API the next opening asks again."""
    fakes.kaizen.add("s", BIG).pending = 1

    async def main() -> None:
        async with provider(fakes.kaizen) as made:
            source = made.zip_source("s")
            with pytest.raises(NotReady):
                async with source.open(deadline=soon()):
                    pytest.fail("a body")
            async with source.open(deadline=soon()) as body:
                assert await body.read(1 << 20) == BIG

    run(main)
