"""What every verb shares: --config and --log-level, reading the configuration, showing an error.

Concurrency: one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mountfs.errors import MountfsError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mountfs.config import Config

LEVELS = ("error", "warning", "info", "debug")

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Choices:
    """What --config and --log-level said, wherever they stood; the last one counts. ``log_format``: of ``mount``."""

    config: str | None = None
    log_level: str | None = None
    log_format: str | None = None


def common_options(function: Function) -> Function:
    """Adds --config and --log-level to a verb or sub-verb."""
    for name, field, keywords in (
        (
            "--log-level",
            "log_level",
            {"type": click.Choice(LEVELS), "help": "What to log; else $MOUNTFS_LOG."},
        ),
        (
            "--config",
            "config",
            {"metavar": "PATH", "help": "The configuration; else $MOUNTFS_CONFIG, ~/.config, /etc."},
        ),
    ):
        decorate = click.option(name, field, expose_value=False, callback=remember, **keywords)
        function = decorate(function)
    return function


def remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """The callback of an option that is kept in ``Choices`` under its own name."""
    if value is not None and parameter.name is not None:
        setattr(ctx.ensure_object(Choices), parameter.name, value)


def choices() -> Choices:
    """What was said so far in this invocation."""
    return click.get_current_context().ensure_object(Choices)


def log_level(default: str) -> str:
    """The level asked for. Raises click.UsageError if $MOUNTFS_LOG is none."""
    level = choices().log_level or os.environ.get("MOUNTFS_LOG", "").lower() or default
    if level not in LEVELS:
        raise click.UsageError(f"$MOUNTFS_LOG: no such level: {level}; levels are {', '.join(LEVELS)}")
    return level


def read_config(path: str | None = None) -> Config:
    """The configuration, providers' own keys checked, secrets not yet read. Raises ConfigError."""
    from mountfs.config import load

    return load(path or choices().config, os.environ, options=provider_options)


def usable_config(path: str | None = None) -> Config:
    """The configuration with its keys; refused if it names no provider. Raises ConfigError.

    Keys are read here, before the loop starts: a command for one may wait for a person.
    """
    from mountfs.config import require_providers, resolve_keys

    config = read_config(path)
    require_providers(config)
    return resolve_keys(config, os.environ)


def provider_options(type_: str) -> type[BaseModel]:
    """The model of a provider type's own keys. Raises ConfigError for a type that is not installed."""
    from mountfs.providers import options_of

    return options_of(type_)


def show_error(error: MountfsError, *, about: str = "") -> None:
    """Each line of the message, then what to do, on standard error. ``about``: what it happened to."""
    for line in str(error).splitlines():
        click.echo(f"mountfs: {about}{': ' if about else ''}{line}", err=True)


def show_usage(error: click.UsageError, prog_name: str) -> None:
    """A wrong call, in one line: what is wrong, and where the right one is told. No words at all: the help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    said = " ".join(error.format_message().split()).rstrip(".")
    path = error.ctx.command_path if error.ctx is not None else prog_name
    click.echo(f"{prog_name}: {said}; see: {path} --help", err=True)


def show_errors(error: MountfsError | ExceptionGroup[Exception]) -> None:
    """As ``show_error``, also for what came out of a nursery. Raises again what holds anything but our own errors."""
    ours, others = (error, None) if isinstance(error, MountfsError) else error.split(MountfsError)
    if others is not None:
        raise error
    for each in _leaves(ours):
        show_error(each)


def _leaves(error: BaseException | None) -> Iterator[MountfsError]:
    if isinstance(error, MountfsError):
        yield error
    elif isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
