"""The tour's own eyes: on a directory that is as the archive, and on the same one spoiled in each way."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mountfs.demo import tour
from mountfs.demo.compare import FIND, Archive, differences, first_difference, parse_found
from mountfs.demo.guide import guide
from mountfs.demo.samples import SAMPLES, Sample, SampleFile, write_zip
from mountfs.demo.server import Fakes

Spoil = Callable[[Path], object]


def named(session_id: str) -> Sample:
    return next(each for each in SAMPLES if each.id == session_id)


RESEARCH = named("sess_research")


def lay_out(content: Path, root: str, place: Path) -> None:
    """What a mount shows of an archive, as plain files: unzip's work, then the contract's modes and DOS times as
    UTC."""
    place.mkdir(parents=True)
    subprocess.run(
        ["unzip", "-q", content, "-d", place / "made"], check=True, env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    )
    for path in (place / "made" / root).iterdir():
        path.rename(place / path.name)
    if root:
        (place / "made" / root).rmdir()
    (place / "made").rmdir()
    for path in place.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() or path.stat().st_mode & 0o111 else 0o444)
    with Archive(content, root) as archive:
        facts = archive.facts()
    for name in sorted(facts, reverse=True):  # children before their directory
        os.utime(place / name, (facts[name].mtime, facts[name].mtime), follow_symlinks=False)


def compared(content: Path, root: str, place: Path, copy: Path) -> list[str]:
    found = parse_found(subprocess.run(["find", place, *FIND], capture_output=True, check=True).stdout)
    with Archive(content, root) as archive:
        return list(differences(archive, found, str(copy)))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A mountpoint that is none, with one session."""
    where = tmp_path / "place"
    lay_out(RESEARCH.archive(tmp_path / "samples"), RESEARCH.root, where / "dari/sess_research")
    yield where
    for path in where.rglob("*"):  # so that an ordinary user's pytest can remove it
        if path.is_dir():
            path.chmod(0o755)


def test_unzip_agrees(place: Path, tmp_path: Path) -> None:
    """zipfile's view of a sample is Info-ZIP's; the directory that no member stands for is as new as what it holds."""
    session = place / "dari/sess_research"
    content = RESEARCH.archive(tmp_path / "samples")
    assert compared(content, RESEARCH.root, session, session) == []
    with Archive(content, RESEARCH.root) as archive:
        facts = archive.facts()
    assert facts["scripts/collect.sh"].mode == 0o555
    assert facts["reports/latest.md"].link == "../README.md"
    assert facts["empty/inner"].kind == "d"
    assert facts["logs"].mtime == facts["logs/steps.jsonl"].mtime > facts["logs/agent.log"].mtime
    assert facts["tmp"].mtime == facts["tmp/a/b/c/d/e/deep.txt"].mtime


def rewritten(path: Path, data: bytes) -> None:
    """Other bytes under the same name, mode and time."""
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def spoiled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[70_000] ^= 1
    rewritten(path, bytes(data))


def relinked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


