"""The privileged half of mountfs@.service, and a daemon without privileges that serves what it opened; no systemd."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from drives import World, zip_of
from managers import Manager
from mounts import ENDS, NOBODY, as_user, needs_root, python_of, until

from mountfs.cli.table import mount_at
from mountfs.demo.server import Fakes
from mountfs.service import FUSE_NAME, opener
from mountfs.service.opener import MS_NOEXEC, OpenerError, main, mount_flags, mounted_at, place_of

needs_fuse = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse")


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory others may enter; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="mountfs-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def place(open_place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mountpoint below the test's directory, which the sandbox would hide; unmounted after the test."""
    monkeypatch.setattr(opener, "HIDDEN", ())
    monkeypatch.setattr(opener, "reachable", lambda path: None)
    monkeypatch.setattr(opener, "enter", lambda: None)  # PID 1 need not be systemd here
    place = open_place / "drive"
    yield place
    while mount_at(str(place)) is not None:
        opener.unmount(str(place))


@pytest.fixture
def manager(open_place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Who is told, and keeps the descriptor."""
    with Manager(open_place) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
        yield manager


@pytest.mark.parametrize("arguments", [[], ["open"], ["mend", "/srv/x"], ["open", ""], ["open", "/srv/x", "", "more"]])
def test_wrong_call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line says how it is called, and that it is not for people."""
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("mountfs-opener: write: mountfs-opener open|tune|close MOUNTPOINT")
    assert said.count("\n") == 1


@pytest.mark.parametrize("hidden", ["/tmp/x", "/home/a/x", "/root", "/run/user/7/x", "/var/tmp/y", "/proc/x"])
def test_places_the_sandbox_hides(hidden: str) -> None:
    """The daemon would not see its mount there, and the watchdog end it."""
    with pytest.raises(OpenerError, match="of its own; mount elsewhere"):
        place_of(hidden)
    assert place_of("/srv/mountfs/x/") == "/srv/mountfs/x"


def test_closed_to_others(tmp_path: Path) -> None:
    """A mountpoint nobody can come to is refused, naming the directory."""
    (tmp_path / "closed" / "x").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    with pytest.raises(OpenerError, match=f"{tmp_path}/closed is closed to others; run: chmod"):
        opener.reachable(str(tmp_path / "closed" / "x"))


def test_not_under_systemd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Path) -> None:
    """By hand it mounts nothing: nobody would take the descriptor."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert main(["open", str(place)]) == 1
    assert "NOTIFY_SOCKET is not set" in capsys.readouterr().err
    assert not place.exists()


def test_noexec() -> None:
    """Of the words, noexec is the kernel's."""
    assert not mount_flags(["uid=7", ""]) & MS_NOEXEC
    assert mount_flags(["uid=7", "noexec"]) & MS_NOEXEC


def test_mount_table(tmp_path: Path) -> None:
    """The topmost mount counts; blanks in a path are written in octal."""
    table = tmp_path / "mountinfo"
    table.write_text(
        "36 1 0:32 / /srv/a\\040b rw - ext4 /dev/x rw\n"
        "37 36 0:61 / /srv/a\\040b ro,nosuid shared:3 - fuse.mountfs agents ro,user_id=7\n"
    )
    assert mounted_at("/srv/a b", str(table)) == opener.Mounted("fuse.mountfs", os.makedev(0, 61))
    assert mounted_at("/srv/a", str(table)) is None


PASS = """
import os, sys
device = int(sys.argv[1])
if device != 3:
    os.dup2(device, 3)
    os.close(device)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Passes a descriptor as systemd does: as number 3, to the process named in LISTEN_PID."""


