"""``mountfs cache``: info, prune, clear, verify. Running mounts may use the cache meanwhile.

Concurrency: one thread; what is in use is locked by those who use it, and left alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mountfs.cli.common import common_options, log_level, read_config
from mountfs.cli.progress import board, size
from mountfs.errors import CacheError

if TYPE_CHECKING:
    from mountfs.config import Config
    from mountfs.control.checking import Checked
    from mountfs.store import Snapshot, Store


@click.group(no_args_is_help=True)
@common_options
def command() -> None:
    """Look at, prune, clear or verify the disk cache."""


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@common_options
def info(as_json: bool) -> None:
    """Show what the cache holds."""
    with _opened() as (store, _):
        told = store.info()
    if as_json:
        click.echo(json.dumps(asdict(told), indent=2))
        return
    click.echo(f"{told.directory}")
    click.echo(f"  used       {size(told.used)} of {size(told.max_size)}; {size(told.free)} free on its disk")
    click.echo(f"  sessions   {told.sessions}")
    click.echo(f"  snapshots  {told.snapshots}")


@command.command()
@common_options
def prune() -> None:
    """Remove leftovers, versions no session shows any more, and what is over the bound."""
    with _opened() as (store, _):
        click.echo(f"freed {size(store.prune())}")


@command.command()
@common_options
def clear() -> None:
    """Remove everything that is not in use. It loses nothing but the time to fetch it again."""
    with _opened() as (store, _):
        freed = store.clear()
        left = store.info()
    kept = f"; {left.snapshots} snapshots are in use and stay ({size(left.used)})" if left.snapshots else ""
    click.echo(f"freed {size(freed)}{kept}")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@common_options
def verify(as_json: bool) -> int:
    """Check every file the cache holds by its CRC-32 or SHA-256. What is damaged is dropped and will be fetched again.

    Exit status 1 if something was.
    """
    from mountfs.control.checking import check

    found: list[Checked] = []
    with _opened() as (store, config), board() as shown:
        bar = shown.bar("cache")
        done, total = 0, store.info().used

        def tell(count: int) -> None:
            nonlocal done
            done += count
            bar.update(min(done, total), total)

        def sound(snapshot: Snapshot) -> bool:
            checked = check(snapshot, config.limits, tell)
            if snapshot.facts:  # else it is a lock, or a download that is not finished
                found.append(checked)
            return checked.sound

        store.verify(sound)
        damaged = [each for each in found if each.damaged]
        said = f"{sum(each.members for each in found)} files, {size(sum(each.bytes for each in found))} checked"
        bar.finish(f"{said}, {'nothing' if not damaged else len(damaged)} damaged")
    if as_json:
        click.echo(json.dumps({"snapshots": [{**asdict(each), "dropped": not each.sound} for each in found]}, indent=2))
    else:
        _tell(found)
    return 1 if damaged else 0


def _tell(found: list[Checked]) -> None:
    for each in found:
        for what in each.damaged[:20]:
            click.echo(f"{each.session}: {what}")
        if len(each.damaged) > 20:
            click.echo(f"{each.session}: and {len(each.damaged) - 20} more")
        if each.damaged:
            done = (
                "forgotten, to be fetched again" if each.sound else "the whole archive is dropped, to be fetched again"
            )
            click.echo(f"{each.session}: {done}")
    partial = sum(each.partial for each in found)
    sound = sum(not each.damaged for each in found)
    click.echo(
        f"{sound} of {len(found)} snapshots sound; {sum(each.members for each in found)} files checked, "
        f"{partial} not wholly here and not checked"
    )


@contextmanager
def _opened() -> Iterator[tuple[Store, Config]]:
    """The configured cache. Raises CacheError if there is none, or none we may use."""
    from mountfs.cli.logs import configure_logging
    from mountfs.store import Store

    configure_logging(log_level("warning"), os.environ)
    config = read_config()
    path = config.cache.dir
    if not os.path.lexists(path):
        raise CacheError(f"{path}: there is no cache yet", advice="it is made by the first mount, or set cache.dir")
    if not os.path.isdir(path):
        raise CacheError(f"{path}: is not a directory", advice="point cache.dir at a directory of your own")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise CacheError(f"{path}: is closed to you", advice="ask as the user it belongs to, or set cache.dir")
    store = Store(path, max_size=config.cache.max_size, min_free=config.cache.min_free)
    with store:
        yield store, config
