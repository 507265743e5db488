"""A real mount for one test: the daemon as a process of its own, started as systemd starts it, and always ended.

    with Daemon(config, place) as daemon:
        subprocess.run(["ls", place / "dari"])

Leaving the context ends the daemon with SIGTERM and fails if it does not go by itself, or leaves its mount behind; then
both are removed by force, so that the next test starts clean.

Concurrency: blocking, every wait bounded.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from mountfs.cli.table import mount_at, mounts
from mountfs.demo.samples import SAMPLES, Sample
from mountfs.demo.server import Fakes

ENDS = 30.0
"""Seconds anything here may take; nothing does."""
NOBODY = 65534
needs_fuse = [
    pytest.mark.mount,
    pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="needs /dev/fuse, open to us"),
]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
Words = Sequence[str | Path]


def until(done: Callable[[], bool], seconds: float = ENDS) -> None:
    """Waits for something that will happen; fails when it does not."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def sh(
    *words: str | Path, check: bool = True, user: int | None = None, **more: object
) -> subprocess.CompletedProcess[str]:
    """Runs a program; its output as text. ``user``: as whom, where we are root."""
    command = [*as_user(user), *map(str, words)]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment, **more)  # type: ignore[call-overload]
    assert not check or ended.returncode == 0, f"{words}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}"
    result: subprocess.CompletedProcess[str] = ended
    return result


def as_user(user: int | None) -> list[str]:
    """What stands before a command that is to run as another user."""
    return [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]


@functools.cache
def python_of(user: int | None) -> tuple[tuple[str, str], ...] | None:
    """A Python that can import mountfs as this user, as (program, PYTHONPATH); None if there is none. Ours may lie in a
    home directory that is closed to others; the system's own of the same version then does as well."""
    if user is None:
        return ((sys.executable, ""),)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *(path for path in sys.path if "site-packages" in path)])
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for program, path in ((sys.executable, ""), (system, paths)):
        command = [*as_user(user), program, "-c", "import mountfs.daemon, mountfs.fuse"]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            ended = subprocess.run(command, capture_output=True, check=False, env=environment, cwd="/", timeout=ENDS)
        except OSError:
            continue
        if ended.returncode == 0:
            return ((program, path),)
    return None


