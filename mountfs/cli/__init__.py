"""The command line: argv in, exit status out (0 done, 1 failed, 2 usage).

A verb is one module with one click command, and one row of VERBS. Verbs are imported when they are called, so that
``mountfs --help`` answers at once; what a verb needs beyond that (httpx, trio, the daemon) it imports when it runs.

No verb leaves a core dump: it would hold keys, signed URLs and file contents, and who reads a crash report reads them.

Concurrency: one thread; a verb that needs the loop starts it itself.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from mountfs.cli.common import Choices, common_options, show_errors, show_usage
from mountfs.errors import MountfsError

VERBS: dict[str, str] = {
    "mount": "Mount the configured providers.",
    "umount": "Unmount, and wait for the daemon.",
    "ls": "List a path without mounting.",
    "cat": "Print files without mounting.",
    "export": "Copy sessions into a directory without mounting.",
    "fetch": "Bring whole sessions into the cache.",
    "refresh": "Ask a service again for what is known of a session.",
    "status": "Show mounts, providers, sessions, transfers, cache.",
    "why": "Tell why a path failed or was slow.",
    "doctor": "Check this machine, the configuration and every key.",
    "cache": "Look at, prune, clear or verify the disk cache.",
    "metrics": "Print or serve figures for Prometheus.",
    "log-level": "Change what a running mount logs.",
    "demo": "Mount sample sessions of fake services.",
    "config": "Check, show or write the configuration.",
    "completion": "Print a shell's completion script.",
}
"""Verb -> its line in the help. The command is ``command`` in ``mountfs.cli.<verb>``, ``-`` being ``_`` there."""


class Verbs(click.Group):
    """Knows its commands by name, and imports one when it is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = import_module(f"mountfs.cli.{name.replace('-', '_')}").command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in VERBS:
            ctx.fail(f"no such verb: {name}; verbs are {', '.join(VERBS)}")
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from mountfs.cli.versions import versions

        click.echo(versions())
        ctx.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show versions and exit."
)
@common_options
def command() -> None:
    """Mounts the file archives of agent sessions (Kaizen, Dari, Browserbase) as a read-only drive."""


def main(arguments: Sequence[str] | None = None, *, prog_name: str = "mountfs") -> NoReturn:
    """Runs the command line and ends the process with its exit status."""
    _leave_no_core()
    run(command, arguments, prog_name)


def _leave_no_core() -> None:
    """For this process and what it starts. One byte is less than any core file has, and under it, unlike
    under 0, the kernel does not hand one to a program of core_pattern either (its fs/coredump.c)."""
    with contextlib.suppress(ValueError, OSError):  # the unit allows none at all, or a sandbox forbids the call
        resource.setrlimit(resource.RLIMIT_CORE, (1, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def run(entry: click.Command, arguments: Sequence[str] | None, prog_name: str) -> NoReturn:
    """Runs ``entry``; our own errors become one line each on standard error and status 1, never a traceback."""
    try:
        status = entry.main(arguments, prog_name=prog_name, standalone_mode=False, obj=Choices())
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.UsageError as error:
        show_usage(error, prog_name)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (MountfsError, ExceptionGroup) as error:
        show_errors(error)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(1)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        sys.exit(1)
    except BrokenPipeError:
        # `mountfs ls … | head` closed the pipe. The interpreter must not try to flush into it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
