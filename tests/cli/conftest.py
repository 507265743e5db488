"""Running the command line: in this process where nothing is mounted, else as people run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from running import Ran, Run

from mountfs.cli import main
from mountfs.cli.table import mount_at, mounts, unmount
from mountfs.demo.server import Fakes

ENDS = 30.0
"""Seconds anything here may take; nothing does."""


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home of its own, no configuration and no key but the test's; afterwards, nothing may be mounted below it."""
    for name in list(os.environ):
        if name.startswith(("MOUNTFS", "XDG_")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    for directory in (home, home / "run"):
        directory.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    yield
    left = [mount.path for mount in mounts() if mount.path.startswith(str(tmp_path))]
    for path in left:
        unmount(path, lazy=True)
    assert not left


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process."""

    def in_process(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        sys.stdout.flush()
        captured = capfd.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return in_process


@pytest.fixture
def mountfs() -> Run:
    """Runs the command line as a process of its own, without a terminal."""

    def as_process(*arguments: str, environ: Mapping[str, str] | None = None, program: str = "mountfs") -> Ran:
        words = [str(Path(sys.executable).with_name(program)), *arguments]
        ended = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=ENDS,
            check=False,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    return as_process


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fakes]:
    """The demo's services with their sample sessions."""
    with Fakes(tmp_path_factory.mktemp("samples"), pending=0.0) as running:
        yield running


@pytest.fixture
def config(fakes: Fakes, tmp_path: Path) -> str:
    """A configuration that points at them, with a cache of its own."""
    path = tmp_path / "mountfs.toml"
    path.write_text(fakes.config(tmp_path / "cache", sections={"providers.kaizen": {"list": True}}))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in this process see the daemons of this test alone, and no other mount of this machine."""
    monkeypatch.setattr(
        "mountfs.cli.daemons.runtime_places",
        lambda environ, _uid: (os.path.join(environ["XDG_RUNTIME_DIR"], "mountfs"),),
    )
    below = os.environ["HOME"].removesuffix("/home")
    for module in ("table", "daemons"):
        monkeypatch.setattr(f"mountfs.cli.{module}.mounts", lambda: [m for m in mounts() if m.path.startswith(below)])


@pytest.fixture
def mounted(alone: None, mountfs: Run, config: str, tmp_path: Path) -> Iterator[Path]:
    """The demo's services, mounted by a daemon of this test's own."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no /dev/fuse here")
    place = tmp_path / "drive"
    told = mountfs("mount", "--background", "--config", config, str(place))
    assert told.status == 0, told.err
    yield place
    if mount_at(str(place)) is not None:
        told = mountfs("umount", str(place))
        assert told.status == 0, told.err


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes put in here are ended after the test, should it not have done so."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(ENDS)
