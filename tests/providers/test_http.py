"""The declarative provider: each example of the documents against a fake of its service, and the language's edges."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from clients import around, network, run, soon
from pydantic import ValidationError

from mountfs.config.schema import ProviderSettings
from mountfs.config.secret import Secret
from mountfs.demo.bodies import RangeRules, serve
from mountfs.demo.fake import Fake, Handler, as_json
from mountfs.demo.server import Fakes
from mountfs.demo.steps import Answer
from mountfs.demo.store import FakeObject, FakeStore
from mountfs.demo.wire import Ask, Reply, plain
from mountfs.errors import (
    Absent,
    BadAnswer,
    ConfigError,
    KeyRejected,
    ListingTooLarge,
    ListingUnsupported,
    NoKey,
    NotReady,
    RequestRefused,
    ServiceFailed,
)
from mountfs.model import Phase, SessionInfo, Span
from mountfs.providers.http import Http, HttpOptions
from mountfs.providers.language import fill, fill_value, pick
from mountfs.transport import Suffix

T = TypeVar("T")
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
DATA = bytes(range(256)) * 50
KEY = "http-KEYSECRET-42"


class FakeOther(Fake):
    """One of the five services by its column of providers.md §5: its routes under a path, its key's header."""

    key = KEY

    def __init__(self, name: str, store: FakeStore) -> None:
        super().__init__()
        self.name = name
        self.store = store
        self.state = "completed"
        self.page_size = 2

    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        tables: dict[str, tuple[tuple[str, str, Handler], ...]] = {
            "steel": (
                ("GET", "/v1/sessions/{id}/files.zip", self._zip),
                ("GET", "/v1/sessions", self._cursor),
                ("GET", "/v1/sessions/{id}", self._one),
            ),
            "hyperbrowser": (
                ("GET", "/api/session/{id}/downloads-url", self._signed),
                ("GET", "/api/sessions", self._numbered),
                ("GET", "/api/session/{id}", self._one),
            ),
            "kernel": (
                ("GET", "/browsers/{id}/fs/download_dir_zip", self._directory),
                ("GET", "/browsers", self._by_headers),
                ("GET", "/browsers/{id}", self._one),
            ),
            "github-actions": (
                ("GET", "/repos/OWNER/REPO/actions/artifacts/{id}/zip", self._redirect),
                ("GET", "/repos/OWNER/REPO/actions/artifacts", self._artifacts),
                ("GET", "/repos/OWNER/REPO/actions/artifacts/{id}", self._one),
            ),
            "gitlab": (
                ("GET", "/api/v4/projects/12345/jobs/{id}/artifacts", self._zip),
                ("GET", "/api/v4/projects/12345/jobs", self._pages_by_header),
                ("GET", "/api/v4/projects/12345/jobs/{id}", self._one),
            ),
        }
        return tables[self.name]

    def error_body(self, status: int, text: str) -> dict[str, object]:
        return {"message": text}

    def _facts(self, session_id: str) -> dict[str, Any]:
        session = self.sessions[session_id]
        numbered = self.name in {"github-actions", "gitlab"}
        name = "session_id" if self.name == "kernel" else "id"
        facts = {name: int(session_id) if numbered else session_id, "created_at": "2026-01-01T00:00:00Z"}
        return facts | ({"status": session.status} if session.status else {})

    def _keyed(self, ask: Ask) -> bool:
        return KEY in " ".join(ask.headers.values())

    def _page(self, start: int) -> list[dict[str, Any]]:
        return [self._facts(each) for each in list(self.sessions)[start : start + self.page_size]]

    def _one(self, ask: Ask) -> Reply:
        if not self._keyed(ask):
            return self.error(401, "bad key")
        found = ask.params["id"]
        return as_json(self._facts(found)) if found in self.sessions else self.error(404, "nothing there")

    def _zip(self, ask: Ask) -> Reply:
        if ask.params["id"] not in self.sessions:
            return self.error(404, "nothing there")
        return serve(self.sessions[ask.params["id"]].content(), ask, RangeRules(ranges=False), kind="application/zip")

    def _directory(self, ask: Ask) -> Reply:
        return self._zip(ask) if ask.first("path") == "/home/kernel/downloads" else self.error(400, "which path")

    def _signed(self, ask: Ask) -> Reply:
        url = self.store.sign("h.zip", FakeObject(self.sessions[ask.params["id"]].content))
        return as_json({"status": self.state} | ({"downloadsUrl": url} if self.state == "completed" else {}))

    def _redirect(self, ask: Ask) -> Reply:
        url = self.store.sign("a.zip", FakeObject(self.sessions[ask.params["id"]].content))
        return plain(302, headers={"location": url})

    def _cursor(self, ask: Ask) -> Reply:
        start = int(ask.first("cursorId", "0"))
        more = start + self.page_size < len(self.sessions)
        return as_json({"sessions": self._page(start), "nextCursor": str(start + self.page_size) if more else None})

    def _numbered(self, ask: Ask) -> Reply:
        start = (int(ask.first("page")) - 1) * self.page_size
        return as_json({"sessions": self._page(start), "totalCount": len(self.sessions)})

    def _artifacts(self, ask: Ask) -> Reply:
        start = (int(ask.first("page")) - 1) * self.page_size
        return as_json({"artifacts": self._page(start), "total_count": len(self.sessions)})

    def _by_headers(self, ask: Ask) -> Reply:
        start = int(ask.first("offset", "0"))
        more = start + self.page_size < len(self.sessions)
        head = {"X-Has-More": str(more).lower(), "X-Next-Offset": str(start + self.page_size)}
        return as_json(self._page(start), headers=head)

    def _pages_by_header(self, ask: Ask) -> Reply:
        page = int(ask.first("page", "1"))
        more = page * self.page_size < len(self.sessions)
        return as_json(self._page((page - 1) * self.page_size), headers={"X-Next-Page": str(page + 1) if more else ""})


