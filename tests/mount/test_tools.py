"""The tools people use, on a real mount of every sample session, against what unzip makes of the same archive."""

from __future__ import annotations

import mmap
import os
import sqlite3
import stat
import tarfile
from pathlib import Path

import pytest
from mounts import READABLE, SMALL, Samples, needs_fuse, sh

from mountfs.demo.samples import Sample

pytestmark = needs_fuse


def of(sample: Sample) -> str:
    return f"{sample.provider}-{sample.id}"


every = pytest.mark.parametrize("sample", READABLE, ids=of)
small = pytest.mark.parametrize("sample", [each for each in SMALL if each.state != "empty"], ids=of)
workspaces = [each for each in SMALL if each.provider != "browserbase" and each.state != "empty"]
workspace = pytest.mark.parametrize("sample", workspaces[::3], ids=of)


@every
def test_diff(samples: Samples, sample: Sample) -> None:
    """``diff -r`` finds no difference to what unzip makes of the archive."""
    told = sh("diff", "-r", "--no-dereference", samples.expected(sample), samples.shown(sample))
    assert told.stdout == ""


@small
def test_cp(samples: Samples, sample: Sample, tmp_path: Path) -> None:
    """``cp -a`` copies bytes, links, times and x bits."""
    sh("cp", "-a", samples.shown(sample), tmp_path / "copy")
    sh("diff", "-r", "--no-dereference", samples.expected(sample), tmp_path / "copy")
    expected = samples.expected(sample)
    for path in expected.rglob("*"):
        copy = tmp_path / "copy" / path.relative_to(expected)
        if not path.is_dir():
            assert int(copy.lstat().st_mtime) == int(path.lstat().st_mtime), copy
        if path.is_file() and not path.is_symlink():
            assert bool(copy.stat().st_mode & 0o111) == bool(path.stat().st_mode & 0o111), copy


@small
def test_tar(samples: Samples, sample: Sample, tmp_path: Path) -> None:
    """``tar c`` and extracting it gives the same tree."""
    sh("tar", "-cf", tmp_path / "all.tar", "-C", samples.shown(sample), ".")
    (tmp_path / "out").mkdir()
    with tarfile.open(tmp_path / "all.tar") as archive:
        archive.extractall(tmp_path / "out", filter="fully_trusted")
    sh("diff", "-r", "--no-dereference", samples.expected(sample), tmp_path / "out")


@small
def test_rsync(samples: Samples, sample: Sample, tmp_path: Path) -> None:
    """``rsync -a`` copies everything, and finds nothing to do the second time, even comparing checksums."""
    sh("rsync", "-a", f"{samples.shown(sample)}/", tmp_path / "copy")
    sh("diff", "-r", "--no-dereference", samples.expected(sample), tmp_path / "copy")
    again = sh("rsync", "-ac", "--itemize-changes", "--dry-run", f"{samples.shown(sample)}/", tmp_path / "copy")
    assert again.stdout == ""


@small
def test_grep(samples: Samples, sample: Sample) -> None:
    """``grep -r`` finds the same lines in the same files."""
    told = [
        sh("grep", "-rc", "ERROR", ".", cwd=place).stdout for place in (samples.expected(sample), samples.shown(sample))
    ]
    assert sorted(told[0].splitlines()) == sorted(told[1].splitlines())


@every
def test_find(samples: Samples, sample: Sample) -> None:
    """``find`` sees the same names with the same kinds, sizes, times and link targets."""
    told = [
        sh("find", ".", "!", "-type", "d", "-printf", "%p %y %s %Ts %l\n", cwd=place).stdout
        for place in (samples.expected(sample), samples.shown(sample))
    ]
    assert sorted(told[0].splitlines()) == sorted(told[1].splitlines())
    directories = [
        sh("find", ".", "-type", "d", cwd=place).stdout for place in (samples.expected(sample), samples.shown(sample))
    ]
    assert sorted(directories[0].splitlines()) == sorted(directories[1].splitlines())


@every
def test_du(samples: Samples, sample: Sample) -> None:
    """``du --apparent-size`` of the files adds up, and ``du`` counts blocks of 512 bytes."""
    shown, files = samples.shown(sample), 0
    for path in samples.expected(sample).rglob("*"):
        if not path.is_dir():
            files += path.lstat().st_size
    assert int(sh("du", "-sb", shown).stdout.split()[0]) == files
    assert int(sh("du", "-s", "-B1", shown).stdout.split()[0]) >= files


