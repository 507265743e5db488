"""``mountfs doctor``: is everything right, and if not, what to do? A line a check; status 1 when something is wrong.

It asks the daemons on their sockets and never goes into a mount, so it works while one hangs.

Concurrency: one thread; the services are asked at once, inside trio.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mountfs.cli.common import common_options, log_level, read_config
from mountfs.cli.finding import NOTE, OK, PROBLEM, Finding
from mountfs.errors import MountfsError

if TYPE_CHECKING:
    from mountfs.cli.daemons import Daemon

ANSWER_TIMEOUT = 5.0
MARKS = {OK: ("ok", "green"), NOTE: ("note", "yellow"), PROBLEM: ("problem", "red")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object: each check with its state.")
@click.option("--offline", is_flag=True, help="Make no request to the services.")
@click.option("--bundle", metavar="FILE", help="Also write a report without secrets, to be attached to a bug report.")
@common_options
def command(as_json: bool, offline: bool, bundle: str | None) -> int:
    """Check this machine, the running mounts, the configuration and every provider's key with a live call."""
    from mountfs.cli.logs import configure_logging

    configure_logging(log_level("error"), os.environ)
    found: list[Finding] = []
    for finding in examine(offline=offline):
        found.append(finding)
        if not as_json:
            _show(finding)
    problems = sum(finding.state == PROBLEM for finding in found)
    if as_json:
        click.echo(json.dumps({"ok": not problems, "checks": [asdict(finding) for finding in found]}, indent=2))
    elif problems:
        click.echo(f"{problems} problem{'s' if problems > 1 else ''}")
    else:
        click.echo("nothing is wrong")
    if bundle is not None:
        from mountfs.cli.bundle import write

        write(bundle, found)
        click.echo(f"wrote {bundle}", err=as_json)
    return 1 if problems else 0


def _show(finding: Finding) -> None:
    from mountfs.cli.trees import printable

    mark, colour = MARKS[finding.state]
    says = printable(os.fsencode(f"{finding.what}: {finding.says}"))
    click.echo(f"{click.style(f'{mark:<8}', fg=colour)} {says}")
    if finding.advice and finding.state != OK:
        click.echo(f"{'':8}   {printable(os.fsencode(finding.advice))}")


def examine(*, offline: bool) -> Iterator[Finding]:
    """Every check, in the order in which one would look."""
    from mountfs.cli import machine

    yield from machine.fuse()
    yield from machine.directories()
    yield from machine.updatedb()
    yield from _mounts()
    yield from _configuration(offline=offline)


def _configuration(*, offline: bool) -> Iterator[Finding]:
    from mountfs.cli import machine, service
    from mountfs.config import require_providers

    try:
        config = read_config()
        require_providers(config)
    except MountfsError as error:
        for line in error.message.splitlines():
            yield Finding("configuration", PROBLEM, line, error.advice)
        return
    yield Finding("configuration", OK, config.path or "from the environment")
    yield from machine.cache(config)
    usable = []
    for finding, settings in service.keys(config):
        yield finding
        if settings is not None:
            usable.append(settings)
    if not offline:
        yield from service.ask(config, usable)


def _mounts() -> Iterator[Finding]:
    """Every mount of ours: does the kernel's way work, does the daemon answer, what fails inside?"""
    from mountfs.cli.daemons import running
    from mountfs.cli.table import FSTYPES, mounts

    daemons = {daemon.mountpoint: daemon for daemon in running()}
    ours = [mount for mount in mounts() if mount.fstype in FSTYPES]
    for mount in ours:
        daemon = daemons.pop(mount.path, None)
        if daemon is None and os.geteuid() not in (0, mount.uid):
            yield Finding(mount.path, NOTE, f"is a mount of user {mount.uid}", "that user, or root, may ask its daemon")
            continue
        told, problem = (None, None) if daemon is None else _told(daemon, mount.path)
        yield _state(mount.path, answers=told is not None)
        if problem is not None:
            yield problem
        if told is not None:
            yield from _inside(mount.path, told)
    for daemon in daemons.values():
        yield Finding(daemon.label, NOTE, "is starting, ending, or mounted where we cannot see it")


def _told(daemon: Daemon, mountpoint: str) -> tuple[dict[str, Any] | None, Finding | None]:
    try:
        return daemon.answer("status", timeout=ANSWER_TIMEOUT), None
    except MountfsError as error:
        return None, Finding(f"{mountpoint}: daemon", PROBLEM, error.message, error.advice)


def _state(path: str, *, answers: bool) -> Finding:
    from mountfs.cli.table import ANSWERS, DEAD, probe

    state = probe(path)
    if state == ANSWERS:
        return Finding(path, OK, "is mounted and answers")
    if state == DEAD:
        return Finding(path, PROBLEM, "its daemon has ended", f"run: mountfs umount {path}, and mount again")
    if answers:
        advice = f"look at it: mountfs status {path}; end it: mountfs umount --lazy {path}"
        return Finding(path, PROBLEM, "does not answer, though its daemon does", advice)
    return Finding(path, PROBLEM, "does not answer", f"kill its daemon, then: mountfs umount --lazy {path}")


def _inside(path: str, told: dict[str, Any]) -> Iterable[Finding]:
    from importlib.metadata import version

    from mountfs.cli import machine

    knobs, providers, used = told["kernel"], told["providers"], told["filesystem"]
    yield from machine.knobs(path, knobs)
    if told["version"] != version("mountfs"):
        says = f"runs mountfs {told['version']}, {version('mountfs')} is installed"
        yield Finding(f"{path}: version", NOTE, says, f"run: mountfs umount {path}, and mount again")
    waiting = used["waiting"] + used["pending_reads"]
    if waiting:
        yield Finding(
            f"{path}: requests", NOTE, f"{waiting} wait now", f"see whom they wait for: mountfs status {path}"
        )
    for row in providers:
        what = f"{path}: {row['name']}"
        if row["breaker_open"]:
            yield Finding(
                what, PROBLEM, f"cannot be reached: {row['last_error']}", "check the network, proxy and base_url"
            )
        elif row["health"] in ("key rejected", "failing", "unreachable"):
            yield Finding(what, PROBLEM, f"{row['health']}: {row['last_error']}", f"run: mountfs why {row['name']}")
        elif row["last_error"]:
            yield Finding(
                what, NOTE, f"{row['health']}; its last error: {row['last_error']}", f"run: mountfs why {row['name']}"
            )
