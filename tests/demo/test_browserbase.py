"""Fake Browserbase against providers.md §4."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import httpx
import pytest

from mountfs.demo.fake import EMPTY_ZIP, Fake, FakeFile, http_date
from mountfs.demo.server import Fakes
from mountfs.demo.steps import Answer

Auth = Callable[[Fake], dict[str, str]]
Get = Callable[[str], httpx.Response]
Zipper = Callable[[Mapping[str, bytes]], bytes]


@pytest.fixture
def get(fakes: Fakes, client: httpx.Client, auth: Auth) -> Get:
    return lambda path: client.get(fakes.browserbase.url + path, headers=auth(fakes.browserbase))


def test_the_list_is_a_bare_array_without_paging(fakes: Fakes, get: Get) -> None:
    """5,000 sessions in one answer."""
    fakes.browserbase.populate(5_000)
    listed = get("/v1/sessions").json()
    assert len(listed) == 5_000
    assert len({each["id"] for each in listed}) == 5_000


def test_a_session_has_secrets_among_its_facts(fakes: Fakes, get: Get) -> None:
    """``endedAt`` may be missing, the status unknown, any field left out."""
    session = fakes.browserbase.add("b1")
    session.ended = None
    session.status = "HIBERNATING"
    session.omit = frozenset({"region"})
    facts = get("/v1/sessions/b1").json()
    assert facts["status"] == "HIBERNATING"
    assert not {"endedAt", "region"} & set(facts)
    assert "CONNECTSECRET" in facts["connectUrl"]
    assert "SIGNINGSECRET" in facts["signingKey"]


def test_the_list_can_be_filtered_by_status(fakes: Fakes, get: Get) -> None:
    """``?status=`` keeps the sessions in that state."""
    fakes.browserbase.add("b1")
    fakes.browserbase.add("b2").status = "RUNNING"
    assert [each["id"] for each in get("/v1/sessions?status=RUNNING").json()] == ["b2"]


def test_an_empty_zip_comes_first_then_the_real_one(fakes: Fakes, get: Get, archive: bytes) -> None:
    """22 bytes with 200 while nothing is synced."""
    fakes.browserbase.add("b1", archive).pending = 1
    first, second = (get("/v1/sessions/b1/downloads") for _ in range(2))
    assert (first.status_code, first.content, len(first.content)) == (200, EMPTY_ZIP, 22)
    assert second.content == archive


def test_a_204_or_something_that_is_no_zip(fakes: Fakes, get: Get) -> None:
    """Both were seen."""
    fakes.browserbase.add("b1").answer = Answer(204)
    fakes.browserbase.add("b2").answer = Answer(200, b"%PDF-1.4\n", {"content-type": "application/pdf"})
    assert (get("/v1/sessions/b1/downloads").status_code, get("/v1/sessions/b1/downloads").content) == (204, b"")
    assert get("/v1/sessions/b2/downloads").content.startswith(b"%PDF")


def test_429_says_when_in_seconds_or_as_a_date(fakes: Fakes, get: Get, archive: bytes) -> None:
    """Then the answer comes."""
    fakes.browserbase.add("b1", archive)
    fakes.browserbase.fail_next(429, headers={"retry-after": "2", "x-ratelimit-remaining": "0"})
    fakes.browserbase.fail_next(429, headers={"retry-after": http_date(1_790_000_000)})
    answers = [get("/v1/sessions/b1/downloads") for _ in range(3)]
    assert [each.status_code for each in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "2"
    assert answers[1].headers["retry-after"].endswith("GMT")
    assert answers[0].json()["message"] == "injected 429"


def test_a_redirect_leads_to_another_origin(fakes: Fakes, client: httpx.Client, auth: Auth, archive: bytes) -> None:
    """httpx's own redirects would take the key along: the store sees it."""
    fakes.browserbase.add("b1", archive)
    fakes.browserbase.redirect = True
    place = f"{fakes.browserbase.url}/v1/sessions/b1/downloads"
    answer = client.get(place, headers=auth(fakes.browserbase))
    assert answer.status_code == 302
    assert client.get(answer.headers["location"]).content == archive
    assert fakes.store.leaks() == []
    assert client.get(place, headers=auth(fakes.browserbase), follow_redirects=True).content == archive
    assert fakes.store.leaks() == ["x-bb-api-key"]


def test_the_file_list_has_pages(fakes: Fakes, get: Get) -> None:
    """At most 100 a page; ``total`` says how many there are."""
    files = [FakeFile(f"f{number}", f"{number}.txt", b"%d" % number) for number in range(150)]
    fakes.browserbase.add("b1").files = files
    pages = [get(f"/v1/downloads?sessionId=b1&limit=100&offset={offset}").json() for offset in (0, 100)]
    assert [len(page["downloads"]) for page in pages] == [100, 50]
    assert {page["total"] for page in pages} == {150}
    assert get("/v1/downloads?sessionId=b1&limit=101").status_code == 400
    first = pages[0]["downloads"][0]
    assert (first["sessionId"], first["filename"], first["size"]) == ("b1", "0.txt", 1)
    assert first["checksum"] == hashlib.sha256(b"0").hexdigest()
    assert get("/v1/downloads/f7").content == b"7"
    assert get("/v1/downloads/none").status_code == 404


def test_files_are_the_archives_members_without_their_suffix(fakes: Fakes, get: Get, make_zip: Zipper) -> None:
    """Two downloads of one name have one ``filename``, two ids and two times."""
    members = {"a-1719265797164.pdf": b"first", "a-1719265797999.pdf": b"second", "plain.txt": b""}
    fakes.browserbase.add("b1", make_zip(members))
    listed = get("/v1/downloads?sessionId=b1").json()["downloads"]
    assert [each["filename"] for each in listed] == ["a.pdf", "a.pdf", "plain.txt"]
    assert [get(f"/v1/downloads/{each['id']}").content for each in listed] == list(members.values())
    assert listed[0]["createdAt"] == "2024-06-24T21:49:57.164Z"


@pytest.mark.parametrize("status", [403, 404])
def test_the_file_api_may_be_refused(fakes: Fakes, get: Get, archive: bytes, status: int) -> None:
    """Only select customers have it; the zip answers all the same."""
    fakes.browserbase.add("b1", archive)
    fakes.browserbase.files_api = status  # type: ignore[assignment]
    assert get("/v1/downloads?sessionId=b1").status_code == status
    assert get("/v1/downloads/x").status_code == status
    assert get("/v1/sessions/b1/downloads").status_code == 200


def test_refusals(fakes: Fakes, client: httpx.Client, get: Get) -> None:
    """401 without the key, 404 for no session, 403 for another's."""
    fakes.browserbase.add("b1").forbidden = True
    assert client.get(f"{fakes.browserbase.url}/v1/sessions").status_code == 401
    assert get("/v1/sessions/none").status_code == 404
    assert get("/v1/sessions/b1/downloads").status_code == 403