class Others(Fakes):
    """The five, served beside the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.others = {path.stem: FakeOther(path.stem, self.store) for path in EXAMPLES.glob("*.toml")}

    @property
    def all(self) -> tuple[Fake, ...]:
        return (*super().all, *self.others.values())


@pytest.fixture(scope="module")
def served() -> Iterator[Others]:
    with Others() as made:
        yield made


@pytest.fixture(params=sorted(path.stem for path in EXAMPLES.glob("*.toml")))
def other(served: Others, request: pytest.FixtureRequest) -> FakeOther:
    fake = served.others[request.param]
    served.store.ranges, served.store.suffix_refusal = True, 416
    fake.sessions.clear()
    fake.script.clear()
    fake.state = "completed"
    served.clear_requests()
    return fake


def example(fake: FakeOther) -> tuple[str, dict[str, Any]]:
    """The provider's name and table of the service's example file, pointed at the fake."""
    ((name, table),) = tomllib.loads((EXAMPLES / f"{fake.name}.toml").read_text())["providers"].items()
    return name, table


def declared(fake: FakeOther, *, key: str | None = KEY, **changes: Any) -> Http:
    name, table = example(fake)
    common = {"type", "base_url", "api_key_env"}
    base = fake.url + "/" + table["base_url"].split("/", 3)[3] if table["base_url"].count("/") > 2 else fake.url
    extra = {word: value for word, value in table.items() if word not in common} | changes
    settings = ProviderSettings(name, "http", base, Secret(key) if key else None, extra=extra)
    return Http.from_settings(settings, network(), around())


def using(made: Http, question: Callable[[Http], Awaitable[T]]) -> T:
    async def main() -> T:
        async with made:
            return await question(made)

    return run(main)


def test_every_example_lists_all_pages(other: FakeOther) -> None:
    """Each service pages in a way of its own."""
    for number in range(101, 106):
        other.add(str(number))
    found = using(declared(other), lambda made: made.sessions(deadline=soon()))
    assert [info.id for info in found] == ["101", "102", "103", "104", "105"]
    assert found[0].created == 1_767_225_600.0
    assert len(other.requests) in {3, 4}


def test_every_example_reads_its_archive(other: FakeOther, served: Others) -> None:
    """In its form; and no other origin sees the key."""
    other.add("101", DATA)

    async def question(made: Http) -> bytes:
        async with made.zip_source("101").open(deadline=soon()) as body:
            return await body.read(1 << 20)

    assert using(declared(other), question) == DATA
    assert KEY in str(other.requests[0].headers)
    assert all(KEY not in str(request.headers) for request in served.store.requests)


def test_every_example_asks_about_one_session(other: FakeOther) -> None:
    """What is final is the example's word."""
    _, table = example(other)
    ended, live = other.add("101"), other.add("102")
    ended.status = "" if table["terminal"] == ["*"] else table["terminal"][0]
    live.status = "running"

    async def question(made: Http) -> tuple[SessionInfo, SessionInfo]:
        return await made.session("101", deadline=soon()), await made.session("102", deadline=soon())

    first, second = using(declared(other), question)
    assert first.phase is Phase.TERMINAL
    assert second.phase is (Phase.TERMINAL if table["terminal"] == ["*"] else Phase.LIVE)
    with pytest.raises(Absent, match="nothing there"):
        using(declared(other), lambda made: made.session("999", deadline=soon()))
    with pytest.raises(KeyRejected):
        using(declared(other, key="wrong"), lambda made: made.session("101", deadline=soon()))


