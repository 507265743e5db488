"""The harness itself: what it serves and counts, what it makes of samples. The benchmarks are not run here."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench import archives, report
from bench.measure import Sample, Server
from bench.results import Results
from bench.workloads import Network

DATA = bytes(range(256)) * 16


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "a.zip").write_bytes(DATA)
    running = Server(tmp_path)
    try:
        yield running
    finally:
        running.close()


@pytest.mark.parametrize(
    ("wanted", "start", "stop"), [("bytes=0-9", 0, 10), ("bytes=100-", 100, 4096), ("bytes=-16", 4080, 4096)]
)
def test_ranges_are_served_and_counted(server: Server, wanted: str, start: int, stop: int) -> None:
    """A range is exactly that, under a strong ETag, and its bytes and the request are counted once."""
    server.counts(reset=True)
    answer = httpx.get(f"{server.url}/archives/a.zip", headers={"range": wanted}, trust_env=False)
    assert (answer.status_code, answer.content) == (206, DATA[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert answer.headers["etag"].startswith('"')
    assert server.counts() == {"requests": 1, "questions": 0, "bytes": stop - start}


def test_another_version_is_refused(server: Server) -> None:
    """If-Match with another ETag is 412, as an object store has it."""
    answer = httpx.get(f"{server.url}/archives/a.zip", headers={"if-match": '"other"'}, trust_env=False)
    assert answer.status_code == 412


def test_a_session_leads_to_its_archive(server: Server) -> None:
    """Kaizen's question is answered with the archive's URL, and counted apart."""
    server.be(Network(1, 10))
    asked = {"sessionId": "a"}
    url = httpx.post(f"{server.url}/agents/session/getFileArchiveUrl", json=asked, trust_env=False).json()[
        "downloadUrl"
    ]
    assert httpx.get(url, trust_env=False).content == DATA
    assert server.counts() == {"requests": 1, "questions": 1, "bytes": len(DATA)}


def test_archives_are_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe gives the same bytes twice, and the facts of an archive are those of its members."""

    def recipe(rng: random.Random) -> Iterator[archives.Piece]:
        return archives.small_files(rng, 20, 4, 10, 2000)

    monkeypatch.setitem(archives.RECIPES, "tiny", recipe)
    first, second = archives.make("tiny", tmp_path / "one"), archives.make("tiny", tmp_path / "two")
    assert first.path.read_bytes() == second.path.read_bytes()
    with zipfile.ZipFile(first.path) as made:
        assert made.namelist() == first.paths
        assert (len(made.namelist()), sum(info.file_size for info in made.infolist())) == (first.files, first.bytes)


def test_the_report_takes_medians_and_judges_aims() -> None:
    """The median of the good runs is shown, a failed tool is named, an aim that was measured is judged."""
    where = ("local", "small10k, find", "", "find")
    samples = [Sample(*where, "mountfs", seconds) for seconds in (0.2, 0.1, 0.9)]
    samples += [Sample(*where, "mount-zip", 0.1), Sample(*where, "fuse-zip", 0.0, fault="not mounted: no word")]
    assert Results(samples).cell("mountfs", "local", "small10k, find", "find").seconds == 0.2  # type: ignore[union-attr]
    text = report.markdown(samples, ["a remark"])
    assert "| small10k, find | find | 200 | 100 | failed |" in text
    assert "2.00x (200 ms : 100 ms) | **missed** |" in text
    assert "fuse-zip: small10k, find, find: not mounted: no word" in text
    assert "- a remark" in text
