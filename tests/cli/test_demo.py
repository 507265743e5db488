"""The demo as a person runs it: it says what to try, stays, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Run

from mountfs.cli import checks
from mountfs.cli.lock import holder
from mountfs.cli.table import mount_at, mounts
from mountfs.demo.guide import TRIES

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse"),
]
ENDS = 60.0
LAST = "Ctrl-C here unmounts it and leaves nothing behind."


class Demo:
    """A demo that runs without a terminal; what it makes lies under ``home``, its temporary directory."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("mountfs")), "demo", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(home)},
        )
        self.said = ""

    def read(self, until: str) -> list[str]:
        """What it says, up to and with a line; or to the end. It may take its time, but not be silent for long."""
        assert self.process.stdout
        while until not in self.said:
            assert select.select([self.process.stdout], [], [], ENDS)[0], self.said
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                break
            self.said += piece.decode()
        return self.said.splitlines()

    def place(self) -> str:
        """Where it is mounted, once it is."""
        lines = self.read(LAST)
        assert lines[-1] == LAST, lines
        return lines[2].strip()

    def end(self, number: int = signal.SIGINT) -> int:
        """Its exit status after a signal."""
        self.process.send_signal(number)
        return self.status()

    def status(self) -> int:
        self.read("\0")
        return self.process.wait(ENDS)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "tmp"
    made.mkdir()
    return made