def test_github_redirects_to_storage_without_suffix_ranges(served: Others) -> None:
    """Ranges, but counted from the start; and the way through the API is taken once."""
    fake = served.others["github-actions"]
    fake.sessions.clear()
    fake.add("101", DATA)
    served.clear_requests()
    served.store.ranges, served.store.suffix_refusal = "no-suffix", 400

    async def question(made: Http) -> None:
        source = made.zip_source("101")
        for want, expected in ((Suffix(100), DATA[-100:]), (Span(5, 50), DATA[5:50])):
            async with source.open(want, deadline=soon()) as body:
                assert body.partial
                assert await body.read(1 << 20) == expected

    using(declared(fake), question)
    served.store.ranges = True
    assert served.store.leaks() == []


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("pending", NotReady),
        ("in_progress", NotReady),
        ("not_enabled", Absent),
        ("failed", ServiceFailed),
        ("something_new", BadAnswer),
    ],
)
def test_a_state_inside_a_200_counts(served: Others, state: str, error: type[Exception]) -> None:
    """An unknown one is no obstacle; only the URL that is missing then is."""
    fake = served.others["hyperbrowser"]
    fake.sessions.clear()
    fake.add("101", DATA)
    fake.state = state

    async def question(made: Http) -> None:
        async with made.zip_source("101").open(deadline=soon()):
            pytest.fail("a body")

    with pytest.raises(error):
        using(declared(fake), question)
    fake.state = "completed"


def test_without_a_question_about_one_the_archive_is_asked_for(served: Others) -> None:
    """Then what it gives is final, as Kaizen's."""
    fake = served.others["steel"]
    fake.sessions.clear()
    fake.add("101", DATA)
    _, table = example(fake)
    name, base = "steel", fake.url
    extra = {"archive": table["archive"]}
    made = Http.from_settings(ProviderSettings(name, "http", base, Secret(KEY), extra=extra), network(), around())
    assert not made.has_status
    assert not made.listing
    assert using(made, lambda made: made.session("101", deadline=soon())).phase is Phase.TERMINAL
    made = Http.from_settings(ProviderSettings(name, "http", base, Secret(KEY), extra=extra), network(), around())
    with pytest.raises(Absent):
        using(made, lambda made: made.session("102", deadline=soon()))
    with pytest.raises(ListingUnsupported, match="no list is configured"):
        using(made, lambda made: made.sessions(deadline=soon()))


def test_status_codes_can_be_said_anew(served: Others) -> None:
    """A service that says 400 for "later", and one without keys."""
    fake = served.others["steel"]
    fake.add("101", DATA)
    codes = {"not_ready": [400]}
    cases: tuple[tuple[dict[str, Any], type[Exception]], ...]
    cases = (({}, RequestRefused), ({"status_codes": codes}, NotReady))
    for changes, error in cases:
        fake.fail_next(400)
        with pytest.raises(error):
            using(declared(fake, **changes), lambda made: made.session("101", deadline=soon()))
    with pytest.raises(NoKey):
        using(declared(fake, key=None), lambda made: made.session("101", deadline=soon()))
    with pytest.raises(KeyRejected):
        using(declared(fake, key=None, auth_header=""), lambda made: made.session("101", deadline=soon()))