WRONG: dict[str, tuple[Spoil, str]] = {
    "a flipped bit": (lambda at: spoiled(at / "random.bin"), "random.bin: its bytes differ at offset 70,000"),
    "cut short": (lambda at: rewritten(at / "random.bin", b""), "random.bin: is Facts("),
    "a mode": (lambda at: (at / "scripts/collect.sh").chmod(0o444), "scripts/collect.sh: is Facts("),
    "a time": (lambda at: os.utime(at / "README.md", (1, 1)), "README.md: is Facts("),
    "a directory's time": (lambda at: os.utime(at / "empty", (1, 1)), "empty: is Facts("),
    "a link": (lambda at: relinked(at / "reports/latest.md", "../READM.md"), "reports/latest.md: is Facts("),
    "one missing": (lambda at: (at / "scripts/__init__.py").unlink(), "scripts/__init__.py: is missing"),
    "an empty directory missing": (lambda at: (at / "empty/inner").rmdir(), "empty/inner: is missing"),
    "one too many": (lambda at: (at / "notes/new").write_bytes(b""), "notes/new: is not in the archive"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found(place: Path, tmp_path: Path, what: str) -> None:
    """Each kind of difference is told, by name."""
    session = place / "dari/sess_research"
    for path in session.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    spoil, told = WRONG[what]
    spoil(session)
    for path in session.rglob("*"):
        if path.is_dir():
            path.chmod(0o555)
    found = compared(RESEARCH.archive(tmp_path / "samples"), RESEARCH.root, session, session)
    assert any(each.startswith(told) for each in found), found


@pytest.mark.parametrize(
    ("one", "other", "offset"),
    [(b"", b"", None), (b"abc", b"abc", None), (b"abc", b"abd", 2), (b"abc", b"ab", 2), (b"", b"a", 0)],
)
def test_first_difference(one: bytes, other: bytes, offset: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece and in many."""
    for size in (1, 2, 1 << 20):
        monkeypatch.setattr("mountfs.demo.compare.PIECE", size)
        assert first_difference(io.BytesIO(one), io.BytesIO(other)) == offset


def test_a_bad_copy_is_found(place: Path, tmp_path: Path) -> None:
    """Where the mount shows what it should, and cp got something else."""
    files = [SampleFile("a/b.txt", b"beta"), SampleFile("link", link="a"), SampleFile("empty/")]
    content = tmp_path / "made.zip"
    with content.open("wb") as target:
        write_zip(target, Sample("dari", "made", "", lambda: files))
    shown, copy = tmp_path / "shown", tmp_path / "copy"
    lay_out(content, "", shown)
    assert compared(content, "", shown, shown) == []
    (copy / "a").mkdir(parents=True)
    (copy / "a/b.txt").write_bytes(b"bexa")
    (copy / "empty").write_bytes(b"")
    assert compared(content, "", shown, copy) == [
        "a/b.txt: its bytes differ at offset 2",
        "empty: was not copied as a directory",
        "link: was not copied as a link to a",
    ]
    for path in shown.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def test_a_step_tells_what_is_wrong(place: Path, tmp_path: Path) -> None:
    """Real tools on a directory that is no mount: what is right passes, what is not is named."""
    fakes = Fakes(tmp_path / "samples")
    steps = tour.Tour(str(place), fakes)
    assert steps.copy(RESEARCH).startswith("15 files, 905 KiB, as in the archive")
    assert steps.grep(RESEARCH, "logs") == "595 lines in 2 files"
    assert steps.query(RESEARCH, "data/readings.sqlite")
    with pytest.raises(tour.Differs, match="it is"):
        steps.providers()
    with pytest.raises(tour.Differs, match="it worked, but should have failed"):
        steps.not_ready(RESEARCH)
    spoiled(place / "dari/sess_research/data/readings.csv")
    with pytest.raises(tour.Differs, match=r"data/readings\.csv: its bytes differ at offset 70,000"):
        steps.copy(RESEARCH)


def test_the_whole_tour_fails_where_nothing_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is tried and told, and the result is no."""
    monkeypatch.setattr(tour, "SAMPLES", tuple(each for each in SAMPLES if "big" not in each.id))
    monkeypatch.setattr(tour, "_sample", lambda name: named("sess_research" if name == "kz_big" else name))
    said: list[str] = []
    assert not tour.run(str(tmp_path), Fakes(tmp_path / "samples"), said.append)
    assert sum("  ✗ " in line for line in said) == len(said) - 2
    assert said[-1].endswith("went wrong.")


def test_a_tool_that_hangs_fails_its_step(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and the tour goes on."""
    monkeypatch.setattr(tour, "TOOL_TIMEOUT", 0.1)
    os.mkfifo(place / "dari/sess_research/logs/pipe")
    with pytest.raises(tour.Differs, match=r"cat did not end within 0\.1 s"):
        tour.Tour(str(place), Fakes(tmp_path / "samples")).cat_again(RESEARCH, "logs/pipe")


def test_the_guide_shows_every_session() -> None:
    """In lines that fit a terminal, whatever the mountpoint is called."""
    text = guide("/tmp/some where", pending=20, log="/tmp/x.log")
    for sample in SAMPLES:
        assert sum(sample.id in line and sample.title in line for line in text.splitlines()) == 1
    assert "  cd '/tmp/some where'" in text.splitlines()
    assert max(map(len, text.splitlines())) <= 80


def test_zipfile_reads_what_the_samples_hold(tmp_path: Path) -> None:
    """The judge is sound: an archive's facts are the sample's own."""
    with Archive(RESEARCH.archive(tmp_path), RESEARCH.root) as archive:
        for file in RESEARCH.files():
            facts = archive.facts()[file.path.rstrip("/")]
            assert (facts.link, facts.kind) == (
                file.link,
                "l" if file.link else "d" if file.path.endswith("/") else "f",
            )
            if facts.kind == "f":
                assert archive.read(file.path) == b"".join(file.pieces())