@workspace
def test_stat(samples: Samples, sample: Sample) -> None:
    """Modes, link counts and owners are those of a read-only drive of ours."""
    for path in [samples.shown(sample), *samples.shown(sample).rglob("*")]:
        status = path.lstat()
        assert status.st_nlink == 1
        assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
        assert status.st_blocks == -(-status.st_size // 512)
        if path.is_symlink():
            assert stat.S_IMODE(status.st_mode) == 0o777
        elif path.is_dir():
            assert stat.S_IMODE(status.st_mode) == 0o555
        else:
            assert stat.S_IMODE(status.st_mode) == (0o555 if path.suffix == ".sh" else 0o444)


@workspace
def test_links(samples: Samples, sample: Sample) -> None:
    """A symbolic link reads as what it was, and leads where it should."""
    link = samples.shown(sample) / "reports" / "latest.md"
    assert sh("readlink", link).stdout == "../README.md\n"
    assert link.read_bytes() == (samples.expected(sample) / "README.md").read_bytes()


@workspace
def test_script_runs(samples: Samples, sample: Sample) -> None:
    """A script with an x bit in the archive can be run from the mount."""
    assert sh(samples.shown(sample) / "scripts" / "collect.sh", "a b").stdout == "collecting a b\n"


@workspace
def test_sqlite(samples: Samples, sample: Sample) -> None:
    """A SQLite file is read in place, by the shell and by Python."""
    name = samples.shown(sample) / "data" / "readings.sqlite"
    query = "select count(*) from reading"
    told = sh("sqlite3", f"file:{name}?immutable=1", query)
    assert told.stdout == "5000\n"
    connection = sqlite3.connect(f"file:{name}?immutable=1", uri=True)
    try:
        assert connection.execute(query).fetchone() == (5000,)
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


@workspace
def test_mmap(samples: Samples, sample: Sample) -> None:
    """A mapped file shows its bytes, also touched backwards."""
    expected = (samples.expected(sample) / "random.bin").read_bytes()
    with (
        (samples.shown(sample) / "random.bin").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        for at in range(len(expected) - 1, -1, -4096):
            assert mapped[at] == expected[at]
        assert mapped[:] == expected


@workspace
def test_sendfile(samples: Samples, sample: Sample, tmp_path: Path) -> None:
    """``sendfile`` moves a file's bytes without a short end."""
    expected = (samples.expected(sample) / "logs" / "agent.log").read_bytes()
    with (samples.shown(sample) / "logs" / "agent.log").open("rb") as source, (tmp_path / "out").open("wb") as target:
        sent = 0
        while step := os.sendfile(target.fileno(), source.fileno(), sent, 1 << 20):
            sent += step
    assert sent == len(expected)
    assert (tmp_path / "out").read_bytes() == expected


@every
def test_seeking(samples: Samples, sample: Sample) -> None:
    """The largest file, read as ``less`` does: the end, the start, the middle, back and forth, past the end."""
    files = [path for path in samples.expected(sample).rglob("*") if path.is_file() and not path.is_symlink()]
    if not files:
        return
    largest = max(files, key=lambda path: path.stat().st_size)
    size = largest.stat().st_size
    shown = samples.shown(sample) / largest.relative_to(samples.expected(sample))
    with largest.open("rb", buffering=0) as real, shown.open("rb", buffering=0) as mounted:
        for at in (size - 100, 0, size // 2, size // 3, size - 1, size // 2 + 1, 1, size, size + 10):
            for length in (1, 100, 5000):
                assert os.pread(mounted.fileno(), length, max(0, at)) == os.pread(real.fileno(), length, max(0, at))


def test_df(samples: Samples) -> None:
    """``df`` works."""
    assert "mountfs" in sh("df", "-h", samples.place).stdout
    assert os.statvfs(samples.place).f_namemax == 255


def test_listing(samples: Samples) -> None:
    """``ls`` of the root shows the providers, of a provider its sessions."""
    assert sh("ls", samples.place).stdout.split() == ["browserbase", "dari", "kaizen"]
    assert "sess_research" in sh("ls", "-l", samples.place / "dari").stdout
    assert "kz_big" in sh("ls", "-l", samples.place / "kaizen").stdout


def test_python_tools(samples: Samples) -> None:
    """Programs of the standard library read from the mount as from any directory."""
    place = samples.place / "dari" / "sess_research"
    told = sh("python3", "-m", "json.tool", place / "data" / "summary.json")
    assert "Research notes" in told.stdout