class Daemon:
    """``mountfs mount -f`` on ``place``. ``words``: more of its arguments; ``user``: who mounts (root may choose)."""

    def __init__(
        self,
        config: Path,
        place: Path,
        *words: str,
        user: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.place = place
        self.log = place.parent / f"{place.name}.log"
        self._config = config
        self._words = words
        self._user = user
        self._environ = environ or {}
        self.process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._notices = b""

    def start(self) -> Self:
        """Returns when the mount can be used; fails, with the daemon's words, if it never can."""
        found = python_of(self._user)
        if found is None:
            pytest.skip("no Python here that another user may run")
        program, path = found[0]
        home = self.place.parent / f"{self.place.name}.home"
        for directory in (home, home / "run"):
            directory.mkdir(mode=0o700, exist_ok=True)
            if self._user is not None:
                os.chown(directory, self._user, self._user)
        address = home / "run" / "notify"
        address.unlink(missing_ok=True)
        self._channel = channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with self.log.open("ab") as log:
            channel.bind(str(address))
            if self._user is not None:
                os.chown(address, self._user, self._user)
            channel.settimeout(0.05)
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "XDG_RUNTIME_DIR": str(home / "run"),
                "NOTIFY_SOCKET": str(address),
                "PYTHONDONTWRITEBYTECODE": "1",
                "LC_ALL": "C.UTF-8",
                **({"PYTHONPATH": path} if path else {}),
                **self._environ,
            }
            command = [program, "-P", "-m", "mountfs", "mount", "-f", "--config", str(self._config), *self._words]
            self.process = subprocess.Popen(
                [*as_user(self._user), *command, str(self.place)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd="/",
            )
            try:
                self._await(channel)
            except BaseException:
                self.clear()
                raise
        return self

    def _await(self, channel: socket.socket) -> None:
        assert self.process is not None
        deadline = time.monotonic() + ENDS
        while time.monotonic() < deadline:
            try:
                self._notices += channel.recv(4096)
                if b"READY=1" in self._notices:
                    return
            except TimeoutError:
                assert self.process.poll() is None, f"the daemon ended: {self.logged()}"
        raise AssertionError(f"the mount is never ready: {self.logged()}")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def notified(self) -> str:
        """What the service manager was told so far."""
        assert self._channel is not None
        with contextlib.suppress(TimeoutError):
            while True:
                self._notices += self._channel.recv(4096)
        return self._notices.decode()

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def status(self) -> dict[str, Any]:
        """What ``mountfs status --json`` says of this mount."""
        environment = {"XDG_RUNTIME_DIR": str(self.place.parent / f"{self.place.name}.home" / "run")}
        command = [sys.executable, "-m", "mountfs", "status", "--json", "--config", str(self._config), str(self.place)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
        mount: dict[str, Any] = json.loads(told.stdout)["mounts"][0]
        return mount

    def send(self, number: signal.Signals) -> None:
        """A signal to the daemon."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """The daemon's exit status, once it has ended."""
        assert self.process is not None
        return self.process.wait(ENDS)

    def stop(self) -> None:
        """Ends it with SIGTERM; fails if it does not end well, or leaves its mount behind."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.send(signal.SIGTERM)
                status = self.wait()
                assert status == 0, f"the daemon ended with {status}: {self.logged()[-4000:]}"
            assert mount_at(str(self.place)) is None, "the mount was left behind"
        finally:
            self.clear()

    def clear(self) -> None:
        """By force: whatever is left of the daemon and its mount."""
        if self._channel is not None:
            self._channel.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(ENDS)
        while mount_at(str(self.place)) is not None:
            subprocess.run(["umount" if os.geteuid() == 0 else "fusermount3", *_lazily(), str(self.place)], check=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.logged()[-8000:])
        self.stop()


def _lazily() -> list[str]:
    return ["-l"] if os.geteuid() == 0 else ["-u", "-z"]


def left_below(place: Path) -> list[str]:
    """Mounts that are still there below a directory."""
    return [mount.path for mount in mounts() if mount.path.startswith(f"{place}/")]


@dataclass(frozen=True)
class Samples:
    """The demo's sessions, mounted on ``place``; what unzip makes of an archive lies under ``expected(sample)``."""

    fakes: Fakes
    place: Path
    archives: Path
    unpacked: Path

    def shown(self, sample: Sample) -> Path:
        """Where the mount shows it."""
        return self.place / sample.provider / sample.id

    def expected(self, sample: Sample) -> Path:
        """What unzip makes of it, made on first use."""
        target = self.unpacked / sample.provider / sample.id
        if not target.exists():
            target.mkdir(parents=True)
            archive = sample.archive(self.archives)
            if sample.state != "empty":
                sh("unzip", "-q", archive, "-d", target)
            for info in self.members(sample):
                if (target / info.filename).is_symlink():  # unzip does not set the time of a link
                    moment = datetime(*info.date_time, tzinfo=UTC).timestamp()
                    os.utime(target / info.filename, (moment, moment), follow_symlinks=False)
        return target / sample.root if sample.root else target

    def members(self, sample: Sample) -> list[zipfile.ZipInfo]:
        """The archive's members."""
        with zipfile.ZipFile(sample.archive(self.archives)) as archive:
            return archive.infolist()


READABLE = [sample for sample in SAMPLES if sample.state != "gone"]
SMALL = [sample for sample in READABLE if "big" not in sample.id and not sample.id.endswith("3")]


def free_port() -> int:
    """One nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scraped(port: int) -> str:
    """The metrics that a daemon serves there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return str(answer.read(), "utf-8")
