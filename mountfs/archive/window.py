"""How much to fetch when something is needed: pure decisions, no I/O, no clock of its own (design.md §5).

Three patterns are told apart:

*A lone member* costs its span, a lone read inside a big member costs the first window.

*A stream* (one reader going forward, or one member after its neighbour) earns a window that grows from 128 KiB to
8 MiB with every step: two-fold, more where a request waits long (GROWTH); at its largest, several windows are fetched
at a time, because one connection to an object store gives 50-90 MB/s whatever the line could carry. A jump inside a
member resets it: random reads grow nothing.

*A walk* (``cp -r``, ``grep -r``, ``tar``, ``rsync``) opens many members, in the order of directories, which need not
be the archive's. It is recognised by ``WALK_WEIGHT`` members (or 1 % of all) wanted within 2 s of *idle* time: time
in which nobody waits for us, since at 200 ms a request a walker that waits for each of its members gets through ten
in 2 s of wall time. A member whose directory was listed just before counts four-fold: listing, then opening what was
listed, is what a walk does; and two members in the order in which only a copy takes them are enough. Then whole aligned
chunks are fetched, gaps included, of 1 to 8 MiB (the longer a request waits, the larger the first), several at a time,
as long as what was fetched ahead stays in proportion to what was wanted: first those in which the walk's next members
are expected (``tree.route``), then all others from where it was met on.

Concurrency: synchronous state, used from the trio task thread only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from mountfs.model import Span

KIB, MIB = 1 << 10, 1 << 20
SMALL_ARCHIVE = 4 * MIB
FIRST_WINDOW = 128 * KIB
LAST_WINDOW = 8 * MIB
PARALLEL = 6
FAR = 0.03
FAR_PARALLEL = 12
"""Transfers at a time; more where the first byte takes longer than FAR seconds: six windows of 8 MiB at 200 ms and
50 MB/s a connection move 137 MB/s at most. The rest of max_connections (16) is for those who wait for something."""
GROWTH = ((0.1, 8), (0.03, 4), (0.0, 2))
"""(seconds to the first byte, factor): from where on a stream's window grows by how much a step. At 200 ms and 50 MB/s,
doubling would spend 1.2 s on waits in which 60 MB could have come."""
NEIGHBOUR_GAP = 64 * KIB
FIRST_CHUNK = MIB
FIRST_CHUNKS = ((0.1, 8 * MIB), (0.03, 4 * MIB), (0.0, FIRST_CHUNK))
"""(seconds to the first byte, bytes): a walk's first chunks, by the same reckoning."""
WALK_WEIGHT = 16
WALK_SHARE = 0.01
WALK_IDLE = 2.0
LISTED_WEIGHT = 4
FEWEST = 3
"""Listed members that make a walk of a small session: ``ls`` and one ``cat``, or a comparison of two, is none."""
AHEAD = 16
"""Bytes fetched ahead for one that was wanted, beyond a window for each transfer. At 4, a copy of 90 MB at 50 ms a
request had to wait after each file from the 60th on, when 55 MB were here."""
EQUAL_CHUNKS = 4
"""Chunks of a size that are fetched ahead before the next ones are twice as large."""
LOOKED_AHEAD = 256
"""Expected members looked at in one go: 10 us each, and most of a walk's small ones lie in chunks that are here."""


@dataclass(slots=True)
class Stream:
    """One forward motion: where it will go on (``edge``) and how much it earned so far."""

    edge: int = -1
    window: int = 0

    def step(self, need: Span, latency: float) -> int:
        """Bytes worth having beyond ``need``: 0 for a first or a random touch, the window for the next one in line.
        ``latency``: seconds to the first byte of a request."""
        if self.edge >= 0 and -NEIGHBOUR_GAP <= need.start - self.edge <= NEIGHBOUR_GAP:
            if need.stop > self.edge:
                factor = next(factor for least, factor in GROWTH if latency >= least)
                self.window = min(max(FIRST_WINDOW, self.window * factor), LAST_WINDOW)
                self.edge = need.stop
        else:
            self.window = 0
            self.edge = need.stop
        return self.window

    @property
    def at_largest(self) -> bool:
        """Whether it has earned several windows at a time."""
        return self.window >= LAST_WINDOW


