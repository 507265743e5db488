"""``mountfs demo``: fake services on loopback, their sample sessions, and a real mount of them.

Everything it makes lies in one temporary directory: samples, keys, configuration, cache, log, and the mountpoint if
none was given. The daemon is a process of its own, as in real use; leaving the demo unmounts, waits for it and removes
the directory, however the demo ends (but by SIGKILL).

Concurrency: the fakes run in their own thread; this one waits for a signal, or runs the tour.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from mountfs.cli.common import choices, common_options
from mountfs.errors import MountfsError

if TYPE_CHECKING:
    from mountfs.demo.server import Fakes

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
PENDING = 15.0
"""Seconds until the sessions that are not ready become ready: time to see an ls fail first."""


@click.command()
@click.argument("mountpoint", required=False)
@click.option("--check", is_flag=True, help="Run a short scripted tour and exit with its result.")
@common_options
def command(mountpoint: str | None, check: bool) -> int:
    """Start fake services of all providers, mount their sample sessions, and say what to try.

    Ctrl-C ends it and leaves nothing behind.
    """
    _require_demo_packages()
    with _signals_interrupt(), _mounted(mountpoint, PENDING if not check else 2.0) as (place, fakes):
        if check:
            from mountfs.demo.tour import run

            return 0 if run(place, fakes, click.echo) else 1
        _say_what_to_try(place)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        click.echo("\nunmounting …")
    return 0


def _require_demo_packages() -> None:
    try:
        import hypercorn
        import starlette

        del hypercorn, starlette
    except ImportError as error:
        raise MountfsError(f"the demo needs {error.name}", advice="run: pip install 'mountfs[demo]'") from None


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does, so that it can clean up."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _mounted(mountpoint: str | None, pending: float) -> Iterator[tuple[str, Fakes]]:
    """The sample sessions, mounted; (mountpoint, fakes)."""
    from mountfs.cli.background import start
    from mountfs.cli.table import canonical
    from mountfs.demo.server import Fakes

    with tempfile.TemporaryDirectory(prefix="mountfs-demo-", ignore_cleanup_errors=True) as directory:
        place = canonical(mountpoint or os.path.join(directory, "sessions"))
        was_there = os.path.isdir(place)
        with Fakes(os.path.join(directory, "samples"), pending=pending) as fakes:
            config = os.path.join(directory, "config.toml")
            with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(fakes.config(os.path.join(directory, "cache"), sections=SECTIONS))
            level = choices().log_level
            arguments = ["mount", "--foreground", "--config", config, *(["--log-level", level] if level else [])]
            daemon = start([*arguments, "--", place], _environment(directory))
            try:
                yield place, fakes
            finally:
                _end(place, daemon)
        if not was_there:
            with contextlib.suppress(OSError):
                os.rmdir(place)


def _end(place: str, daemon: subprocess.Popen[bytes]) -> None:
    """Unmounts and waits; a second Ctrl-C does not stop that half-way."""
    from mountfs.cli.background import STOP_TIMEOUT, stop
    from mountfs.cli.table import MountFailed, unmount

    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *ENDING_SIGNALS)}
    try:
        try:
            unmount(place)
        except MountFailed as error:
            # Somebody's shell stands in it, or the daemon died: it goes all the same.
            click.echo(f"mountfs: {error.message}; detaching it", err=True)
            with contextlib.suppress(MountFailed):
                unmount(place, lazy=True)
            stop(daemon)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(STOP_TIMEOUT)
        if daemon.returncode is None:
            stop(daemon)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


SECTIONS: dict[str, dict[str, object]] = {
    # A session that becomes ready should be seen soon; ids of the fakes' own making are all worth a question.
    "freshness": {"pending": "1s", "absent": "5s", "live": "5s"},
    "providers.kaizen": {"list": True, "sessions": ["kz_weather_2026-11-20"]},
}


def _environment(directory: str) -> dict[str, str]:
    """The daemon's environment: its log goes into the demo's directory, and no proxy or setting of the user counts."""
    dropped = ("MOUNTFS_CONFIG", "MOUNTFS_LOG")
    environ = {key: value for key, value in os.environ.items() if key not in dropped}
    return {**environ, "XDG_STATE_HOME": os.path.join(directory, "state")}


def _say_what_to_try(place: str) -> None:
    from mountfs.demo.samples import SAMPLES

    click.echo(f"Fake Kaizen, Dari and Browserbase services are mounted at {place}\n")
    for sample in SAMPLES:
        click.echo(f"  {sample.provider}/{sample.id:<38} {sample.title}")
    tries = (
        f"ls -l {place}/dari",
        f"tree {place}/dari/sess_research || find {place}/dari/sess_research",
        f"grep -r -c ERROR {place}/dari/sess_research/logs",
        f"cp -r {place}/kaizen/kz_weather_2026-11-20 /tmp",
        f"sqlite3 'file:{place}/dari/sess_research/data/readings.sqlite?immutable=1' .tables",
        f"head -n 3 {place}/kaizen/kz_big/trace.log",
        f"ls {place}/kaizen/kz_building        # not ready at first; ready after {PENDING:g} s",
    )
    click.echo("\nTry, in another terminal:\n")
    for line in tries:
        click.echo(f"  {line}")
    click.echo("\nCtrl-C unmounts and leaves nothing behind.")
