"""``mountfs demo``: fake services on loopback, their sample sessions, and a real mount of them.

Everything it makes lies in one temporary directory: samples, keys, configuration, cache, log, and the mountpoint if
none was given. The daemon is a process of its own, as in real use; leaving the demo unmounts, waits for it and removes
the directory, however the demo ends. After SIGKILL, which leaves no time for that, the next demo does it.

Concurrency: the fakes run in their own thread; this one waits for the daemon or a signal, or runs the tour.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from mountfs.cli.common import choices, common_options
from mountfs.errors import MountfsError

if TYPE_CHECKING:
    from mountfs.demo.server import Fakes

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PENDING = 20.0
"""Seconds until the sessions that are not ready become ready: time to read what to try, and to see an ls fail first."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A demo that runs. ``place``: the mountpoint; ``log``: the daemon's."""

    place: str
    log: str
    fakes: Fakes
    daemon: subprocess.Popen[bytes]


@click.command()
@click.argument("mountpoint", required=False)
@click.option("--check", is_flag=True, help="Run a short scripted tour and exit with its result.")
@common_options
def command(mountpoint: str | None, check: bool) -> int:
    """Start fake services of all providers, mount their sample sessions, and say what to try.

    Ctrl-C ends it and leaves nothing behind.
    """
    _require_demo_packages()
    from mountfs.cli.checks import check_machine
    from mountfs.cli.leftovers import demo_directory
    from mountfs.config import MountOptions

    check_machine(MountOptions())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # of ticks and branches, where the locale has none
    with _interrupted_once(), demo_directory() as directory, _mounted(mountpoint, directory) as demo:
        if check:
            from mountfs.demo.tour import run

            return 0 if run(demo.place, demo.fakes, click.echo) else 1
        return _stay(demo)


def _require_demo_packages() -> None:
    try:
        import hypercorn
        import starlette

        del hypercorn, starlette
    except ImportError as error:
        raise MountfsError(f"the demo needs {error.name}", advice="run: pip install 'mountfs[demo]'") from None


@contextlib.contextmanager
def _interrupted_once() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does. From the first signal on all are ignored: cleaning up takes a
    moment, each step of it is bounded, and a second Ctrl-C must not stop it half-way."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    # Under nohup, the terminal's end is none of ours.
    heeded = [
        number for number in ENDING_SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _mounted(mountpoint: str | None, directory: str) -> Iterator[Mounted]:
    """The sample sessions, mounted. ``directory``: where all that this needs is put."""
    from mountfs.cli.background import start
    from mountfs.cli.leftovers import forget
    from mountfs.cli.table import canonical, mount_at
    from mountfs.config import mount_name
    from mountfs.demo.server import Fakes

    place = canonical(mountpoint) if mountpoint else os.path.join(directory, "sessions")
    # A mount whose daemon was killed is no directory to stat, but was mounted on one.
    was_there = os.path.isdir(place) or mount_at(place) is not None
    try:
        with Fakes(os.path.join(directory, "samples"), pending=PENDING) as fakes:
            daemon = start(_arguments(fakes, place, directory), _environment(directory))
            try:
                log = os.path.join(directory, "mountfs", f"mount-{mount_name(place)}.log")
                yield Mounted(place, log, fakes, daemon)
            finally:
                _end(place, daemon)
    finally:
        if not was_there:
            with contextlib.suppress(OSError):
                os.rmdir(place)
            if not os.path.lexists(place):
                forget(place)


def _arguments(fakes: Fakes, place: str, directory: str) -> list[str]:
    """The daemon's command line; writes the configuration that it names."""
    from mountfs.cli.leftovers import source_of

    config = os.path.join(directory, "config.toml")
    with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(fakes.config(os.path.join(directory, "cache"), sections=SECTIONS))
    level = choices().log_level
    words = ["--config", config, "-o", f"fsname={source_of(directory)}", *(["--log-level", level] if level else [])]
    return ["mount", "--foreground", *words, "--", place]


SECTIONS: dict[str, dict[str, object]] = {
    # A session that becomes ready should be seen soon.
    "freshness": {"pending": "1s", "live": "5s"},
    "providers.kaizen": {"list": True, "sessions": ["kz_weather_2026-11-20"]},
}


def _environment(directory: str) -> dict[str, str]:
    """The daemon's environment: its log goes into the demo's directory, and no setting of the user counts."""
    dropped = ("MOUNTFS_CONFIG", "MOUNTFS_LOG")
    environ = {key: value for key, value in os.environ.items() if key not in dropped}
    return {**environ, "XDG_STATE_HOME": directory}


def _stay(demo: Mounted) -> int:
    """Says what to try, and waits for a signal, or for the daemon's end, which only somebody else brings about."""
    from mountfs.demo.guide import guide

    try:
        click.echo(guide(demo.place, pending=PENDING, log=demo.log))
        status = demo.daemon.wait()
    except KeyboardInterrupt:
        _say("\nunmounting …")
        return 0
    if status < 0:
        raise MountfsError(f"the daemon was ended by {signal.Signals(-status).name}")
    if status:
        raise MountfsError(f"the daemon ended with status {status}", advice=f"it logged: {_last_line(demo.log)}")
    _say("unmounted by somebody else")
    return 0


def _last_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return ([line.strip() for line in file if line.strip()] or ["nothing"])[-1]
    except OSError:
        return "nothing"


def _say(text: str) -> None:
    """Tells the terminal, which may be gone: SIGHUP says so."""
    with contextlib.suppress(OSError):
        click.echo(text)


def _end(place: str, daemon: subprocess.Popen[bytes]) -> None:
    """Unmounts and waits for the daemon, whatever state they are in."""
    from mountfs.cli.background import STOP_TIMEOUT, stop
    from mountfs.cli.table import MountFailed, mount_at, unmount

    if mount_at(place):
        try:
            unmount(place)
        except MountFailed:
            # As a rule the shell that tried what the guide says stands in it.
            _say("it is still in use, so it is detached: what stands in it must leave")
            with contextlib.suppress(MountFailed):
                unmount(place, lazy=True)
            daemon.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        daemon.wait(STOP_TIMEOUT)
    if daemon.returncode is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            stop(daemon)