@pytest.fixture
def demo(home: Path) -> Iterator[Callable[..., Demo]]:
    """Starts demos; afterwards each has ended, with its daemon."""
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(home, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end()
        if each.process.stdout:
            each.process.stdout.close()
    for pid in daemons(home):
        os.kill(pid, signal.SIGKILL)


def daemons(home: Path) -> list[int]:
    """The processes that have a demo's configuration on their command line."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                words = (each / "cmdline").read_bytes()
            except OSError:
                continue
            if f"{home}/mountfs-demo-".encode() in words:
                found.append(int(each.name))
    return found


def nothing_left(home: Path) -> bool:
    """No file, no process, no mount, no lock."""
    assert list(home.iterdir()) == []
    assert daemons(home) == []
    assert [
        mount.path for mount in mounts() if mount.source.startswith("mountfs-demo-") and str(home) in mount.path
    ] == []
    runtime = Path(os.environ["XDG_RUNTIME_DIR"], "mountfs")
    assert not runtime.exists() or list(runtime.iterdir()) == []
    return True


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + ENDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(demo: Callable[..., Demo], home: Path, number: signal.Signals) -> None:
    """It says where the mount is, shows each session and what to try, and goes without a trace."""
    running = demo()
    place = running.place()
    assert sorted(os.listdir(place)) == ["browserbase", "dari", "kaizen"]
    assert all(command.format(mountfs="mountfs") in running.said for command, _ in TRIES)
    assert all(session in running.said for session in os.listdir(f"{place}/dari"))
    assert "\x1b" not in running.said
    assert Path(place, "dari/sess_research/notes/to do, maybe.txt").read_bytes() == b"1. ask\n2. wait\n"
    assert running.end(number) == 0
    assert running.said.endswith(f"{LAST}\n\nunmounting …\n")
    assert nothing_left(home)


def test_what_it_says_to_try_works(demo: Callable[..., Demo], home: Path, tmp_path: Path) -> None:
    """Each command that should succeed does, typed as it stands there, and takes no long time."""
    place = demo().place()
    for command, _ in TRIES:
        if "kz_big" in command or "kz_building" in command or command.startswith("ls dari/sess_gone"):
            continue
        typed = command.replace("/tmp", str(tmp_path)).format(mountfs=Path(sys.executable).with_name("mountfs"))
        done = subprocess.run(typed, shell=True, cwd=place, capture_output=True, text=True, timeout=ENDS, check=False)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout or command.startswith("cp")
    assert (tmp_path / "reports/Report final.pdf").read_bytes().startswith(b"%PDF-")


def test_somebody_stands_in_it(demo: Callable[..., Demo], home: Path) -> None:
    """A shell whose directory it is does not keep it: the mount is detached, and all else goes."""
    running = demo()
    with subprocess.Popen(["sleep", "600"], cwd=f"{running.place()}/dari") as shell:
        try:
            assert running.end() == 0
            assert "still in use" in running.said
            assert nothing_left(home)
        finally:
            shell.kill()


def test_second_signal(demo: Callable[..., Demo], home: Path) -> None:
    """Impatience does not stop the cleaning up half-way."""
    running = demo()
    running.place()
    running.process.send_signal(signal.SIGINT)
    running.read("unmounting")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        running.process.send_signal(number)
    assert running.status() == 0
    assert nothing_left(home)


STAGES: dict[str, Callable[[Path], object]] = {
    "directory": lambda home: list(home.glob("mountfs-demo-*")),
    "configuration": lambda home: list(home.glob("mountfs-demo-*/config.toml")),
    "cache": lambda home: list(home.glob("mountfs-demo-*/cache")),
    "mount": lambda home: [mount for mount in mounts() if mount.path.startswith(f"{home}/")],
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_while_it_starts(demo: Callable[..., Demo], home: Path, stage: str) -> None:
    """Wherever in its start it is met."""
    running = demo()
    wait_for(lambda: STAGES[stage](home))
    assert running.end(signal.SIGTERM) in (0, 1)
    assert "Traceback" not in running.said
    assert nothing_left(home)


def test_a_mountpoint_of_ones_own(demo: Callable[..., Demo], home: Path, tmp_path: Path) -> None:
    """One it had to make goes with it; one that was there stays."""
    place = tmp_path / "given"
    for was_there in (False, True):
        if was_there:
            place.mkdir()
        running = demo(str(place))
        assert running.place() == str(place)
        assert sorted(os.listdir(place)) == ["browserbase", "dari", "kaizen"]
        assert running.end() == 0
        assert place.exists() == was_there
        assert list(home.iterdir()) == []


def test_unmounted_by_somebody_else(demo: Callable[..., Demo], home: Path, mountfs: Run) -> None:
    """That ends the demo as well."""
    running = demo()
    assert mountfs("umount", running.place()).status == 0
    assert running.status() == 0
    assert "unmounted by somebody else" in running.said
    assert nothing_left(home)


def test_its_daemon_is_killed(demo: Callable[..., Demo], home: Path) -> None:
    """It notices, says so in one line, clears the dead mount and fails."""
    running = demo()
    place = running.place()
    pid = holder(place, mount_at(place))
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert running.status() == 1
    assert running.said.endswith(f"{LAST}\nmountfs: the daemon was ended by SIGKILL\n")
    assert nothing_left(home)


@pytest.mark.parametrize(("given", "with_daemon"), [(False, False), (True, True)])
def test_the_next_one_clears_up(
    demo: Callable[..., Demo], home: Path, tmp_path: Path, given: bool, with_daemon: bool
) -> None:
    """SIGKILL leaves mount, files and daemon; the next demo ends them, and can take the same mountpoint."""
    arguments = (str(tmp_path / "given"),) if given else ()
    killed = demo(*arguments)
    place = killed.place()
    (pid,) = daemons(home)
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    if with_daemon:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: pid not in daemons(home))
    assert mount_at(place) is not None

    running = demo(*arguments)
    again = running.place()
    assert (again == place) == given
    assert len(list(home.iterdir())) == 1
    assert pid not in daemons(home)
    assert sorted(os.listdir(again)) == ["browserbase", "dari", "kaizen"]
    assert running.end() == 0
    assert list(home.iterdir()) == []
    assert daemons(home) == []
    assert mount_at(place) is None


def test_two_at_once(demo: Callable[..., Demo], home: Path) -> None:
    """A demo that lives is no leftover."""
    first, second = demo(), demo()
    places = [first.place(), second.place()]
    third = demo()
    places.append(third.place())
    assert len(set(places)) == 3
    for place in places:
        assert os.listdir(f"{place}/dari/sess_research/notes/日本語") == ["メモ.md"]
    assert [each.end() for each in (first, second, third)] == [0, 0, 0]
    assert nothing_left(home)


def test_check(demo: Callable[..., Demo], home: Path) -> None:
    """The tour finds every session as its archive has it, in plain lines, and leaves nothing behind."""
    running = demo("--check")
    assert running.status() == 0, running.said
    assert "✗" not in running.said
    assert "\x1b" not in running.said
    assert "\r" not in running.said
    assert running.said.splitlines()[-1].endswith("all as it should be.")
    assert nothing_left(home)


def test_check_without_a_mount(demo: Callable[..., Demo], home: Path) -> None:
    """A tour whose daemon dies fails, and soon."""
    running = demo("--check")
    wait_for(lambda: "✓" in running.said or running.read("✓"))
    (pid,) = daemons(home)
    os.kill(pid, signal.SIGKILL)
    assert running.status() == 1
    assert "✗" in running.said
    assert "Traceback" not in running.said
    assert nothing_left(home)


def test_a_taken_mountpoint(demo: Callable[..., Demo], home: Path, tmp_path: Path) -> None:
    """Refused in one line, and the demo that is there goes on."""
    place = tmp_path / "given"
    first = demo(str(place))
    first.place()
    second = demo(str(place))
    assert second.status() == 1
    (line,) = second.said.splitlines()
    assert line.startswith(f"mountfs: {place}: already mounted, by process ")
    assert sorted(os.listdir(place)) == ["browserbase", "dari", "kaizen"]
    assert len(list(home.iterdir())) == 1
    assert first.end() == 0


def test_a_locale_without_ticks(demo: Callable[..., Demo], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be shown is replaced, and the demo works."""
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    running = demo()
    running.place()
    assert "??? kaizen" in running.said
    assert running.end() == 0
    assert nothing_left(home)


def test_without_fuse(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to do."""
    monkeypatch.setattr(checks, "FUSE_DEVICE", "/nowhere/fuse")
    told = run("demo")
    assert (told.status, told.out) == (1, "")
    (line,) = told.err.splitlines()
    assert line.startswith("mountfs: /nowhere/fuse is not there; run: modprobe fuse")
