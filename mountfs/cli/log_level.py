"""``mountfs log-level``: what a running mount logs, changed without ending it.

Concurrency: one thread.
"""

from __future__ import annotations

import click

from mountfs.cli.common import LEVELS, common_options
from mountfs.errors import NotFound


@click.command()
@click.argument("level", type=click.Choice(LEVELS), metavar="LEVEL")
@click.argument("mountpoint", required=False)
@common_options
def command(level: str, mountpoint: str | None) -> None:
    """Set the log level (error, warning, info, debug) of the mount at MOUNTPOINT, or of every mount."""
    from mountfs.cli.daemons import daemon_at, running

    daemons = [daemon_at(mountpoint)] if mountpoint else running()
    if not daemons:
        raise NotFound("nothing is mounted", advice="give --log-level to 'mountfs mount'")
    for daemon in daemons:
        daemon.answer("log_level", {"level": level})
        click.echo(f"{daemon.label}: logs {level} now")
