"""``mountfs refresh``: what is believed of sessions is forgotten, and running mounts look again at once.

Every daemon that shows the path is told. Where none runs, the cache's record is marked, so that the next start asks.

Concurrency: one thread; without a daemon, trio for the moment that opening the cache takes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mountfs.cli.common import common_options, log_level, read_config, show_error, usable_config
from mountfs.errors import MountfsError, NotFound

if TYPE_CHECKING:
    from mountfs.cli.daemons import Daemon


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@common_options
def command(paths: Sequence[str]) -> int:
    """Forget what is believed of PATH and ask the service again.

    PATH is provider/session, provider, or a path inside a mount.
    """
    status = 0
    for path in paths:
        try:
            _refresh(path)
        except MountfsError as error:
            show_error(error, about=path)
            status = 1
    return status


def _refresh(path: str) -> None:
    from mountfs.cli.daemons import daemon_at, running, split

    mountpoint, inner = split(path)
    inner = "/".join(inner.split("/")[:2])
    if not inner:
        raise NotFound("names no session", advice="write provider/session, or provider for all of its sessions")
    if mountpoint:
        _tell(_ask(daemon_at(mountpoint), inner), mountpoint)
        return
    caches, failures = set(), []
    for daemon in running():
        try:
            row = _ask(daemon, inner)
        except MountfsError as error:
            if "no provider" not in error.message:
                failures.append(error)
        else:
            caches.add(os.path.realpath(row["cache"]))
            _tell(row, daemon.label)
    if failures:
        raise failures[0]
    if not caches or _is_ours_alone(inner, caches):
        _without_daemon(inner)


def _ask(daemon: Daemon, path: str) -> dict[str, Any]:
    answer = daemon.answer("refresh", {"paths": [path]})
    return {**answer["refreshed"][0], "cache": answer["cache"]}


def _is_ours_alone(path: str, caches: set[str]) -> bool:
    """Whether our configuration has that provider and a cache that none of the daemons told uses."""
    try:
        config = read_config()
    except MountfsError:
        return False
    mine = path.partition("/")[0] in {each.name for each in config.providers}
    return mine and os.path.realpath(config.cache.dir) not in caches


def _tell(row: dict[str, Any], where: str) -> None:
    if row["error"]:
        raise MountfsError(row["error"], advice=f"{where} shows what it had, and asks again later")
    changed = {True: "refreshed: it has changed", False: "refreshed"}[bool(row.get("changed"))]
    click.echo(f"{row['label']}: {changed} ({where})")


def _without_daemon(path: str) -> None:
    import trio

    from mountfs import daemon
    from mountfs.cli.logs import configure_logging
    from mountfs.session import mark_stale

    configure_logging(log_level("error"), os.environ)
    config = usable_config()
    provider, _, session_id = path.partition("/")

    async def mark() -> list[str]:
        async with daemon.parts(config, offline=True) as built:
            for sessions in built.filesystem.providers:
                if sessions.name == provider:
                    return await built.workers.disk(mark_stale, sessions.around, session_id or None)
        return []

    if provider not in {each.name for each in config.providers}:
        names = ", ".join(each.name for each in config.providers)
        raise NotFound(f"no provider {provider!r}", advice=f"configured: {names}")
    marked = trio.run(mark)
    if not marked:
        click.echo(f"{path}: nothing of it is in the cache, so the next look asks anyway")
    for each in marked:
        click.echo(f"{provider}/{each}: will be asked for again at the next start")
