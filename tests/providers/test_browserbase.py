"""Browserbase: the zip, and the files one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest
from clients import network, provider, run, settings, soon
from pydantic import ValidationError

from mountfs.demo.fake import FakeFile
from mountfs.demo.server import Fakes
from mountfs.demo.steps import Answer
from mountfs.errors import Absent, AccessDenied, ConfigError, KeyRejected, ServiceFailed
from mountfs.model import Phase, Span
from mountfs.providers import FileSource, Provider, ZipSource, make
from mountfs.providers.browserbase import BrowserbaseOptions

T = TypeVar("T")
ID = "0a1b2c3d-0000-4000-8000-000000000001"
DATA = b"%PDF-1.7 a report" * 500


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    with Fakes() as made:
        made.browserbase.add(ID, DATA).files = [
            FakeFile("f2", "report.pdf", DATA, 1_760_000_002.5),
            FakeFile("f1", "report.pdf", DATA[:100], 1_760_000_001.0),
            FakeFile("f3", "empty.txt", b"", 1_760_000_003.0),
        ]
        yield made


def using(fakes: Fakes, question: Callable[[Provider], Awaitable[T]], **extra: object) -> T:
    async def main() -> T:
        async with provider(fakes.browserbase, extra=extra) as made:
            return await question(made)

    return run(main)


def source(made: Provider) -> Awaitable[ZipSource | FileSource]:
    return made.source(ID, deadline=soon())


def test_five_thousand_sessions_are_one_list(fakes: Fakes) -> None:
    """A bare array, one request."""
    fakes.browserbase.populate(5000)

    async def main() -> int:
        # Making 3.5 MB of JSON takes the fake a second, or several on a loaded machine.
        async with provider(fakes.browserbase, net=network(read_timeout=25.0)) as made:
            return len(await made.sessions(deadline=soon(25.0)))

    assert run(main) == 5001
    assert len(fakes.browserbase.requests) == 1


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("PENDING", Phase.LIVE),
        ("RUNNING", Phase.LIVE),
        ("COMPLETED", Phase.TERMINAL),
        ("ERROR", Phase.TERMINAL),
        ("TIMED_OUT", Phase.TERMINAL),
        ("completed", Phase.TERMINAL),
        ("NEW_IN_2027", Phase.LIVE),
    ],
)
def test_statuses_are_live_or_terminal(fakes: Fakes, status: str, phase: Phase) -> None:
    """And the times are the session's."""
    fakes.browserbase.sessions[ID].status = status
    info = using(fakes, lambda made: made.session(ID, deadline=soon()))
    assert (info.phase, info.status) == (phase, status)
    assert (info.created, info.modified, info.ended) == (1_760_000_000.0, 1_760_000_100.0, 1_760_000_100.0)


def test_without_an_end_there_is_none(fakes: Fakes) -> None:
    """``endedAt`` is optional."""
    fakes.browserbase.sessions[ID].ended = None
    assert using(fakes, lambda made: made.session(ID, deadline=soon())).ended is None


def test_only_uuids_are_asked_for(fakes: Fakes) -> None:
    """An id of another form can be valid, pinned say, but is not worth a question."""
    made = provider(fakes.browserbase)
    assert made.worth_asking(ID)
    assert made.worth_asking(ID.upper())
    assert not made.worth_asking("sess_1")
    assert made.valid_id("sess_1")


def test_a_204_is_a_body_of_no_bytes(fakes: Fakes) -> None:
    """The layer above takes it for an empty archive."""
    fakes.browserbase.sessions[ID].answer = Answer(204)

    async def question(made: Provider) -> tuple[int, bytes, int | None]:
        async with made.zip_source(ID).open(deadline=soon()) as body:
            return body.status, await body.read(10), body.total

    assert using(fakes, question) == (204, b"", 0)


def test_a_redirect_to_storage_is_followed_without_the_key(fakes: Fakes) -> None:
    """And used again while it lasts: ranges do not go through the API each time."""
    fakes.browserbase.redirect = True

    async def question(made: Provider) -> None:
        archive = made.zip_source(ID)
        for start in range(5):
            async with archive.open(Span(start, start + 10), deadline=soon()) as body:
                assert await body.read(10) == DATA[start : start + 10]
        fakes.store.expire_all()
        async with archive.open(Span(0, 10), deadline=soon()) as body:
            assert await body.read(10) == DATA[:10]

    using(fakes, question)
    assert fakes.store.leaks() == []
    assert len(fakes.browserbase.requests) == 2
    assert [request.status for request in fakes.store.requests] == [206] * 5 + [403, 206]


def test_the_key_has_its_own_header(fakes: Fakes) -> None:
    """And no other."""
    using(fakes, lambda made: made.session(ID, deadline=soon()))
    headers = fakes.browserbase.requests[0].headers
    assert headers["x-bb-api-key"] == fakes.browserbase.key
    assert "authorization" not in headers


# -- the per-file API --------------------------------------------------------------------------------------------


