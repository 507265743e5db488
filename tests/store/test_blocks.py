"""``BlockMap`` against the plainest model there is: the set of bytes that were added."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mountfs.model import Span
from mountfs.store.blocks import BLOCK, BlockMap

_SIZE = 5 * BLOCK + 1000
_NEAR_EDGES = st.one_of(
    st.integers(0, _SIZE),
    st.builds(lambda block, off: min(_SIZE, max(0, block * BLOCK + off)), st.integers(0, 6), st.integers(-2, 2)),
)
_SPANS = st.builds(lambda a, b: Span(min(a, b), max(a, b)), _NEAR_EDGES, _NEAR_EDGES)


def _blocks_of(present: set[int], length: int | None) -> set[int]:
    """The blocks all of whose bytes (up to the length) are in ``present``."""
    whole = set()
    for block in range(-(-_SIZE // BLOCK)):
        stop = (block + 1) * BLOCK if length is None else min((block + 1) * BLOCK, length)
        if block * BLOCK < stop and all(byte in present for byte in range(block * BLOCK, stop)):
            whole.add(block)
    return whole


@settings(deadline=None)
@given(st.lists(_SPANS, max_size=8), st.booleans(), st.integers(0, 8), _SPANS)
def test_covers_is_exact_and_missing_is_its_block_aligned_complement(
    spans: list[Span], known: bool, when: int, asked: Span
) -> None:
    """Whatever is added in whatever order, a span is covered if all its bytes are, and gaps are whole blocks."""
    blocks = BlockMap()
    present: set[int] = set()
    marked: set[int] = set()
    length = None
    for number, span in enumerate([*spans, Span(0, 0)]):
        if known and number == min(when, len(spans)):
            length = _SIZE
            marked |= set(range(*blocks.set_length(_SIZE)))
        marked |= set(range(*blocks.add(span)))
        present |= set(range(*span))
    assert marked == _blocks_of(present, length)
    assert blocks.whole == len(marked)
    asked_bytes = set(range(*asked))
    assert blocks.covers(asked) == (asked_bytes <= present)
    gaps = blocks.missing(asked)
    assert gaps == sorted(gaps)
    assert asked_bytes - present <= {byte for gap in gaps for byte in range(*gap)}
    for gap in gaps:
        assert gap.start % BLOCK == 0
        assert gap.stop % BLOCK == 0 or gap.stop == length
        assert not marked & set(range(gap.start // BLOCK, gap.stop // BLOCK))


@settings(deadline=None)
@given(st.lists(_SPANS, max_size=5), _SPANS, st.lists(_SPANS, max_size=3))
def test_what_is_forgotten_is_missing_until_it_is_added_again(
    spans: list[Span], forgotten: Span, again: list[Span]
) -> None:
    """Forgetting takes whole blocks, edges included, and adding them again works as the first time."""
    blocks = BlockMap(_SIZE)
    for span in spans:
        blocks.add(span)
    blocks.forget(forgotten)
    touched = range(forgotten.start // BLOCK, -(-forgotten.stop // BLOCK))
    for block in touched:
        assert not blocks.covers(Span(block * BLOCK, min(block * BLOCK + 1, _SIZE)))
    for span in again:
        blocks.add(span)
        assert blocks.covers(span)
    assert blocks.whole == blocks._present.count(1)


def test_a_torn_map_page_invents_no_blocks() -> None:
    """Only the value 1 means present: zeros, ones of other widths and noise do not."""
    blocks = BlockMap(present=bytes([1, 0, 255, 2, 1]))
    assert blocks.missing(Span(0, 6 * BLOCK)) == [Span(BLOCK, 4 * BLOCK), Span(5 * BLOCK, 6 * BLOCK)]
    assert blocks.whole == 2


def test_nothing_is_missing_beyond_the_end() -> None:
    """A span that reaches beyond the length is complete when all up to the length is here."""
    blocks = BlockMap(100)
    assert blocks.missing(Span(0, 1 << 40)) == [Span(0, 100)]
    blocks.add(Span(0, 100))
    assert blocks.missing(Span(0, 1 << 40)) == []
    assert blocks.present_bytes == 100
    assert BlockMap(0).missing(Span(0, 10)) == []


def test_present_bytes_counts_the_short_last_block_as_it_is() -> None:
    """The last block counts with the bytes it has, and only when it is here."""
    blocks = BlockMap(BLOCK + 10)
    blocks.add(Span(0, BLOCK))
    assert blocks.present_bytes == BLOCK
    blocks.add(Span(BLOCK, BLOCK + 10))
    assert blocks.present_bytes == BLOCK + 10
