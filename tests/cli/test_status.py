"""``mountfs status``, ``why`` and ``log-level``: asking running mounts."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounts import until
from running import Run

from mountfs.cli import tables
from mountfs.cli.daemons import running, split
from mountfs.cli.status import Told, look
from mountfs.cli.table import mount_at

RESEARCH = "dari/sess_research"


def drawn(told: list[Told]) -> str:
    """The page as a terminal of 200 columns without colours shows it."""
    console = tables.Console(width=200, file=io.StringIO())
    with console.capture() as capture:
        console.print(tables.page(told, show_all=True))
    return capture.get()


@pytest.fixture
def stopped(mounted: Path) -> Iterator[Path]:
    """A mount whose daemon does not run, as one that hangs."""
    (daemon,) = running()
    os.kill(daemon.pid, signal.SIGSTOP)
    yield mounted
    os.kill(daemon.pid, signal.SIGCONT)


def test_nothing_is_mounted(run: Run, alone: None) -> None:
    """That nothing is mounted is no failure."""
    assert run("status").out == "nothing is mounted\n"
    assert json.loads(run("status", "--json").out) == {"mounts": []}


def test_what_is_shown(run: Run, mounted: Path) -> None:
    """A person sees providers, sessions, cache and reads; a program gets the same as JSON."""
    (mounted / RESEARCH / "README.md").read_bytes()
    assert "sess_gone" in os.listdir(mounted / "dari")
    assert not (mounted / "dari/sess_gone/x").exists()
    told = run("status", str(mounted))
    assert told.status == 0, told.err
    for words in (str(mounted), "dari/sess_research", "terminal (completed)", "1 x 404", "cache", "read-ahead"):
        assert words in told.out
    answer = json.loads(run("status", "--json").out)["mounts"][0]
    assert answer["mountpoint"] == str(mounted)
    dari = next(row for row in answer["providers"] if row["name"] == "dari")
    assert dari["health"] == "ok"
    assert dari["requests"]["404"] == 1
    assert "404" in dari["last_error"]
    sessions = {row["id"]: row for row in answer["sessions"]}
    assert sessions["sess_research"]["state"] == "terminal"
    assert sessions["sess_research"]["here"] == sessions["sess_research"]["size"]
    assert sessions["sess_gone"]["state"] == "absent"
    assert answer["cache"]["used"] > 0
    assert answer["filesystem"]["bytes"] > 0


def test_programs_are_counted(run: Run, mounted: Path) -> None:
    """Who waited for bytes is named: that is who causes transfers."""
    (mounted / RESEARCH / "README.md").read_bytes()
    programs = json.loads(run("status", "--json").out)["mounts"][0]["programs"]
    mine = Path("/proc/self/comm").read_text().strip()
    assert [each["program"] for each in programs] == [mine]
    assert programs[0]["bytes"] >= 322


def test_no_secret(run: Run, mounted: Path, fakes: object) -> None:
    """Neither status nor why shows a key or the path of a signed URL."""
    os.listdir(mounted / "kaizen")
    os.listdir(mounted / RESEARCH)
    shown = run("status", "--json").out + run("why", RESEARCH, "--json").out + run("why", "kaizen").out
    for name in ("dari", "kaizen", "browserbase"):
        assert getattr(fakes, name).key not in shown
    assert "http" not in shown


def test_another_directory(run: Run, mounted: Path, tmp_path: Path) -> None:
    """A directory that is no mount is told as such."""
    told = run("status", str(tmp_path))
    assert (told.status, told.out) == (1, "")
    assert told.err == f"mountfs: {tmp_path}: not a mount of mountfs; 'mountfs status' lists the mounts\n"


def test_a_daemon_that_hangs(run: Run, stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that does not answer is shown with what to do, and is a failure."""
    monkeypatch.setattr("mountfs.cli.status.ANSWER_TIMEOUT", 0.2)
    told = run("status")
    assert told.status == 1
    assert "the daemon did not answer within 0.2 s" in told.out
    assert json.loads(run("status", "--json").out)["mounts"][0]["error"]


def test_a_daemon_that_was_killed(run: Run, mounted: Path) -> None:
    """A dead mount is listed, with how to clear it."""
    (daemon,) = running()
    os.kill(daemon.pid, signal.SIGKILL)
    until(lambda: not running())
    told = run("status")
    assert told.status == 1
    assert f"its daemon has ended; clear it with: mountfs umount {mounted}" in re.sub(r"\s+", " ", told.out)
    told = run("why", str(mounted / RESEARCH))
    assert told.status == 1
    assert "its daemon has ended" in told.err


