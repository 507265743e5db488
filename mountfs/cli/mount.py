"""``mountfs mount``: in the foreground this process is the daemon; else it starts one and waits until it is ready.

The background process is started with ``-f`` and the same arguments, so there is one way through the checks, and a
mistake is told once, by the process that found it.

Concurrency: blocking until the daemon's own loop starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import click

from mountfs.cli.common import choices, common_options, log_level, remember, usable_config
from mountfs.cli.logs import FORMATS

logger = logging.getLogger(__name__)


@click.command()
@click.argument("mountpoint", required=False)
@click.option("--offline", is_flag=True, help="Make no request: show what the cache holds.")
@click.option(
    "-f/-b",
    "--foreground/--background",
    "foreground",
    default=None,
    help="Stay, or return when the mount is ready. The default is to stay under systemd or without a terminal.",
)
@click.option(
    "-o",
    "words",
    multiple=True,
    metavar="WORDS",
    help="Mount options, as in mount(8): allow_other, uid=, gid=, umask=, noexec, offline, xattr, config=, noexpress "
    "(all through pyfuse3: slower).",
)
@click.option(
    "--log-format",
    "log_format",
    type=click.Choice(FORMATS),
    expose_value=False,
    callback=remember,
    help="How to log: text (the default), or json, one object a line.",
)
@common_options
def command(mountpoint: str | None, offline: bool, foreground: bool | None, words: Sequence[str]) -> int:
    """Mount the configured providers on MOUNTPOINT (else the configuration's).

    Own words of -o: allow_other, uid=, gid=, umask=, noexec, xattr, offline, fsname=, config=PATH. Those of fstab are
    accepted.
    """
    log_level("info")
    if foreground is None:
        foreground = wants_foreground(os.environ)
    if foreground:
        return serve(mountpoint, words, offline=offline)
    from mountfs.cli.background import start

    start(background_arguments(mountpoint, words, offline=offline), os.environ).returncode = 0
    return 0


def wants_foreground(environ: Mapping[str, str]) -> bool:
    """Whether to stay where nothing was said: systemd watches this process, or there is no terminal to return to."""
    from mountfs.cli.logs import in_journal

    # INVOCATION_ID would not do: every shell in a terminal that systemd started has it.
    if environ.get("NOTIFY_SOCKET") or in_journal(environ):
        return True
    return not any(os.isatty(descriptor) for descriptor in (0, 1, 2))


def background_arguments(mountpoint: str | None, words: Sequence[str], *, offline: bool) -> list[str]:
    """The daemon's command line. No secret can stand in it: ``ps`` shows it to everybody."""
    chosen = choices()
    arguments = ["mount", "--foreground"]
    if chosen.config:
        arguments += ["--config", chosen.config]
    if chosen.log_level:
        arguments += ["--log-level", chosen.log_level]
    if chosen.log_format:
        arguments += ["--log-format", chosen.log_format]
    if offline:
        arguments.append("--offline")
    for word in words:
        arguments += ["-o", word]
    return [*arguments, "--", mountpoint] if mountpoint else arguments


def serve(mountpoint: str | None, words: Sequence[str], *, offline: bool) -> int:
    """Mounts and serves in this process until it is unmounted or told to stop. Returns the exit status."""
    from mountfs.cli.background import in_background, readiness
    from mountfs.cli.checks import check_machine
    from mountfs.cli.lock import hold
    from mountfs.cli.logs import configure_logging
    from mountfs.cli.table import canonical, clear, make
    from mountfs.config import mount_name, parse_mount_words, state_directory
    from mountfs.service import supervision

    options = parse_mount_words(words)
    options = replace(options, offline=options.offline or offline)
    config = usable_config(choices().config or options.config)
    chosen = mountpoint or config.mountpoint
    if not chosen:
        raise click.UsageError("no MOUNTPOINT: give one, or set mountpoint in the configuration")
    supervised = supervision(os.environ)
    if supervised.device is None:
        check_machine(options)
    path = canonical(chosen)
    log_path = None
    if in_background(os.environ):
        log_path = os.path.join(state_directory(os.environ), f"mount-{mount_name(path)}.log")
    configure_logging(log_level("info"), os.environ, path=log_path, form=choices().log_format)
    ready = readiness(os.environ, log_path)
    if supervised.device is None and clear(path):
        logger.warning("%s: cleared a mount whose daemon had died", path)
    hold(path)
    if supervised.device is None:
        make(path)
    from mountfs import daemon

    return daemon.serve(config, path, options, ready, supervised)