class Served:
    """A daemon as ``nobody`` without any privilege, given the descriptor the manager stored, as systemd gives it."""

    def __init__(self, manager: Manager, config: Path, place: Path) -> None:
        found = python_of(NOBODY)
        if found is None:
            pytest.skip("no Python here that another user may run")
        program, path = found[0]
        home = place.parent / "home"
        device = manager.stored[FUSE_NAME]
        self.log = place.parent / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *[sys.executable, "-c", PASS, str(device)],
                    *[*as_user(NOBODY)[:-1], "--no-new-privs", "--bounding-set=-all", "--"],
                    *[program, "-P", "-m", "mountfs", "mount", "-f", "--config", str(config)],
                    *["-o", "allow_other", "-o", "", str(place)],
                ],
                pass_fds=(device,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(home),
                    "XDG_RUNTIME_DIR": str(home),
                    "NOTIFY_SOCKET": manager.address,
                    "WATCHDOG_USEC": "300000",
                    "LISTEN_FDS": "1",
                    "LISTEN_FDNAMES": FUSE_NAME,
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **({"PYTHONPATH": path} if path else {}),
                },
            )

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(ENDS)


def opened(place: Path, words: str = "") -> None:
    assert main(["open", str(place), words]) == 0


@pytest.fixture
def served(manager: Manager, place: Path) -> Iterator[Served]:
    """Opened, and served by nobody."""
    home = place.parent / "home"
    home.mkdir(mode=0o700)
    with Fakes() as fakes:
        world = World(fakes, home)
        world.session("dari", zip_of({"a.txt": b"alpha"}))
        world.config()
        for path in [home, *home.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        opened(place, "noexec,fsname=agents")
        served = Served(manager, home / "config.toml", place)
        try:
            until(lambda: manager.count("READY=1") == 1 or served.process.poll() is not None)
            assert manager.count("READY=1"), served.log.read_text()
            yield served
        finally:
            served.end()


@pytest.mark.mount
@needs_root
@needs_fuse
def test_daemon_without_privileges(served: Served, manager: Manager, place: Path) -> None:
    """It serves everybody, feeds the watchdog, takes the descriptor out of the store, and is told of as stopping."""
    assert (place / "dari" / "s_1" / "a.txt").read_bytes() == b"alpha"
    seen = mount_at(str(place))
    assert seen is not None
    assert (seen.fstype, seen.source) == ("fuse.mountfs", "agents")
    assert manager.stored == {}
    manager.wait_for("WATCHDOG=1", 2)
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    assert f"Uid:\t{NOBODY}" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert main(["tune", str(place)]) == 0
    assert main(["close", str(place)]) == 0
    assert served.process.wait(ENDS) == 0, served.log.read_text()
    assert mount_at(str(place)) is None
    manager.wait_for("STOPPING=1")


@pytest.mark.mount
@needs_root
@needs_fuse
def test_crash_leaves_enotconn(
    served: Served, manager: Manager, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a failure the dead mount stays, so that no mirror job sees an empty directory; the next start clears it. A
    mount that lives is left alone."""
    assert main(["open", str(place)]) == 1
    assert "already mounted, and served by another process" in capsys.readouterr().err
    served.process.send_signal(signal.SIGKILL)
    served.process.wait(ENDS)
    monkeypatch.setenv("SERVICE_RESULT", "signal")
    assert main(["close", str(place)]) == 0
    with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        os.listdir(place)
    opened(place)
    assert list(manager.stored) == [FUSE_NAME]
    monkeypatch.setenv("SERVICE_RESULT", "success")
    assert main(["close", str(place)]) == 0
    assert manager.stored == {}
    assert mount_at(str(place)) is None


@pytest.mark.mount
@needs_root
@needs_fuse
def test_manager_that_keeps_nothing(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing stays mounted where the descriptor is not taken."""
    with Manager(tmp_path, deaf=True) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        monkeypatch.setattr(opener.Notifier.barrier, "__defaults__", (0.05,))
        assert main(["open", str(place)]) == 1
    assert "FileDescriptorStoreMax=1" in capsys.readouterr().err
    assert mount_at(str(place)) is None
