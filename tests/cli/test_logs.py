"""Log lines: for a person, for the journal, as JSON, and with the request that caused them."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
import trio
from mounts import until
from running import Run

from mountfs.cli.logs import JournalFormatter, JsonFormatter, TextFormatter, configure_logging
from mountfs.errors import Absent
from mountfs.filesystem import Caller, note_request
from mountfs.filesystem.waiting import Waiting
from mountfs.model import Inode


def record(message: str = "dari/s_1: gone", level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("mountfs.test", level, "file.py", 1, message, (), None)


def caused() -> logging.LogRecord:
    """A line logged while a request of process 42 waits."""
    made: list[logging.LogRecord] = []

    async def work() -> None:
        line = record()
        note_request(line)
        made.append(line)
        raise Absent("gone")

    async def main() -> None:
        waiting = Waiting(10, lambda: 0.0)
        with pytest.raises(Absent):
            await waiting.wait(Caller(42), work, "dari/s_1/a.txt", Inode(7))
        assert waiting.events("dari/s_1")[0]["pid"] == 42
        assert not waiting.pending()

    trio.run(main)
    return made[0]


def test_for_a_person() -> None:
    """A line names the request and the process it was caused by, where there is one."""
    form = TextFormatter("%(levelname)s %(message)s")
    assert form.format(record()) == "WARNING dari/s_1: gone"
    assert form.format(caused()) == "WARNING dari/s_1: gone [request 1 of process 42]"


def test_for_the_journal() -> None:
    """Every line of a message bears its priority."""
    form = JournalFormatter("%(message)s")
    assert form.format(record("a\nb", logging.ERROR)) == "<3>a\n<3>b"
    assert form.format(record("a", logging.DEBUG)) == "<7>a"


def test_for_a_program() -> None:
    """One object a line, whatever the message holds."""
    facts = json.loads(JsonFormatter().format(caused()))
    assert facts.pop("time").endswith("+00:00")
    assert facts == {
        "level": "warning",
        "logger": "mountfs.test",
        "message": "dari/s_1: gone",
        "request": 1,
        "pid": 42,
        "path": "dari/s_1/a.txt",
    }
    line = record('a\n"b"')
    line.exc_info = (ValueError, ValueError("why"), None)
    shown = JsonFormatter().format(line)
    assert "\n" not in shown
    assert "ValueError: why" in json.loads(shown)["traceback"]


def test_a_file_as_json(tmp_path: Path) -> None:
    """--log-format holds for the log file too."""
    configure_logging("info", {}, path=str(tmp_path / "log"), form="json")
    logging.getLogger("mountfs").warning("there")
    assert json.loads((tmp_path / "log").read_text())["message"] == "there"


def test_a_mount_that_logs_json(mountfs: Run, alone: None, config: str, tmp_path: Path) -> None:
    """``mount --log-format json``, in the background: every line parses, and a failure names who asked."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no /dev/fuse here")
    place = tmp_path / "drive"
    assert mountfs("mount", "-b", "--log-format", "json", "--config", config, str(place)).status == 0
    try:
        with pytest.raises(FileNotFoundError):
            os.stat(place / "dari/sess_nobody/x")
        (log,) = (tmp_path / "home/.local/state/mountfs").iterdir()
        until(lambda: "sess_nobody" in log.read_text())
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        failure = next(line for line in lines if "sess_nobody" in line["message"])
        assert failure["pid"] == os.getpid()
        assert failure["path"] == "dari/sess_nobody"
    finally:
        assert mountfs("umount", str(place)).status == 0