def test_watching(mounted: Path) -> None:
    """What --watch draws is drawn from the same answer; transfers are bars."""
    (told,) = look(str(mounted))
    assert told.answer is not None
    told.answer["transfers"] = [{"session": RESEARCH, "what": "archive", "bytes": 1 << 20, "total": 4 << 20}]
    assert "1.0 MiB of 4.0 MiB" in drawn([told])


def test_names_of_a_service_do_not_move_the_cursor(mounted: Path) -> None:
    """What a service says is cleaned before it is shown."""
    (told,) = look(str(mounted))
    assert told.answer is not None
    told.answer["providers"][0]["last_error"] = "\x1b[2Jgone"
    told.answer["providers"][0]["last_error_at"] = None
    shown = drawn([Told("x", 1, told.answer)])
    assert "\x1b" not in shown
    assert "?[2Jgone" in shown


def test_why(run: Run, mounted: Path) -> None:
    """A path that failed tells what the service answered, when, for whom, and what to do."""
    os.listdir(mounted / "dari")
    with pytest.raises(FileNotFoundError):
        (mounted / "dari/sess_gone/x").read_bytes()
    told = run("why", str(mounted / "dari/sess_gone"))
    assert told.status == 0
    for words in ("session   absent", "404", "ENOENT (No such file or directory)", f"process {os.getpid()}", "do   "):
        assert words in told.out
    answer = json.loads(run("why", "dari/sess_gone", "--json").out)
    assert answer["events"][0]["errno"].startswith("ENOENT")


def test_why_of_a_file(run: Run, mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path inside the mount, also a relative one, tells of the member, its session, and how it was fetched."""
    (mounted / RESEARCH / "README.md").read_bytes()
    monkeypatch.chdir(mounted / RESEARCH)
    told = run("why", "../sess_research/reports/../README.md")
    assert told.status == 0, told.err
    assert told.out.startswith("dari/sess_research/README.md\n  file      322 B, ")
    for words in ("in the cache", "session   terminal", "by whole download", "none failed or was slow"):
        assert words in told.out
    monkeypatch.chdir("/")


def test_why_of_what_nobody_asked_for(run: Run, mounted: Path) -> None:
    """What was never looked at, a provider nobody has, the mount itself: each is told as what it is."""
    assert "never asked for" in run("why", "dari/sess_other").out
    assert run("why", "nobody/x").err.startswith("mountfs: no provider 'nobody'; configured: ")
    assert "names no provider" in run("why", str(mounted)).err


def test_why_without_a_mount(run: Run, alone: None) -> None:
    """With no mount running, one line says what can be done instead."""
    told = run("why", RESEARCH)
    assert told.status == 1
    assert told.err == (
        f"mountfs: {RESEARCH}: no mount is running that could tell; 'mountfs ls -l {RESEARCH}' asks the service now\n"
    )


def test_log_level(run: Run, mounted: Path, tmp_path: Path) -> None:
    """The level of a running mount changes at once."""
    assert run("log-level", "debug").out == f"{mounted}: logs debug now\n"
    assert json.loads(run("status", "--json").out)["mounts"][0]["log_level"] == "debug"
    assert run("log-level", "error", str(mounted)).status == 0
    assert json.loads(run("status", "--json").out)["mounts"][0]["log_level"] == "error"


def test_log_level_of_nothing(run: Run, alone: None) -> None:
    """There must be a mount whose level it is."""
    assert run("log-level", "debug").err.startswith("mountfs: nothing is mounted; ")


def test_what_a_daemon_does(mounted: Path, tmp_path: Path) -> None:
    """SIGUSR1 writes tasks, waiting requests and stacks to the log, and the mount goes on."""
    (daemon,) = running()
    (log,) = (tmp_path / "home/.local/state/mountfs").iterdir()
    os.kill(daemon.pid, signal.SIGUSR1)
    until(lambda: "waiting requests:" in log.read_text() and "watch_callers" in log.read_text())
    assert "most recent call first" in log.read_text()
    assert sorted(os.listdir(mounted)) == ["browserbase", "dari", "kaizen"]


def test_what_a_path_means(mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links to a mount are followed, the inside of one is not touched, and ``..`` leads out of it again."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "direct").symlink_to(mounted / "dari")
    at = str(mounted)
    assert mount_at(at) is not None
    assert split(at) == (at, "")
    assert split(f"{tmp_path}/link/drive/dari/../kaizen/") == (at, "kaizen")
    assert split(f"{tmp_path}/direct/sess_1") == (at, "dari/sess_1")
    assert split(f"{tmp_path}/nowhere/../drive/dari") == (at, "dari")
    monkeypatch.chdir(tmp_path)
    assert split("drive/dari") == (at, "dari")
    assert split("dari//sess_1/./a/../b") == ("", "dari/sess_1/b")
    assert split("../../../etc") == ("", "etc")
