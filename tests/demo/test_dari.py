"""Fake Dari against providers.md §3."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping

import httpx
import pytest

from mountfs.demo.fake import Fake
from mountfs.demo.server import Fakes

Auth = Callable[[Fake], dict[str, str]]
Get = Callable[[str], httpx.Response]
Zipper = Callable[[Mapping[str, bytes]], bytes]


@pytest.fixture
def get(fakes: Fakes, client: httpx.Client, auth: Auth) -> Get:
    return lambda path: client.get(fakes.dari.url + path, headers=auth(fakes.dari))


def test_the_workspace_is_one_chunked_zip(fakes: Fakes, get: Get, archive: bytes) -> None:
    """No length, no ranges, no validator, unless switched on."""
    fakes.dari.add("s1", archive)
    answer = get("/v1/sessions/s1/workspace.zip")
    assert (answer.status_code, answer.content) == (200, archive)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert not {"content-length", "etag", "last-modified"} & set(answer.headers)
    fakes.dari.chunked = False
    fakes.dari.etags = "strong"
    answer = get("/v1/sessions/s1/workspace.zip")
    assert answer.headers["content-length"] == str(len(archive))
    assert "etag" in answer.headers


def test_409_carries_the_advice(fakes: Fakes, get: Get) -> None:
    """The text stands under ``detail``."""
    fakes.dari.add("s1").pending = 1
    answer = get("/v1/sessions/s1/workspace.zip")
    assert answer.status_code == 409
    assert "run the session first" in answer.json()["detail"]
    assert get("/v1/sessions/s1/workspace.zip").status_code == 200


def test_content_may_differ_on_every_call(fakes: Fakes, get: Get, make_zip: Zipper) -> None:
    """A live session's files move."""
    fakes.dari.add("s1").live = lambda number: make_zip({"n.txt": str(number).encode()})
    first, second = (get("/v1/sessions/s1/workspace.zip").content for _ in range(2))
    assert [zipfile.ZipFile(io.BytesIO(each)).read("n.txt") for each in (first, second)] == [b"0", b"1"]


@pytest.mark.parametrize("root", ["", "workspace/"])
@pytest.mark.parametrize("path", ["logs", "/workspace/logs", "logs/", "logs/deep"])
def test_paths_pick_directories(fakes: Fakes, get: Get, make_zip: Zipper, root: str, path: str) -> None:
    """With and without the root, and in every spelling of the same directory."""
    names = ["a.txt", "logs/b.log", "logs/deep/c.log", "out/d.txt"]
    fakes.dari.add("s1", make_zip({root + name: name.encode() for name in names}))
    answer = get(f"/v1/sessions/s1/workspace.zip?path={path}")
    kept = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    expected = [root + name for name in names if name.startswith(path.removeprefix("/workspace/").rstrip("/") + "/")]
    assert kept == expected


def test_path_is_repeatable(fakes: Fakes, get: Get, make_zip: Zipper) -> None:
    """Both directories come in one archive."""
    fakes.dari.add("s1", make_zip({"a/1": b"1", "b/2": b"2", "c/3": b"3"}))
    answer = get("/v1/sessions/s1/workspace.zip?path=a&path=/workspace/c")
    assert zipfile.ZipFile(io.BytesIO(answer.content)).namelist() == ["a/1", "c/3"]


@pytest.mark.parametrize("path", ["nowhere", "a.txt", "../etc", "", "/workspace"])
def test_a_bad_path_gets_400(fakes: Fakes, get: Get, archive: bytes, path: str) -> None:
    """Missing, not a directory, or invalid."""
    fakes.dari.add("s1", archive)
    assert get(f"/v1/sessions/s1/workspace.zip?path={path}").status_code == 400


def test_detail_may_be_a_list(fakes: Fakes, get: Get) -> None:
    """Validation errors are objects with a ``msg``."""
    fakes.dari.detail_list = True
    assert get("/v1/sessions/none").json()["detail"][0]["msg"] == "Session not found"


def test_refusals(fakes: Fakes, client: httpx.Client, get: Get) -> None:
    """401 for a bad key, 403 for another organisation's session, 404 for none."""
    fakes.dari.add("s1").forbidden = True
    assert client.get(f"{fakes.dari.url}/v1/sessions").status_code == 401
    assert get("/v1/sessions/s1").status_code == 403
    assert get("/v1/sessions/s1/workspace.zip").status_code == 403
    assert get("/v1/sessions/none/workspace.zip").status_code == 404


@pytest.mark.parametrize(
    ("listing", "sessions", "agents"), [("sessions", 200, 200), ("agents", 404, 200), (None, 404, 404)]
)
def test_the_list_route_may_be_missing(fakes: Fakes, get: Get, listing: str | None, sessions: int, agents: int) -> None:
    """Then the agents' fan-out answers, or nothing does."""
    fakes.dari.listing = listing  # type: ignore[assignment]
    fakes.dari.add("s1")
    fakes.dari.add("s2").agent = "agent_other"
    assert get("/v1/sessions").status_code == sessions
    assert get("/v1/agents").status_code == agents
    assert get("/v1/sessions/s1").status_code == 200
    if agents == 200:
        names = [each["id"] for each in get("/v1/agents").json()["agents"]]
        found = [each["id"] for name in names for each in get(f"/v1/agents/{name}/sessions").json()["sessions"]]
        assert sorted(found) == ["s1", "s2"]


def test_a_listed_session_has_a_status_and_one_time(fakes: Fakes, get: Get) -> None:
    """``created_at`` is the only time; a session may be listed though it is gone, or be left out."""
    fakes.dari.add("s1").status = "idle"
    fakes.dari.add("s2").gone = True
    fakes.dari.add("s3").listed = False
    listed = get("/v1/sessions").json()["sessions"]
    assert [(each["id"], each["status"]) for each in listed] == [("s1", "idle"), ("s2", "completed")]
    assert {name for name in listed[0] if name.endswith("_at")} == {"created_at"}
    assert get("/v1/sessions/s2").status_code == 404
    assert get("/v1/sessions/s3").status_code == 200


def test_removed_is_404_on_everything(fakes: Fakes, get: Get) -> None:
    """As the vendor did in August."""
    fakes.dari.add("s1")
    fakes.dari.removed = True
    assert {get(path).status_code for path in ("/v1/sessions", "/v1/agents", "/v1/sessions/s1", "/else")} == {404}
