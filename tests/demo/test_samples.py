"""The demo's sessions: the same bytes every time, and everything an agent may leave behind."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from mountfs.demo import contents
from mountfs.demo.fake import EMPTY_ZIP, Fake
from mountfs.demo.samples import MIB, SAMPLES, Sample
from mountfs.demo.server import Fakes

SMALL = [each for each in SAMPLES if "big" not in each.id and not each.id.endswith("3")]
BIG = [each for each in SAMPLES if each not in SMALL]
Auth = Callable[[Fake], dict[str, str]]


def named(session_id: str) -> Sample:
    return next(each for each in SAMPLES if each.id == session_id)


@pytest.mark.parametrize("sample", SMALL, ids=lambda each: each.id)
def test_a_sample_is_the_same_every_time(sample: Sample, tmp_path: Path) -> None:
    """Made twice in two places, byte for byte; found again in one; sound to zipfile."""
    first, second = (sample.archive(tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    made = first.stat()
    assert sample.archive(tmp_path / "one").stat().st_mtime_ns == made.st_mtime_ns
    assert list((tmp_path / "one").iterdir()) == [first]
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        for file in sample.files():
            assert archive.read(sample.root + file.path) == b"".join(file.pieces())


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is the judge")
def test_unzip_agrees_about_links_modes_and_names(tmp_path: Path) -> None:
    """A streamed archive with a root: link, script, empty directories, spaces, letters beyond ASCII."""
    archive = named("sess_research").archive(tmp_path)
    subprocess.run(["unzip", "-q", str(archive), "-d", str(tmp_path / "out")], check=True)
    root = tmp_path / "out" / "workspace"
    assert (root / "reports/latest.md").readlink() == Path("../README.md")
    assert (root / "reports/latest.md").read_bytes() == (root / "README.md").read_bytes()
    assert stat.S_IMODE((root / "scripts/collect.sh").stat().st_mode) == 0o755
    assert (
        subprocess.run([root / "scripts/collect.sh", "x"], check=True, capture_output=True).stdout == b"collecting x\n"
    )
    assert list((root / "empty/inner").iterdir()) == []
    assert (root / "notes/to do, maybe.txt").exists()
    assert (root / "notes/Übersicht, naïve café.txt").read_text(encoding="utf-8") == "Grüße aus Zürich\n"
    assert (root / "notes/日本語/メモ.md").exists()
    connection = sqlite3.connect(f"file:{root}/data/readings.sqlite?immutable=1", uri=True)
    try:
        assert connection.execute("SELECT count(*) FROM reading").fetchone() == (5000,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


def test_a_streamed_sample_has_data_descriptors(tmp_path: Path) -> None:
    """As a service that cannot seek writes it."""
    with zipfile.ZipFile(named("sess_research").archive(tmp_path)) as archive:
        assert all(info.flag_bits & 0x08 for info in archive.infolist())
        assert all(info.filename.startswith("workspace/") for info in archive.infolist())


@pytest.mark.parametrize("sample", BIG, ids=lambda each: each.id)
def test_each_archive_form_has_a_big_one(sample: Sample, tmp_path: Path) -> None:
    """At least 64 MiB; one large member that deflates, one that does not, small ones with directories in turns."""
    place = sample.archive(tmp_path)
    assert place.stat().st_size >= 64 * MIB
    with zipfile.ZipFile(place) as archive:
        members = {info.filename.removeprefix(sample.root): info for info in archive.infolist()}
        log, recording = members["trace.log"], members["recording.webm"]
        assert log.file_size == 48 * MIB
        assert log.compress_size < log.file_size / 4
        assert recording.compress_size == recording.file_size >= 64 * MIB
        small = [info for info in members.values() if info.file_size < MIB]
        assert len(small) >= 1000
        if sample.provider != "browserbase":
            directories = [info.filename.rsplit("/", 1)[0] for info in small]
            assert len(set(directories)) == 24
            assert all(one != other for one, other in pairwise(directories))
        assert archive.read(small[-1]) != b""
        assert archive.read(log)[:14] == b"--- part 0 ---"
    assert {each.provider for each in BIG} == {"kaizen", "dari", "browserbase"}


def test_the_demo_has_every_state(tmp_path: Path, client: httpx.Client, auth: Auth) -> None:
    """Not ready and then ready, empty, listed but gone; archives are made at the first request only."""
    with Fakes(tmp_path, pending=3600) as fakes:
        place = f"{fakes.dari.url}/v1/sessions"
        listed = [each["id"] for each in client.get(place, headers=auth(fakes.dari)).json()["sessions"]]
        assert {"sess_research", "sess_gone", "sess_starting"} <= set(listed)
        assert list(tmp_path.iterdir()) == []

        def archive(session_id: str) -> httpx.Response:
            return client.get(f"{place}/{session_id}/workspace.zip", headers=auth(fakes.dari))

        assert archive("sess_gone").status_code == 404
        assert archive("sess_starting").status_code == 409
        fakes.dari.sessions["sess_starting"].ready_at = 0
        assert archive("sess_starting").status_code == 200
        assert archive("sess_research").content == named("sess_research").archive(tmp_path).read_bytes()
        empty = next(each for each in SAMPLES if each.state == "empty")
        place = f"{fakes.browserbase.url}/v1/sessions/{empty.id}/downloads"
        assert client.get(place, headers=auth(fakes.browserbase)).content == EMPTY_ZIP


def test_large_members_are_unpacked_beside_their_archive(tmp_path: Path, client: httpx.Client, auth: Auth) -> None:
    """The per-file API serves them from there, with sizes and hashes that are right."""
    with Fakes(tmp_path) as fakes:
        place = f"{fakes.browserbase.url}/v1/downloads"
        query = {"sessionId": BIG[-1].id, "limit": "100", "offset": "400"}
        listed = client.get(place, params=query, headers=auth(fakes.browserbase)).json()
        (log,) = [each for each in listed["downloads"] if each["filename"] == "trace.log"]
        assert (listed["total"], log["size"]) == (1202, 48 * MIB)
        body = client.get(f"{place}/{log['id']}", headers=auth(fakes.browserbase)).content
        assert body == b"".join(contents.long_log(33, 48 * MIB))


def test_pictures_and_papers_are_what_they_say() -> None:
    """Magic numbers, and what points where."""
    assert contents.png(1).startswith(b"\x89PNG\r\n\x1a\n")
    paper = contents.pdf("Hello (world)")
    start = int(paper.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert paper[start:].startswith(b"xref\n")
    assert b"ERROR" in contents.log(1, 100)
    assert sum(len(piece) for piece in contents.noise(1, 3 * MIB + 5)) == 3 * MIB + 5
