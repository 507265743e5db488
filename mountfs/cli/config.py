"""``mountfs config``: check, show, init.

Concurrency: one thread.
"""

from __future__ import annotations

import os

import click

from mountfs.cli.common import choices, common_options, read_config
from mountfs.errors import ConfigError


@click.group(no_args_is_help=True)
@common_options
def command() -> None:
    """Check, show or write the configuration."""


@command.command()
@common_options
def check() -> None:
    """Validate the configuration and find every key; each mistake is shown with file and line."""
    from mountfs.config import require_providers, resolve_keys

    config = read_config()
    require_providers(config)
    config = resolve_keys(config, os.environ)
    click.echo(f"{config.path or 'environment'}: ok")
    for provider in config.providers:
        source = provider.key_source
        wanted = f", looked for in {source.value if source.kind == 'api_key_env' else source.kind}" if source else ""
        key = "key found" if provider.key else f"no key{wanted}"
        click.echo(f"  {provider.name}: {provider.type}, {key}")


@command.command()
@common_options
def show() -> None:
    """Show the effective configuration, secrets masked."""
    from mountfs.config import show as as_text

    click.echo(as_text(read_config()), nl=False)


@command.command()
@click.argument("path", required=False)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@common_options
def init(path: str | None, force: bool) -> None:
    """Write a commented example to PATH ("-" prints it; else --config, or where mountfs looks first)."""
    from mountfs.config import EXAMPLE
    from mountfs.config.load import user_config

    if path == "-":
        click.echo(EXAMPLE, nl=False)
        return
    target = os.path.abspath(path or choices().config or os.environ.get("MOUNTFS_CONFIG") or user_config(os.environ))
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if force else os.O_EXCL)
        # 0600: a key may be put into it.
        with open(os.open(target, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(EXAMPLE)
    except FileExistsError:
        raise ConfigError(f"{target}: is there already", advice="--force replaces it") from None
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror}", advice="name another PATH") from None
    click.echo(f"wrote {target}")
