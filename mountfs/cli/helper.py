"""``mount.mountfs``: what mount(8) calls for ``mount -t mountfs NAME DIR`` and for lines of /etc/fstab.

Its arguments and exit status are mount(8)'s ("External helpers", "Exit status"): 1 for a wrong call, 32 for a mount
that failed. NAME is shown in the mount table and means nothing else.

Concurrency: one thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from mountfs.cli.common import Choices, show_error
from mountfs.errors import ConfigError, MountfsError

WRONG_CALL = 1
MOUNT_FAILED = 32


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name")
@click.argument("mountpoint")
@click.option("-o", "words", multiple=True, metavar="WORDS", help="Mount options.")
@click.option("-s", "sloppy", is_flag=True, help="Accepted for mount(8): unknown options are an error all the same.")
@click.option("-f", "fake", is_flag=True, help="Check the options and mount nothing.")
@click.option("-n", "no_table", is_flag=True, help="Accepted for mount(8).")
@click.option("-v", "verbose", count=True, help="Accepted for mount(8).")
@click.option("-N", "namespace", metavar="NS", help="Another mount namespace: refused.")
@click.option("-t", "type_", metavar="TYPE", help="Accepted for mount(8).")
def command(
    name: str, mountpoint: str, words: Sequence[str], fake: bool, namespace: str | None, **_accepted: object
) -> None:
    """Mount the configured providers on MOUNTPOINT; NAME is shown in the mount table."""
    from dataclasses import replace

    from mountfs.cli.background import start
    from mountfs.cli.mount import background_arguments
    from mountfs.config import mount_words, parse_mount_words

    if namespace:
        raise click.UsageError("-N is not supported: run mount inside the namespace")
    options = parse_mount_words(words, helper=True)
    source = name if options.source == "mountfs" and name not in ("none", "") else options.source
    own = mount_words(replace(options, source=source))
    if options.config:
        own.append(f"config={options.config}")
    if fake:
        return
    arguments = background_arguments(os.path.abspath(mountpoint), own, offline=options.offline)
    start(arguments, os.environ).returncode = 0


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Ends the process with a status of mount(8)."""
    try:
        command.main(arguments, prog_name="mount.mountfs", standalone_mode=False, obj=Choices())
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG_CALL)
    except ConfigError as error:
        show_error(error)
        sys.exit(WRONG_CALL)
    except MountfsError as error:
        show_error(error)
        sys.exit(MOUNT_FAILED)
    except SystemExit as ended:
        sys.exit(MOUNT_FAILED if ended.code else 0)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(MOUNT_FAILED)
    sys.exit(0)
