"""Kaizen: signed URLs, their lives and deaths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
import trio
from clients import around, provider, run, soon

from mountfs.demo.server import Fakes
from mountfs.demo.steps import Answer
from mountfs.errors import Absent, ArchiveHostRefused, BadAnswer, SnapshotLost
from mountfs.model import Phase, Span
from mountfs.providers import Provider, ZipSource
from mountfs.transport import Suffix

T = TypeVar("T")
DATA = bytes(range(256)) * 100


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def fakes(wall: Wall) -> Iterator[Fakes]:
    with Fakes(wall=wall) as made:
        made.kaizen.add("s1", DATA)
        yield made


def using(fakes: Fakes, wall: Wall, question: Callable[[Provider], Awaitable[T]], **changes: Any) -> T:
    async def main() -> T:
        async with provider(fakes.kaizen, env=around(wall=wall), **changes) as made:
            return await question(made)

    return run(main)


async def read(source: ZipSource, want: Span | Suffix | None = None, **more: object) -> bytes:
    async with source.open(want, deadline=soon(), **more) as body:  # type: ignore[arg-type]
        return await body.read(1 << 20)


def minted(fakes: Fakes) -> int:
    return sum("getFileArchiveUrl" in request.path for request in fakes.kaizen.requests)


@pytest.mark.parametrize("style", ["aws", "gcs", "r2", "azure", "expires", "opaque"])
def test_a_url_is_used_until_it_expires(fakes: Fakes, wall: Wall, style: str) -> None:
    """By what it says itself; one that says nothing for a minute. Then another is minted, before it is refused."""
    fakes.store.style = style  # type: ignore[assignment]
    life = 60 if style == "opaque" else fakes.store.lifetime

    async def question(made: Provider) -> None:
        source = made.zip_source("s1")
        for _ in range(3):
            assert await read(source, Span(0, 10)) == DATA[:10]
        assert minted(fakes) == 1
        wall.now += life - 10
        await read(source, Span(0, 10))
        assert minted(fakes) == 1
        wall.now += 10
        await read(source, Span(0, 10))
        assert minted(fakes) == 2

    using(fakes, wall, question)
    assert {request.status for request in fakes.store.requests} == {206}
    assert fakes.store.leaks() == []


@pytest.mark.parametrize("style", ["aws", "aws-role", "gcs", "r2", "azure", "opaque"])
@pytest.mark.parametrize("want", [None, Span(0, 50), Suffix(50)])
def test_a_refused_url_is_minted_again_once(fakes: Fakes, wall: Wall, style: str, want: Span | Suffix | None) -> None:
    """400, 401, 403 and 404 of the archive host look alike from store to store."""
    fakes.store.style = style  # type: ignore[assignment]

    async def question(made: Provider) -> None:
        source = made.zip_source("s1")
        await read(source)
        fakes.store.expire_all()
        expected = {None: DATA, Span(0, 50): DATA[:50], Suffix(50): DATA[-50:]}[want]
        assert await read(source, want) == expected

    using(fakes, wall, question)
    assert minted(fakes) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_freshly_minted_url_that_is_refused_is_an_error(fakes: Fakes, wall: Wall, status: int) -> None:
    """After two: it is not the key's fault, and not the session's."""
    fakes.store.inject(Answer(status, "<Error><Code>Nope</Code></Error>"), times=None)
    with pytest.raises(ArchiveHostRefused, match=f"answered {status} \\(Nope\\)") as caught:
        using(fakes, wall, lambda made: read(made.zip_source("s1")))
    assert caught.value.status == status
    assert minted(fakes) == 2


def test_another_object_after_minting_is_not_joined(fakes: Fakes, wall: Wall) -> None:
    """The pin guards it."""
    fakes.kaizen.on_mint = lambda _session, number: DATA if number == 0 else DATA[::-1]

    async def question(made: Provider) -> None:
        source = made.zip_source("s1")
        async with source.open(Suffix(10), deadline=soon()) as body:
            pin = body.validator
        fakes.store.expire_all()
        with pytest.raises(SnapshotLost):
            await read(source, Span(0, 10), pin=pin)

    using(fakes, wall, question)


def test_the_lookup_that_found_a_session_has_its_url(fakes: Fakes, wall: Wall) -> None:
    """The question is the same, so it is asked once."""

    async def question(made: Provider) -> None:
        assert (await made.session("s1", deadline=soon())).phase is Phase.TERMINAL
        assert await read(made.zip_source("s1")) == DATA

    using(fakes, wall, question)
    assert minted(fakes) == 1


def test_tasks_that_find_it_expired_share_one_new_url(fakes: Fakes, wall: Wall) -> None:
    """Sixteen ranges at once must not mint sixteen times."""

    async def question(made: Provider) -> None:
        source = made.zip_source("s1")
        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(read, source, Span(number, number + 10))

    using(fakes, wall, question)
    assert minted(fakes) == 1


def test_most_sessions_have_no_archive(fakes: Fakes, wall: Wall) -> None:
    """Session or archive: the service does not tell which is missing."""
    fakes.kaizen.add("s2").archived = False
    with pytest.raises(Absent, match="no file archive exists"):
        using(fakes, wall, lambda made: made.session("s2", deadline=soon()))


@pytest.mark.parametrize("answer", [{}, {"downloadUrl": None}, {"downloadUrl": ""}, {"downloadUrl": 7}, []])
def test_an_answer_without_a_url_is_a_bad_answer(fakes: Fakes, wall: Wall, answer: dict[str, object]) -> None:
    """Not an empty archive."""
    fakes.kaizen.inject(Answer(200, answer))
    with pytest.raises(BadAnswer):
        using(fakes, wall, lambda made: read(made.zip_source("s1")))


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "file:///etc/passwd", "//x/y", "not a url", "https://[::1", "http://ex.org/"]
)
def test_a_url_that_leads_nowhere_good_is_refused(fakes: Fakes, wall: Wall, url: str) -> None:
    """Before anything is sent."""
    fakes.kaizen.download_url = url
    with pytest.raises(BadAnswer):
        using(fakes, wall, lambda made: read(made.zip_source("s1")))


@pytest.mark.parametrize("envelope", ["executions", "data", "items", None])
def test_executions_are_the_list_whatever_their_envelope(fakes: Fakes, wall: Wall, envelope: str | None) -> None:
    """The latest first; a session that ran twice is one session."""
    fakes.kaizen.envelope = envelope  # type: ignore[assignment]
    fakes.kaizen.add("s2").started = 1_770_000_000.0
    fakes.kaizen.add("again").extra = {"sessionId": "s1", "startTime": "2020-01-01T00:00:00Z"}

    async def question(made: Provider) -> list[str]:
        return [info.id for info in await made.sessions(deadline=soon())]

    assert using(fakes, wall, question, list=True) == ["s2", "s1"]
