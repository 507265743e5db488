"""``mountfs export``: the same bytes, times, modes and links as the archive's, and nothing outside DEST."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import zip_of
from running import Run

from mountfs.cli.landing import UNFINISHED
from mountfs.demo.server import Fakes

RESEARCH = "dari/sess_research"
MEMBERS = 16


def members(fakes: Fakes) -> zipfile.ZipFile:
    held = fakes.dari.sessions["sess_research"].archive
    return zipfile.ZipFile(held() if callable(held) else held)  # type: ignore[arg-type]


@pytest.fixture
def export(run: Run, alone: None, config: str, tmp_path: Path) -> Callable[..., tuple[str, int, str]]:
    """Exports into ``tmp_path / "out"``; answers the summary, the status and what was said."""

    def exported(path: str, *words: str, dest: str = "out") -> tuple[str, int, str]:
        told = run("export", "--config", config, path, str(tmp_path / dest), *words)
        return told.out.strip(), told.status, told.err

    return exported


def test_a_whole_session(export: Callable[..., tuple[str, int, str]], fakes: Fakes, tmp_path: Path) -> None:
    """Every file has the archive's bytes, time and x bit; links are links; empty directories are there."""
    summary, status, said = export(RESEARCH)
    assert status == 0, said
    assert summary.startswith(f"{MEMBERS} files, ")
    out = tmp_path / "out"
    with members(fakes) as archive:
        for info in archive.infolist():
            path = out / info.filename.removeprefix("workspace/")
            if info.is_dir():
                assert path.is_dir()
            elif path.is_symlink():
                assert os.fsencode(os.readlink(path)) == archive.read(info)
            else:
                assert path.read_bytes() == archive.read(info)
                assert stat.S_IMODE(path.stat().st_mode) in (0o444, 0o555)
    assert (out / "scripts/collect.sh").stat().st_mode & 0o111
    assert (out / "empty/inner").is_dir()
    assert (out / "logs").stat().st_mtime == max(path.stat().st_mtime for path in (out / "logs").iterdir())


def test_again(export: Callable[..., tuple[str, int, str]], tmp_path: Path) -> None:
    """What is there with the right size and time is passed over; what is not is made right."""
    export(RESEARCH)
    out = tmp_path / "out"
    stamp = (out / "README.md").stat().st_ino
    (out / "random.bin").unlink()
    changed = out / "data/summary.json"
    changed.chmod(0o644)
    changed.write_text("{}")
    (out / "reports/latest.md").unlink()
    (out / "reports/latest.md").symlink_to("/etc/passwd")
    (out / os.fsdecode(UNFINISHED)).write_text("from an export that was killed")
    summary, status, said = export(RESEARCH)
    assert status == 0, said
    assert summary.startswith("3 files, ")
    assert f"{MEMBERS - 3} were there" in summary
    assert (out / "README.md").stat().st_ino == stamp
    assert os.readlink(out / "reports/latest.md") == "../README.md"
    assert len((out / "random.bin").read_bytes()) == 96 << 10
    assert not (out / os.fsdecode(UNFINISHED)).exists()


def test_parts(export: Callable[..., tuple[str, int, str]], tmp_path: Path) -> None:
    """--path takes a part, in its place; one that is not there is told, and the others come."""
    _, status, said = export(RESEARCH, "--path", "logs", "--path", "/data/summary.json", "--path", "nowhere")
    assert status == 1
    assert "mountfs: dari/sess_research/nowhere: no 'nowhere' here" in said
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert found == ["data/summary.json", "logs/agent.log", "logs/steps.jsonl"]


def test_a_single_file(export: Callable[..., tuple[str, int, str]], tmp_path: Path) -> None:
    """A file is put into DEST under its name."""
    assert export(f"{RESEARCH}/README.md")[1] == 0
    assert os.listdir(tmp_path / "out") == ["README.md"]


def test_a_provider(export: Callable[..., tuple[str, int, str]], tmp_path: Path) -> None:
    """A provider is exported session by session; one that is gone is told and fails alone."""
    _, status, said = export("browserbase")
    assert status == 0, said
    assert len(os.listdir(tmp_path / "out")) == 3


def test_no_fuse_is_needed(config: str, tmp_path: Path) -> None:
    """Neither /dev/fuse nor pyfuse3 is looked at."""
    program = (
        "import sys\n"
        "sys.modules['pyfuse3'] = None\n"
        "from mountfs.cli import main\n"
        f"main(['export', '--config', {config!r}, {RESEARCH!r}, {str(tmp_path / 'out')!r}])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out/README.md").exists()


def test_nothing_lands_outside(export: Callable[..., tuple[str, int, str]], fakes: Fakes, tmp_path: Path) -> None:
    """A link that stands where a directory is due is not followed, whoever put it there."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/logs").symlink_to(elsewhere)
    (tmp_path / "out/README.md").symlink_to(elsewhere / "planted")
    summary, status, said = export(RESEARCH)
    assert status == 1
    assert os.listdir(elsewhere) == []
    assert "something else is in the way" in said
    assert "1 failed" in summary
    assert not (tmp_path / "out/README.md").is_symlink()


def test_a_hostile_archive(run: Run, alone: None, config: str, fakes: Fakes, tmp_path: Path) -> None:
    """Names that climb and links that lead out do not leave DEST."""
    fakes.dari.add(
        "sess_evil", zip_of({"../../up.txt": b"x", "/abs.txt": b"x", "a/../../b.txt": b"x", "ok.txt": b"ok"})
    )
    told = run("export", "--config", config, "dari/sess_evil", str(tmp_path / "deep/er/out"))
    assert told.status == 0, told.err
    assert (tmp_path / "deep/er/out/ok.txt").read_bytes() == b"ok"
    assert sorted(os.listdir(tmp_path / "deep/er")) == ["out"]
    assert sorted(os.listdir(tmp_path / "deep")) == ["er"]


def test_damaged_members_fail_alone(run: Run, alone: None, config: str, fakes: Fakes, tmp_path: Path) -> None:
    """A member that fails its check is told and not left half-made; the rest comes."""
    archive = bytearray(zip_of({"good.txt": b"good" * 100, "bad.txt": b"bad" * 100}, stored=True))
    archive[archive.index(b"badbad") + 7] ^= 1
    fakes.dari.add("sess_bad", bytes(archive))
    told = run("export", "--config", config, "dari/sess_bad", str(tmp_path / "out"))
    assert told.status == 1
    assert "mountfs: dari/sess_bad/bad.txt: " in told.err
    assert os.listdir(tmp_path / "out") == ["good.txt"]


@pytest.mark.parametrize("there", ["file", "full"])
def test_dest_that_takes_nothing(run: Run, alone: None, config: str, tmp_path: Path, there: str) -> None:
    """A DEST that is a file, or cannot be made, is told in one line."""
    (tmp_path / "file").write_text("")
    dest = str(tmp_path / "file") if there == "file" else str(tmp_path / "file/below")
    told = run("export", "--config", config, RESEARCH, dest)
    assert told.status == 1
    assert told.err.startswith(f"mountfs: {dest}: ")
    assert told.err.count("\n") == 1


def test_a_path_inside_a_mount(run: Run, mounted: Path, config: str, tmp_path: Path) -> None:
    """A path inside a mount means what it shows."""
    told = run("export", "--config", config, str(mounted / RESEARCH / "logs"), str(tmp_path / "out"))
    assert told.status == 0, told.err
    assert sorted(os.listdir(tmp_path / "out")) == ["agent.log", "steps.jsonl"]
