"""``mountfs status``: what every running mount shows, does and failed at. It asks the daemons' sockets, never a mount.

Concurrency: one thread; a daemon that does not answer costs ``ANSWER_TIMEOUT`` and is told as such.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mountfs.cli.common import common_options
from mountfs.errors import MountfsError

if TYPE_CHECKING:
    from mountfs.cli.daemons import Daemon

ANSWER_TIMEOUT = 5.0
WATCH_EVERY = 0.5
LINES_EVERY = 2.0
"""Seconds between two looks with --watch: on a terminal, and elsewhere."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of one mount: its daemon's ``answer``, or why there is none (``problem``, and what to do)."""

    mountpoint: str
    pid: int | None
    answer: dict[str, Any] | None
    problem: str = ""
    advice: str = ""

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        if self.answer is not None:
            return self.answer
        return {"mountpoint": self.mountpoint, "pid": self.pid, "error": self.problem, "advice": self.advice}


@click.command()
@click.argument("mountpoint", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --watch, one a line.")
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--all", "show_all", is_flag=True, help="Every session, not only the latest twenty.")
@common_options
def command(mountpoint: str | None, as_json: bool, watch: bool, show_all: bool) -> int:
    """Show the running mounts: providers, sessions, transfers, cache. Exit status 1 if one of them does not answer."""
    if as_json:
        return _as_json(mountpoint, watch=watch)
    from mountfs.cli import tables

    if watch and sys.stdout.isatty():
        tables.watch(lambda: look(mountpoint), every=WATCH_EVERY, show_all=show_all)
        return 0
    while True:
        told = look(mountpoint)
        tables.show(told, show_all=show_all)
        if not watch:
            return _status(told)
        sys.stdout.flush()
        time.sleep(LINES_EVERY)


def _as_json(mountpoint: str | None, *, watch: bool) -> int:
    while True:
        told = look(mountpoint)
        click.echo(json.dumps({"mounts": [each.facts() for each in told]}, indent=None if watch else 2))
        if not watch:
            return _status(told)
        sys.stdout.flush()
        time.sleep(LINES_EVERY)


def _status(told: list[Told]) -> int:
    return 0 if all(each.answer is not None for each in told) else 1


def look(mountpoint: str | None) -> list[Told]:
    """What every mount, or the one named, says now. Raises MountFailed if the one named is none of ours."""
    from mountfs.cli.daemons import daemon_at, running

    if mountpoint is not None:
        return [_ask(daemon_at(mountpoint))]
    daemons = running()
    return [*(_ask(daemon) for daemon in daemons), *_dead({daemon.mountpoint for daemon in daemons})]


def _ask(daemon: Daemon) -> Told:
    try:
        return Told(daemon.mountpoint, daemon.pid, daemon.answer("status", timeout=ANSWER_TIMEOUT))
    except MountfsError as error:
        return Told(daemon.mountpoint, daemon.pid, None, error.message, error.advice)


def _dead(served: set[str]) -> list[Told]:
    """Mounts of ours that no daemon we may ask serves."""
    import os

    from mountfs.cli.table import DEAD, FSTYPES, mounts, probe

    told = []
    for mount in mounts():
        if mount.fstype not in FSTYPES or mount.path in served:
            continue
        if probe(mount.path) == DEAD:
            told.append(
                Told(mount.path, None, None, "its daemon has ended", f"clear it with: mountfs umount {mount.path}")
            )
        elif mount.uid != os.geteuid():
            told.append(Told(mount.path, None, None, f"mounted by user {mount.uid}", "ask as that user, or as root"))
        else:
            told.append(Told(mount.path, None, None, "its daemon has no socket here", "is XDG_RUNTIME_DIR another?"))
    return told