def test_a_list_without_end_is_refused(served: Others) -> None:
    """A cursor that goes in a circle, or pages for ever."""
    fake = served.others["steel"]
    served.clear_requests()
    fake.inject(Answer(200, {"sessions": [{"id": "a"}], "nextCursor": "same"}), times=None)
    found = using(declared(fake), lambda made: made.sessions(deadline=soon()))
    assert [info.id for info in found] == ["a"]
    assert len(fake.requests) <= 3
    fake.script.clear()
    many = [{"id": f"s{number}"} for number in range(60_000)]
    fake.inject(Answer(200, {"sessions": many, "nextCursor": "x"}))
    fake.inject(Answer(200, {"sessions": many, "nextCursor": "y"}))
    with pytest.raises(ListingTooLarge):
        using(declared(fake), lambda made: made.sessions(deadline=soon()))
    fake.script.clear()


ARCHIVE = {"path": "/s/{id}.zip"}


@pytest.mark.parametrize(
    ("extra", "place"),
    [
        ({}, "archive"),
        ({"archive": {"path": "/s.zip"}}, "archive"),
        ({"archive": {"path": "s/{id}"}}, "archive.path"),
        ({"archive": {"path": "/s/{id}", "form": "signed"}}, "archive"),
        ({"archive": {"path": "/s/{id}", "url": "/u"}}, "archive"),
        ({"archive": {"path": "/s/{id}", "form": "signed", "url": "u"}}, "archive.url"),
        ({"archive": {"path": "/s/{id}", "form": "zip"}}, "archive.form"),
        ({"archive": ARCHIVE, "auth_header": "a b"}, "auth_header"),
        ({"archive": ARCHIVE, "auth_template": "Bearer"}, "auth_template"),
        ({"archive": ARCHIVE, "auth_template": "{key}{other}"}, "auth_template"),
        (
            {"archive": ARCHIVE, "listing": {"path": "/s", "paging": {"kind": "cursor", "parameter": "c"}}},
            "listing.paging",
        ),
        (
            {"archive": ARCHIVE, "listing": {"path": "/s", "paging": {"kind": "header", "parameter": "c"}}},
            "listing.paging",
        ),
        ({"archive": ARCHIVE, "status_codes": {"absent": [500]}}, "status_codes.absent"),
        ({"archive": ARCHIVE, "colour": "red"}, "colour"),
    ],
)
def test_mistakes_are_named(extra: dict[str, Any], place: str) -> None:
    """Table and key, before anything is asked."""
    with pytest.raises(ValidationError):
        HttpOptions(**extra)
    with pytest.raises(ConfigError, match=re.escape(f"providers.x.{place}")) as caught:
        Http.from_settings(ProviderSettings("x", "http", "https://x.example", extra=extra), network(), around())
    assert "Error" not in str(caught.value)


def test_a_base_url_is_needed() -> None:
    """There is no service it could be by default."""
    with pytest.raises(ConfigError, match="base_url"):
        Http.from_settings(ProviderSettings("x", "http", extra={"archive": ARCHIVE}), network(), around())


def test_the_archive_request_addresses_the_content() -> None:
    """Another query is another content."""

    def key(**changes: Any) -> str:
        extra = {"archive": ARCHIVE | changes}
        made = ProviderSettings("x", "http", "https://x.example", Secret(KEY), extra=extra)
        return Http.from_settings(made, network(), around()).content_key

    assert key() == key()
    assert key() != key(query={"path": "/a"})
    assert KEY not in key()


def test_pointers_and_templates() -> None:
    """RFC 6901, and ids are encoded in paths alone."""
    data = {"a": [{"b/c": {"~": 1}}], "": 2}
    assert pick(data, "") is data
    assert pick(data, "/a/0/b~1c/~0") == 1
    assert pick(data, "/") == 2
    assert pick(data, "/a/1") is None
    assert pick(data, "/a/x") is None
    assert pick(data, "/a/0/b~1c/~0/deeper") is None
    assert fill("/x/{id}/y", "a.b") == "/x/a.b/y"
    assert fill_value({"q": ["{id}", 7, {"z": "-{id}-"}]}, "s1") == {"q": ["s1", 7, {"z": "-s1-"}]}
