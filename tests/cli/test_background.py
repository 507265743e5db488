"""Starting a daemon behind the terminal, against stand-ins for it that behave and misbehave."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mountfs.cli import background
from mountfs.cli.background import READY_FD, in_background, readiness, start, stop
from mountfs.cli.logs import configure_logging, in_journal
from mountfs.cli.table import MountFailed

STAND_IN = """
import os, signal, sys, time
ready = int(os.environ["_MOUNTFS_READY_FD"])
behaviour = sys.argv[1]
if behaviour == "ready":
    os.write(ready, b"ready")
    os.close(ready)
    signal.pause()
elif behaviour == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(ready, b"ready")
    while True: signal.pause()
elif behaviour == "refuse":
    print("mountfs: told once", file=sys.stderr)
    sys.exit(int(sys.argv[2]))
elif behaviour == "die":
    os.kill(os.getpid(), signal.SIGKILL)
elif behaviour == "hang":
    signal.pause()
sys.exit(7)
"""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def stand_in(tmp_path: Path, ended: list[subprocess.Popen[bytes]]) -> Start:
    """Starts a package of the same name that is found first."""
    package = tmp_path / "mountfs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STAND_IN)

    def started(*arguments: str) -> subprocess.Popen[bytes]:
        process = start(arguments, {**os.environ, "PYTHONPATH": str(tmp_path)})
        ended.append(process)
        return process

    return started


def test_ready(stand_in: Start) -> None:
    """start returns when the daemon is ready; until then it is in our process group, which an automount lets pass."""
    process = stand_in("ready")
    assert process.poll() is None
    assert os.getpgid(process.pid) == os.getpgid(0)
    stop(process)
    assert process.returncode is not None


def test_deaf_daemon_is_killed(stand_in: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that does not listen to SIGTERM is ended all the same."""
    monkeypatch.setattr(background, "STOP_TIMEOUT", 0.2)
    process = stand_in("deaf")
    stop(process)
    assert process.returncode == -9


@pytest.mark.parametrize("status", [1, 2])
def test_refusal(stand_in: Start, capfd: pytest.CaptureFixture[str], status: int) -> None:
    """The daemon's own status is ours, and its one line is not repeated."""
    with pytest.raises(SystemExit) as caught:
        stand_in("refuse", str(status))
    assert caught.value.code == status
    assert capfd.readouterr().err == "mountfs: told once\n"


@pytest.mark.parametrize(
    ("behaviour", "message"), [("die", r"by signal 9 \(SIGKILL\)"), ("nothing", "with status 7 before")]
)
def test_silent_end(stand_in: Start, behaviour: str, message: str) -> None:
    """A daemon that ended without a word is told of."""
    with pytest.raises(MountFailed, match=message):
        stand_in(behaviour)


def test_never_ready(stand_in: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is never ready is ended, and that is told."""
    monkeypatch.setattr(background, "START_TIMEOUT", 0.3)
    with pytest.raises(MountFailed, match=r"not ready within 0.3 s"):
        stand_in("hang")


def test_readiness_in_the_foreground(tmp_path: Path) -> None:
    """systemd is told; without anybody to tell, nothing happens."""
    readiness({}, None)()
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(5)
        readiness({"NOTIFY_SOCKET": address}, None)()
        assert channel.recv(100) == b"READY=1"
    readiness({"NOTIFY_SOCKET": address}, None)()
    assert not in_background({})
    assert in_background({READY_FD: "3"})


def test_ready_daemon_has_a_session_of_its_own() -> None:
    """No signal of the terminal reaches a daemon once it is ready."""
    code = "import os; from mountfs.cli.background import readiness; readiness(os.environ, None)(); os.read(0, 1)"
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        env={**os.environ, READY_FD: str(writing)},
        pass_fds=(writing,),
    ) as process:
        os.close(writing)
        assert os.read(reading, 10) == b"ready"
        os.close(reading)
        assert os.getsid(process.pid) == process.pid


def test_log_file_is_private_and_journal_lines_have_priorities(tmp_path: Path) -> None:
    """The log of a background daemon is its owner's; under systemd each line starts with its priority."""
    import logging

    from mountfs.cli.logs import JournalFormatter

    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        root.handlers = []
        configure_logging("info", {}, path=str(tmp_path / "log"))
        logging.getLogger("mountfs.x").warning("one\ntwo")
        logging.getLogger("httpx").info("GET https://signed")
        for handler in root.handlers:
            handler.close()
    finally:
        root.handlers = before
        root.setLevel(level)
    text = (tmp_path / "log").read_text()
    assert "WARNING one\ntwo" in text
    assert "signed" not in text
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    record = logging.LogRecord("x", logging.WARNING, "", 0, "one\ntwo", (), None)
    assert JournalFormatter("%(message)s").format(record) == "<4>one\n<4>two"
    status = os.fstat(2)
    assert in_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    assert not in_journal({"JOURNAL_STREAM": "1:2"})