class Walk:
    """Recognises a walk over a session by its recent opens."""

    def __init__(self, members: int) -> None:
        self._enough = min(WALK_WEIGHT, max(FEWEST * LISTED_WEIGHT, int(members * WALK_SHARE)))
        self._recent: deque[tuple[float, int, int]] = deque()
        self._seen: set[int] = set()
        self._weight = 0
        self._waiting = 0
        self._idle = 0.0
        self._since: float | None = None
        self.wanted = 0
        self.fetched = 0
        self.chunk = FIRST_CHUNK
        self._equal = 0
        self._cursor: int | None = None
        self._left = 0
        self._expected: Iterator[Span] | None = None

    def begin_wait(self, now: float) -> None:
        """Somebody starts to wait for bytes: the idle clock stops."""
        if self._waiting == 0 and self._since is not None:
            self._idle += now - self._since
        self._waiting += 1

    def end_wait(self, now: float) -> None:
        """The wait is over; idle time counts from here if it was the last one."""
        self._waiting -= 1
        if self._waiting == 0:
            self._since = now

    def _clock(self, now: float) -> float:
        if self._waiting or self._since is None:
            return self._idle
        return self._idle + now - self._since

    def open(self, member: int, span: Span, *, listed: bool, now: float, sure: bool = False) -> None:
        """A member is wanted. ``listed``: its directory was listed a short while ago; ``sure``: only a walk opens it
        right after the one before."""
        if member in self._seen:
            return
        self.wanted += min(span.size, LAST_WINDOW)  # one large member is no reason to fetch all others
        weight = self._enough if sure else LISTED_WEIGHT if listed else 1
        self._recent.append((self._clock(now), member, weight))
        self._seen.add(member)
        self._weight += weight
        if len(self._recent) > WALK_WEIGHT:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, member, weight = self._recent.popleft()
        self._seen.discard(member)
        self._weight -= weight

    def recent(self, member: int, now: float) -> bool:
        """Whether a member was opened within the last WALK_IDLE seconds of idle time."""
        horizon = self._clock(now) - WALK_IDLE
        while self._recent and self._recent[0][0] < horizon:
            self._drop_oldest()
        return member in self._seen

    def under_way(self, now: float) -> bool:
        """Whether a walk is going on."""
        self.recent(-1, now)
        if self._weight < self._enough:
            self.chunk = FIRST_CHUNK
            return False
        return True

    # -- what to fetch -------------------------------------------------------------------------------------------

    def chunks(self, need: Span, total: int) -> Span:
        """The aligned chunk(s) around ``need``; the next ones are larger."""
        size = self.chunk
        self.chunk = min(size * 2, LAST_WINDOW)
        return Span(need.start // size * size, min(total, -(-need.stop // size) * size))

    def turn(self, start: int, total: int, expected: Iterator[Span] | None, latency: float = 0.0) -> None:
        """The walk is where nobody expected it: it goes on to ``expected``. ``total``: the archive's length;
        ``latency``: seconds to the first byte of a request."""
        self._expected = expected
        if self._cursor is None:
            self.chunk = max(self.chunk, next(size for least, size in FIRST_CHUNKS if latency >= least))
            self._cursor, self._left = start // self.chunk * self.chunk, total

    def end(self) -> None:
        """Nothing is fetched ahead any more."""
        self._expected = self._cursor = None

    @property
    def running(self) -> bool:
        """Whether it has been met, and has not ended."""
        return self._cursor is not None

    def next_chunk(self, total: int, parallel: int, wanted: Callable[[Span], bool]) -> Span | None:
        """What to fetch ahead next, None if nothing. ``wanted``: whether any of a span is neither here nor on its
        way; ``parallel``: transfers at a time."""
        if self._cursor is None or self.fetched >= parallel * LAST_WINDOW + AHEAD * self.wanted:
            return None
        size = self.chunk
        for _ in range(LOOKED_AHEAD):
            if (chunk := self._expected_chunk(size, total, wanted)) is not None:
                return self._handed_out(chunk)
            if self._expected is None:
                break
        while self._left > 0:
            chunk = Span(self._cursor, min((self._cursor // size + 1) * size, total))
            self._left -= chunk.size
            self._cursor = 0 if chunk.stop >= total else chunk.stop
            if wanted(chunk):
                return self._handed_out(chunk)
        return None

    def _expected_chunk(self, size: int, total: int, wanted: Callable[[Span], bool]) -> Span | None:
        """The first chunk with a part of the next expected member that is wanted, None if it has none."""
        span = next(self._expected, None) if self._expected is not None else None
        if span is None:
            self._expected = None
            return None
        assert self._expected is not None
        at, stop = span.start, min(span.stop, total)
        while at < stop:
            chunk = Span(at // size * size, min((at // size + 1) * size, total))
            if wanted(Span(at, min(stop, chunk.stop))):
                if chunk.stop < stop:
                    self._expected = chain((Span(chunk.stop, stop),), self._expected)
                return chunk
            at = chunk.stop
        return None

    def _handed_out(self, chunk: Span) -> Span:
        self._equal += 1
        if self._equal >= EQUAL_CHUNKS:
            self._equal = 0
            self.chunk = min(self.chunk * 2, LAST_WINDOW)
        return chunk


def subtract(spans: list[Span], taken: list[Span]) -> list[Span]:
    """``spans`` without what ``taken`` covers; both may overlap and be unsorted, the answer is sorted and disjoint."""
    free: list[Span] = []
    for span in merge(spans):
        start = span.start
        for other in sorted(taken):
            if other.stop <= start or other.start >= span.stop:
                continue
            if other.start > start:
                free.append(Span(start, other.start))
            start = max(start, other.stop)
            if start >= span.stop:
                break
        if start < span.stop:
            free.append(Span(start, span.stop))
    return free


def merge(spans: list[Span]) -> list[Span]:
    """Sorted, disjoint, adjacent ones joined, empty ones left out."""
    merged: list[Span] = []
    for span in sorted(spans):
        if span.size <= 0:
            continue
        if merged and span.start <= merged[-1].stop:
            merged[-1] = Span(merged[-1].start, max(merged[-1].stop, span.stop))
        else:
            merged.append(span)
    return merged


def touch(a: Span, b: Span) -> bool:
    """Whether they share a byte."""
    return a.start < b.stop and b.start < a.stop
