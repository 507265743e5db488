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
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mountfs.cli.common import choices, common_options
from mountfs.cli.ending import Ending
from mountfs.cli.leftovers import clear_leftovers, demo_directory, forget, source_of
from mountfs.errors import MountfsError

if TYPE_CHECKING:
    from mountfs.demo.server import Fakes

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
    from mountfs.config import MountOptions

    check_machine(MountOptions())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # of ticks and branches, where the locale has none
    ending = Ending()
    with ending.heeded(), contextlib.ExitStack() as stack:
        try:
            clear_leftovers()
            with ending.held():
                directory = stack.enter_context(demo_directory())
            demo = _mount(mountpoint, directory, ending, stack)
            return _tour(demo) if check else _stay(demo)
        finally:
            ending.ignore()


def _require_demo_packages() -> None:
    try:
        import hypercorn
        import starlette

        del hypercorn, starlette
    except ImportError as error:
        raise MountfsError(f"the demo needs {error.name}", advice="run: pip install 'mountfs[demo]'") from None


def _mount(mountpoint: str | None, directory: str, ending: Ending, stack: contextlib.ExitStack) -> Mounted:
    """The sample sessions, mounted; how to take it all down is left on ``stack``. ``directory``: for all it needs."""
    from mountfs.cli.background import launch, wait
    from mountfs.cli.table import canonical, mount_at
    from mountfs.config import mount_name
    from mountfs.demo.server import Fakes

    place = canonical(mountpoint) if mountpoint else os.path.join(directory, "sessions")
    # A mount whose daemon was killed is no directory to stat, but was mounted on one.
    if not os.path.isdir(place) and mount_at(place) is None:
        stack.callback(_remove, place)
    fakes = stack.enter_context(Fakes(os.path.join(directory, "samples"), pending=PENDING))
    arguments, environ = _arguments(fakes, place, directory), _environment(directory)
    with ending.held():
        daemon, reading = launch(arguments, environ)
        stack.callback(_end, place, directory, daemon)
    wait(daemon, reading)
    return Mounted(place, os.path.join(directory, "mountfs", f"mount-{mount_name(place)}.log"), fakes, daemon)


def _remove(place: str) -> None:
    """A mountpoint that was not there before."""
    with contextlib.suppress(OSError):
        os.rmdir(place)
    if not os.path.lexists(place):
        forget(place)


def _arguments(fakes: Fakes, place: str, directory: str) -> list[str]:
    """The daemon's command line; writes the configuration that it names."""
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


def _tour(demo: Mounted) -> int:
    from mountfs.demo.tour import run

    return 0 if run(demo.place, demo.fakes, click.echo) else 1


def _stay(demo: Mounted) -> int:
    """Says what to try, and waits for a signal, or for the daemon's end, which only somebody else brings about."""
    from mountfs.demo.guide import guide

    try:
        click.echo(guide(demo.place, pending=PENDING, log=demo.log, mountfs=_this_program()))
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


def _this_program() -> str:
    """``mountfs``, where another terminal finds the one that runs; else its path."""
    path = os.path.join(os.path.dirname(sys.executable), "mountfs")
    found = shutil.which("mountfs")
    if (found and os.path.exists(path) and os.path.samefile(found, path)) or not os.path.exists(path):
        return "mountfs"
    return path


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


def _end(place: str, directory: str, daemon: subprocess.Popen[bytes]) -> None:
    """Unmounts and waits for the daemon, whatever state they are in."""
    from mountfs.cli.background import STOP_TIMEOUT, stop
    from mountfs.cli.table import MountFailed, mount_at, unmount

    def mounted() -> bool:
        mount = mount_at(place)
        return mount is not None and mount.source == source_of(directory)

    if not mounted():
        daemon.terminate()
    else:
        try:
            unmount(place)
        except MountFailed:
            # As a rule the shell that tried what the guide says stands in it.
            _say("it is still in use, so it is detached: what stands in it must leave")
            daemon.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        daemon.wait(STOP_TIMEOUT)
    if daemon.returncode is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            stop(daemon)
    if mounted():
        with contextlib.suppress(MountFailed):
            unmount(place, lazy=True)
