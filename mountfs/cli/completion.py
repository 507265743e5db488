"""``mountfs completion``: the script that makes a shell complete our words; click makes it from the verbs.

Concurrency: one thread.
"""

from __future__ import annotations

import click

from mountfs.cli.common import common_options

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
@common_options
def command(shell: str) -> None:
    """Print the completion script of SHELL: bash, zsh or fish.

    bash: mountfs completion bash > ~/.local/share/bash-completion/completions/mountfs;
    zsh: mountfs completion zsh > a file _mountfs in a directory of $fpath;
    fish: mountfs completion fish > ~/.config/fish/completions/mountfs.fish
    """
    click.echo(script(shell))


def script(shell: str) -> str:
    """The script's text."""
    from click.shell_completion import get_completion_class

    import mountfs.cli

    complete = get_completion_class(shell)
    assert complete is not None
    return complete(mountfs.cli.command, {}, "mountfs", "_MOUNTFS_COMPLETE").source()
