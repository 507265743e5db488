"""How much is fetched when something is needed: pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountfs.archive.window import (
    AHEAD,
    EQUAL_CHUNKS,
    FIRST_CHUNK,
    FIRST_WINDOW,
    LAST_WINDOW,
    MIB,
    PARALLEL,
    Stream,
    Walk,
    subtract,
)
from mountfs.model import Span

STEP = 64 << 10


@pytest.mark.parametrize(("latency", "steps"), [(0.0, 7), (0.02, 7), (0.05, 4), (0.2, 3)])
def test_a_stream_grows_faster_where_requests_wait_long(latency: float, steps: int) -> None:
    """From the first window to the last; the first touch earns none, however far away the service is."""
    stream = Stream()
    assert stream.step(Span(0, STEP), latency) == 0
    windows = [stream.step(Span(at * STEP, (at + 1) * STEP), latency) for at in range(1, 12)]
    assert windows[0] == FIRST_WINDOW
    assert windows == sorted(windows)
    assert windows.index(LAST_WINDOW) + 1 == steps


def test_a_jump_earns_nothing() -> None:
    stream = Stream()
    for at in range(5):
        stream.step(Span(at * STEP, (at + 1) * STEP), 0.2)
    assert stream.step(Span(100 * MIB, 100 * MIB + STEP), 0.2) == 0


class Run:
    """A walk that has just been recognised in an archive of ``total`` bytes, and what it has fetched."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.walk = Walk(100)
        self.walk.wanted = total  # nothing is held back
        self.have: list[Span] = []

    def turn(self, start: int, expected: list[Span] | None = None, latency: float = 0.0) -> None:
        self.walk.turn(start, self.total, iter(expected) if expected is not None else None, latency)

    def next(self) -> Span | None:
        chunk = self.walk.next_chunk(self.total, PARALLEL, lambda span: bool(subtract([span], self.have)))
        if chunk is not None:
            assert subtract([chunk], self.have), "nothing of it was wanted"
            assert chunk.start % FIRST_CHUNK == 0
            assert chunk.stop % FIRST_CHUNK == 0 or chunk.stop == self.total
            self.have.append(chunk)
        return chunk

    def rest(self) -> list[Span]:
        return list(iter(self.next, None))


@given(st.integers(1, 300 * MIB), st.floats(0, 1))
def test_a_walk_fetches_everything_in_few_chunks(total: int, where: float) -> None:
    """From where it was met on, round to there again, each chunk once."""
    run = Run(total)
    assert run.next() is None  # it has not been met
    start = int(where * (total - 1))
    run.turn(start)
    chunks = run.rest()
    assert chunks[0].start <= start < chunks[0].stop
    assert subtract([Span(0, total)], chunks) == []
    assert len(chunks) <= total // LAST_WINDOW + 4 * EQUAL_CHUNKS + 2


@given(st.lists(st.integers(0, 99), min_size=1, max_size=60), st.integers(0, 99))
def test_expected_members_come_first(places: list[int], met: int) -> None:
    """In their order, each chunk once; then the rest."""
    run = Run(100 * MIB)
    expected = [Span(at * MIB + 5000, at * MIB + 9000) for at in places]
    run.turn(met * MIB, expected)
    chunks = run.rest()
    assert subtract([Span(0, run.total)], chunks) == []
    first_for = []
    for span in expected:
        number = next(at for at, chunk in enumerate(chunks) if chunk.start <= span.start < chunk.stop)
        first_for.append(number)
    assert first_for[0] == 0
    highest = -1
    for number in first_for:
        assert number <= highest + 1, "something nobody waits for came before it"
        highest = max(highest, number)


def test_a_member_larger_than_a_chunk_is_expected_from_its_start() -> None:
    run = Run(100 * MIB)
    run.turn(0, [Span(50 * MIB + 1, 53 * MIB), Span(7 * MIB, 7 * MIB + 1)])
    assert [run.next() for _ in range(4)] == [Span(at * MIB, (at + 1) * MIB) for at in (50, 51, 52, 7)]


def test_what_is_fetched_ahead_stays_in_proportion() -> None:
    """A head start, and so many times as much as was wanted."""
    run = Run(1000 * MIB)
    run.walk.wanted = 3 * MIB
    run.turn(0)
    while (chunk := run.next()) is not None:
        run.walk.fetched += chunk.size
    least = PARALLEL * LAST_WINDOW + AHEAD * 3 * MIB
    assert least <= run.walk.fetched < least + LAST_WINDOW


def test_a_walk_that_turns_goes_on_elsewhere() -> None:
    """What is expected changes; where all the rest begins does not."""
    run = Run(100 * MIB)
    run.turn(10 * MIB, [Span(20 * MIB, 20 * MIB + 1)])
    assert run.next() == Span(20 * MIB, 21 * MIB)
    run.turn(40 * MIB, [Span(60 * MIB, 60 * MIB + 1)])
    assert run.next() == Span(60 * MIB, 61 * MIB)
    assert run.next() == Span(10 * MIB, 11 * MIB)
    run.walk.end()
    assert run.next() is None


@pytest.mark.parametrize(("latency", "first", "most"), [(0.0, 1, 22), (0.05, 4, 15), (0.2, 8, 13)])
def test_a_walk_begins_with_larger_chunks_where_requests_wait_long(latency: float, first: int, most: int) -> None:
    run = Run(100 * MIB)
    run.turn(0, latency=latency)
    chunks = run.rest()
    assert chunks[0] == Span(0, first * MIB)
    assert len(chunks) <= most


def test_one_open_that_only_a_walk_makes_is_enough() -> None:
    """Else it takes four of a large session that were listed before, or sixteen."""
    for sure, listed, enough in ((True, True, 2), (False, True, 4), (False, False, 16)):
        walk = Walk(100_000)
        walk.open(0, Span(0, 1), listed=listed, now=0.0)
        opened = 1
        while not walk.under_way(0.0):
            walk.open(opened, Span(opened, opened + 1), listed=listed, now=0.0, sure=sure)
            opened += 1
        assert opened == enough


def test_a_large_member_buys_no_other() -> None:
    """Who reads one of 10 GB fetches no 160 GB ahead of a walk he may not be on."""
    walk = Walk(100)
    walk.open(0, Span(0, 10_000 * MIB), listed=True, now=0.0)
    assert walk.wanted <= LAST_WINDOW


def test_what_was_opened_long_ago_is_not_recent() -> None:
    walk = Walk(100)
    walk.begin_wait(0.0)
    walk.open(0, Span(0, 1), listed=True, now=0.0)
    walk.end_wait(1.0)
    assert walk.recent(0, 2.0)
    assert not walk.recent(1, 2.0)
    assert not walk.recent(0, 10.0)
