"""Fake Kaizen against providers.md §2."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from mountfs.demo import steps
from mountfs.demo.fake import Fake
from mountfs.demo.server import Fakes

Auth = Callable[[Fake], dict[str, str]]


@pytest.fixture
def mint(fakes: Fakes, client: httpx.Client, auth: Auth) -> Callable[[str], httpx.Response]:
    def ask(session_id: str) -> httpx.Response:
        place = f"{fakes.kaizen.url}/agents/session/getFileArchiveUrl"
        return client.post(place, json={"sessionId": session_id}, headers=auth(fakes.kaizen))

    return ask


Mint = Callable[[str], httpx.Response]


def test_the_answer_is_a_download_url_and_nothing_else(
    fakes: Fakes, client: httpx.Client, mint: Mint, archive: bytes
) -> None:
    """The URL lies on another origin and gives the zip."""
    fakes.kaizen.add("k1", archive)
    answer = mint("k1")
    assert list(answer.json()) == ["downloadUrl"]
    assert answer.json()["downloadUrl"].startswith(fakes.store.url)
    assert client.get(answer.json()["downloadUrl"]).content == archive
    assert fakes.store.leaks() == []


def test_not_ready_is_409_and_then_200(fakes: Fakes, mint: Mint) -> None:
    """As often as asked for, or until a moment."""
    session = fakes.kaizen.add("k1")
    session.pending = 2
    assert [mint("k1").status_code for _ in range(3)] == [409, 409, 200]
    session.ready_in(3600)
    assert mint("k1").status_code == 409
    session.ready_at = None
    assert mint("k1").status_code == 200


def test_missing_session_and_missing_archive_are_one_404(fakes: Fakes, mint: Mint) -> None:
    """They are not told apart, and the text stands under ``error``."""
    fakes.kaizen.add("k1").archived = False
    assert mint("k1").status_code == mint("nobody").status_code == 404
    assert mint("k1").json() == mint("nobody").json()
    assert set(mint("k1").json()) == {"error"}


def test_a_wrong_key_gets_401_and_another_organisation_403(fakes: Fakes, client: httpx.Client, mint: Mint) -> None:
    """The key is a bearer token."""
    place = f"{fakes.kaizen.url}/agents/session/getFileArchiveUrl"
    assert client.post(place, json={}, headers={"authorization": "Bearer no"}).status_code == 401
    fakes.kaizen.add("k1").forbidden = True
    assert mint("k1").status_code == 403


def test_the_object_changes_under_a_url_that_was_given_out(
    fakes: Fakes, client: httpx.Client, mint: Mint, archive: bytes
) -> None:
    """Another archive of the session is another ETag under the same URL."""
    session = fakes.kaizen.add("k1", archive)
    url = mint("k1").json()["downloadUrl"]
    tag = client.get(url, headers={"range": "bytes=0-0"}).headers["etag"]
    session.archive = archive + b"more"
    assert client.get(url, headers={"range": "bytes=0-0", "if-match": tag}).status_code == 412


def test_minting_again_may_give_another_object(fakes: Fakes, client: httpx.Client, mint: Mint) -> None:
    """``on_mint`` gives what each URL leads to; the first keeps its own."""
    fakes.kaizen.add("k1")
    fakes.kaizen.on_mint = lambda session, number: f"{session.id} {number}".encode()
    urls = [mint("k1").json()["downloadUrl"] for _ in range(2)]
    assert [client.get(url).content for url in urls] == [b"k1 0", b"k1 1"]


def test_the_download_url_can_be_anything(fakes: Fakes, mint: Mint) -> None:
    """A private address, another scheme."""
    fakes.kaizen.add("k1")
    fakes.kaizen.download_url = "http://169.254.169.254/latest/meta-data/"
    assert mint("k1").json() == {"downloadUrl": "http://169.254.169.254/latest/meta-data/"}


@pytest.mark.parametrize("envelope", ["executions", "data", None])
def test_executions_carry_the_session_ids(fakes: Fakes, client: httpx.Client, auth: Auth, envelope: str | None) -> None:
    """Under whatever envelope, filtered by status, with a secret among the fields."""
    fakes.kaizen.envelope = envelope  # type: ignore[assignment]
    fakes.kaizen.add("k1")
    fakes.kaizen.add("k2").status = "InProgress"
    place = f"{fakes.kaizen.url}/executions/list"
    listed = client.post(place, json={"status": "Completed"}, headers=auth(fakes.kaizen)).json()
    (execution,) = listed if envelope is None else listed[envelope]
    assert (execution["sessionId"], execution["status"]) == ("k1", "Completed")
    assert execution["endTime"].endswith("Z")
    assert "LIVEVIEWSECRET" in execution["liveViewUrl"]
    assert len(client.post(place, json={}, headers=auth(fakes.kaizen)).json()[envelope or 0]) == 2 or envelope is None


def test_an_injected_500_reads_as_kaizens(fakes: Fakes, mint: Mint) -> None:
    """Error texts stand where this service puts them."""
    fakes.kaizen.add("k1")
    fakes.kaizen.fail_next(500)
    assert mint("k1").json() == {"error": "injected 500"}
    fakes.kaizen.inject(steps.Answer(200, b"{not json", {"content-type": "application/json"}))
    assert mint("k1").content == b"{not json"
    assert mint("k1").status_code == 200
