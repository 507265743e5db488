"""The object store: signed URLs, ranges, conditions, and what each real store does differently."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from mountfs.demo import steps
from mountfs.demo.server import Fakes
from mountfs.demo.store import SIGNINGS, FakeObject, Style

DATA = bytes(range(256)) * 40


@pytest.fixture
def url(fakes: Fakes) -> str:
    return fakes.store.sign("archives/x.zip", FakeObject(lambda: DATA))


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=10000-", 10000, 10240),
        ("bytes=10000-99999", 10000, 10240),
        ("bytes=-7", 10233, 10240),
        ("bytes=-99999", 0, 10240),
        ("bytes=0-10239", 0, 10240),
    ],
)
def test_a_range_gets_206_with_its_place(client: httpx.Client, url: str, asked: str, start: int, stop: int) -> None:
    """Absolute, open and suffix ranges give exactly their bytes and the total size."""
    answer = client.get(url, headers={"range": asked})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert answer.content == DATA[start:stop]


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=a-b", "bytes=-", "bytes=0-1,4-5", "items=0-1"])
def test_a_malformed_or_multiple_range_is_ignored(client: httpx.Client, url: str, asked: str) -> None:
    """S3 answers 200 with everything."""
    answer = client.get(url, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_a_range_past_the_end_gets_416_with_the_size(client: httpx.Client, url: str) -> None:
    """The refusal says how long the object is."""
    answer = client.get(url, headers={"range": "bytes=10240-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */10240"
    assert "InvalidRange" in answer.text


@pytest.mark.parametrize(("refusal", "status"), [(416, 416), (400, 400), (200, 200)])
def test_a_store_without_suffix_ranges(fakes: Fakes, client: httpx.Client, url: str, refusal: int, status: int) -> None:
    """It refuses or ignores a suffix, and still knows absolute ranges."""
    fakes.store.ranges = "no-suffix"
    fakes.store.suffix_refusal = refusal  # type: ignore[assignment]
    assert client.get(url, headers={"range": "bytes=-10"}).status_code == status
    assert client.get(url, headers={"range": "bytes=0-0"}).status_code == 206


def test_a_store_without_ranges_sends_everything(fakes: Fakes, client: httpx.Client, url: str) -> None:
    """200 and the whole body, whatever range was asked."""
    fakes.store.ranges = False
    answer = client.get(url, headers={"range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_a_suffix_longer_than_the_object_may_get_416(fakes: Fakes, client: httpx.Client, url: str) -> None:
    """Some stores refuse what RFC 9110 allows."""
    fakes.store.long_suffix = 416
    assert client.get(url, headers={"range": "bytes=-10241"}).status_code == 416
    assert client.get(url, headers={"range": "bytes=-10240"}).status_code == 206


@pytest.mark.parametrize(("empty", "place"), [(200, None), (206, "bytes 0--1/0"), (416, "bytes */0")])
def test_a_range_of_an_empty_object(fakes: Fakes, client: httpx.Client, empty: int, place: str | None) -> None:
    """S3, MinIO and the others each answer in their own way."""
    fakes.store.empty = empty  # type: ignore[assignment]
    url = fakes.store.sign("empty.zip", FakeObject(lambda: b""))
    answer = client.get(url, headers={"range": "bytes=-100"})
    assert answer.status_code == empty
    assert answer.headers.get("content-range") == place


def test_if_match_fails_once_the_object_changed(fakes: Fakes, client: httpx.Client) -> None:
    """412 to a range under the old ETag; the new one is served under the new."""
    content = [DATA]
    url = fakes.store.sign("x.zip", FakeObject(lambda: content[0]))
    tag = client.get(url, headers={"range": "bytes=0-0"}).headers["etag"]
    assert client.get(url, headers={"range": "bytes=5-9", "if-match": tag}).content == DATA[5:10]
    content[0] = DATA[::-1]
    answer = client.get(url, headers={"range": "bytes=5-9", "if-match": tag})
    assert (answer.status_code, answer.content) == (412, b"")
    assert answer.headers["etag"] != tag


def test_if_none_match_gets_304_without_a_body(client: httpx.Client, url: str) -> None:
    """One conditional request tells whether a snapshot is still the newest."""
    tag = client.get(url).headers["etag"]
    assert client.get(url, headers={"if-none-match": tag}).status_code == 304
    assert client.get(url, headers={"if-none-match": '"other"'}).status_code == 200


def test_weak_tags_match_no_if_match(fakes: Fakes, client: httpx.Client, url: str) -> None:
    """A weak validator cannot anchor a range."""
    fakes.store.etags = "weak"
    tag = client.get(url).headers["etag"]
    assert tag.startswith('W/"')
    assert client.get(url, headers={"if-match": tag}).status_code == 412


def test_a_store_may_send_no_etag(fakes: Fakes, client: httpx.Client, url: str) -> None:
    """Then nothing joins two ranges; a generation may stand in for it."""
    fakes.store.etags = None
    fakes.store.generation = "1700000000000001"
    answer = client.get(url, headers={"range": "bytes=0-0"})
    assert "etag" not in answer.headers
    assert answer.headers["x-goog-generation"] == "1700000000000001"


def test_if_range_falls_back_to_everything(client: httpx.Client, url: str) -> None:
    """A change under If-Range is a full download."""
    tag = client.get(url).headers["etag"]
    assert client.get(url, headers={"range": "bytes=0-0", "if-range": tag}).status_code == 206
    assert client.get(url, headers={"range": "bytes=0-0", "if-range": '"old"'}).status_code == 200


@pytest.mark.parametrize("style", list(SIGNINGS))
def test_a_signed_url_ends_as_its_store_says(client: httpx.Client, style: Style) -> None:
    """Each style shows its expiry in its own parameters and refuses with its own status."""
    now = [1_790_000_000.0]
    with Fakes(wall=lambda: now[0]) as fakes:
        fakes.store.style = style
        fakes.store.lifetime = 60
        url = fakes.store.sign("x.zip", FakeObject(lambda: DATA))
        assert client.get(url).content == DATA
        assert client.get(url + "0").status_code == SIGNINGS[style].expired
        now[0] += 61
        late = client.get(url)
        if style == "opaque":
            assert late.status_code == 200
            fakes.store.expire_all()
            late = client.get(url)
        assert late.status_code == SIGNINGS[style].expired
        assert SIGNINGS[style].code in late.text
        assert client.get(fakes.store.sign("x.zip", FakeObject(lambda: DATA))).status_code == 200


def test_head_is_refused(client: httpx.Client, url: str) -> None:
    """A URL signed for GET answers 403 to HEAD."""
    assert client.head(url).status_code == 403


def test_a_stray_authorization_is_refused_and_echoed(fakes: Fakes, client: httpx.Client, url: str) -> None:
    """400, and the body repeats the token: whoever logs it leaks it; the store remembers that it came."""
    answer = client.get(url, headers={"authorization": "Bearer LEAKED"})
    assert answer.status_code == 400
    assert "LEAKED" in answer.text
    assert fakes.store.leaks() == ["authorization"]


def test_a_file_is_served_from_disk(fakes: Fakes, client: httpx.Client, tmp_path: Path) -> None:
    """Ranges of a file are those of its bytes; its ETag is strong and changes with it."""
    place = tmp_path / "big.zip"
    place.write_bytes(DATA * 100)
    url = fakes.store.sign("big.zip", FakeObject(lambda: place))
    whole = client.get(url)
    assert whole.content == DATA * 100
    part = client.get(url, headers={"range": "bytes=700000-900000", "if-match": whole.headers["etag"]})
    assert part.content == (DATA * 100)[700000:900001]
    place.write_bytes(DATA)
    assert client.get(url, headers={"if-match": whole.headers["etag"]}).status_code == 412


def test_a_body_can_be_spoiled_in_every_way(fakes: Fakes, client: httpx.Client, url: str) -> None:
    """Gzip, a flipped byte, a wrong Content-Range, a truncated body, a reset, a stall: one each, then all is well."""
    fakes.store.inject(steps.Gzip())
    zipped = client.get(url)
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.content == DATA  # httpx unpacks it

    fakes.store.inject(steps.FlipByte(100))
    flipped = client.get(url).content
    assert [at for at in range(len(DATA)) if flipped[at] != DATA[at]] == [100]

    fakes.store.inject(steps.wrong_range("bytes 9-9/10"))
    assert client.get(url, headers={"range": "bytes=0-3"}).headers["content-range"] == "bytes 9-9/10"

    fakes.store.inject(steps.Truncate(100))
    with pytest.raises(httpx.RemoteProtocolError, match="received 100 bytes, expected 10240"):
        client.get(url)

    fakes.store.inject(steps.Reset(100))
    with pytest.raises(httpx.ReadError):
        client.get(url)

    fakes.store.inject(steps.Stall(100))
    with client.stream("GET", url, timeout=0.2) as answer, pytest.raises(httpx.ReadTimeout):
        for _ in answer.iter_raw():
            pass
    assert client.get(url).content == DATA


def test_a_body_can_come_one_byte_at_a_time(fakes: Fakes, client: httpx.Client, url: str) -> None:
    """Never silent for long, never done soon: only a deadline of the whole ends it."""
    fakes.store.inject(steps.Dribble(interval=0.001))
    answer = client.get(url, headers={"range": "bytes=0-9"})
    assert answer.content == DATA[:10]
    assert fakes.store.requests[-1].bytes_sent == 10