def test_files_come_with_sizes_times_and_hashes_in_order_of_time(fakes: Fakes) -> None:
    """One request; equal names are told apart by who numbers them later."""
    found = using(fakes, source, files="api")
    assert isinstance(found, FileSource)
    assert [file.id for file in found.files] == ["f1", "f2", "f3"]
    first, second, empty = found.files
    assert (second.filename, second.size, second.created) == ("report.pdf", len(DATA), 1_760_000_002.5)
    assert second.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (first.size, empty.size) == (100, 0)


def test_a_file_is_read_by_its_id(fakes: Fakes) -> None:
    """Whole, or a part where the service gives parts."""

    async def question(made: Provider) -> tuple[bytes, bytes]:
        found = await made.source(ID, deadline=soon())
        assert isinstance(found, FileSource)
        async with found.open(found.files[1], deadline=soon()) as body:
            whole = await body.read(1 << 20)
        async with found.open(found.files[1], Span(5, 25), deadline=soon()) as body:
            part = await body.read(1 << 20)
            return whole, part if body.partial else part[5:25]

    assert using(fakes, question, files="api") == (DATA, DATA[5:25])
    fakes.browserbase.ranges = True
    assert using(fakes, question, files="api") == (DATA, DATA[5:25])


def test_every_page_is_fetched(fakes: Fakes) -> None:
    """A hundred at a time."""
    fakes.browserbase.sessions[ID].files = [FakeFile(f"f{n}", f"{n}.txt", b"x", float(n + 1)) for n in range(250)]
    found = using(fakes, source, files="api")
    assert isinstance(found, FileSource)
    assert [file.filename for file in found.files] == [f"{n}.txt" for n in range(250)]
    assert len(fakes.browserbase.requests) == 3


def test_records_that_cannot_be_read_are_left_out(fakes: Fakes) -> None:
    """A file without a size has no end; a hash that is none is no hash."""
    records: list[object] = [
        {"id": "a", "filename": "a", "size": 1, "checksum": "nonsense", "createdAt": None},
        {"id": "b", "filename": "b"},
        {"id": "c", "size": 1},
        {"filename": "d", "size": 1},
        {"id": "e", "filename": "e", "size": -1},
        {"id": "f", "filename": "f", "size": True},
        "text",
    ]
    fakes.browserbase.inject(Answer(200, {"downloads": records, "total": 7}))
    found = using(fakes, source, files="api")
    assert isinstance(found, FileSource)
    assert [(file.id, file.sha256, file.created) for file in found.files] == [("a", "", None)]


@pytest.mark.parametrize("status", [403, 404])
def test_auto_takes_the_zip_where_the_api_is_not_for_us(fakes: Fakes, status: int) -> None:
    """And does not ask for every session again; "api" says why not."""
    fakes.browserbase.files_api = status  # type: ignore[assignment]

    async def question(made: Provider) -> None:
        for _ in range(3):
            assert isinstance(await made.source(ID, deadline=soon()), ZipSource)

    using(fakes, question, files="auto")
    assert len(fakes.browserbase.requests) == 1
    with pytest.raises((AccessDenied, Absent), match="not enabled"):
        using(fakes, source, files="api")


def test_auto_takes_files_where_it_can(fakes: Fakes) -> None:
    """Other failures are failures, not a reason to change the form of a session."""
    assert isinstance(using(fakes, source, files="auto"), FileSource)
    fakes.browserbase.fail_next(500, times=9)
    with pytest.raises(ServiceFailed):
        using(fakes, source, files="auto")


def test_zip_is_the_default_and_asks_nothing(fakes: Fakes) -> None:
    """The documented way."""
    assert isinstance(using(fakes, source), ZipSource)
    assert fakes.browserbase.requests == []


def test_a_file_that_is_refused_has_the_services_reason(fakes: Fakes) -> None:
    """As every question."""

    async def question(made: Provider) -> None:
        found = await made.source(ID, deadline=soon())
        assert isinstance(found, FileSource)
        fakes.browserbase.fail_next(401)
        with pytest.raises(KeyRejected, match=f"session {ID}.*injected 401"):
            async with found.open(found.files[0], deadline=soon()):
                pytest.fail("a body")

    using(fakes, question, files="api")


# -- options -----------------------------------------------------------------------------------------------------


def test_options_shape_names_and_content(fakes: Fakes) -> None:
    """Another form of the files is another content."""
    made = provider(fakes.browserbase, extra={"clean_names": True})
    assert made.shape.clean_suffix
    assert not provider(fakes.browserbase).shape.clean_suffix
    assert made.content_key == provider(fakes.browserbase).content_key
    assert made.content_key != provider(fakes.browserbase, extra={"files": "api"}).content_key


@pytest.mark.parametrize("extra", [{"files": "zips"}, {"clean_names": "yes"}, {"path": 1}])
def test_wrong_options_are_refused(fakes: Fakes, extra: dict[str, object]) -> None:
    """By name."""
    with pytest.raises(ValidationError):
        BrowserbaseOptions(**extra)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"providers.browserbase.{next(iter(extra))}"):
        make(settings(fakes.browserbase, extra=extra), network())
