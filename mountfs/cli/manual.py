"""The man page mountfs(1) and the shells' completions, made from the verbs themselves, and the keys of ``type =
"http"``: ``python -m mountfs.cli.manual DIRECTORY`` writes ``mountfs.1``, ``completions/`` and ``http.md`` there
(``make docs``).

Concurrency: one thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from inspect import cleandoc

import click

import mountfs.cli
from mountfs.cli import reference
from mountfs.cli.completion import SHELLS, script

FILES = (
    ("~/.config/mountfs/config.toml, /etc/mountfs/config.toml", "the configuration; mountfs config init writes one"),
    ("~/.cache/mountfs", "the disk cache; may be deleted at any time"),
    ("$XDG_RUNTIME_DIR/mountfs, /run/mountfs, /tmp/mountfs-UID", "sockets and locks of running mounts"),
    ("~/.local/state/mountfs/mount-NAME.log", "the log of a mount in the background"),
)
VARIABLES = (
    ("MOUNTFS_CONFIG", "the configuration, where --config is not given"),
    ("MOUNTFS_LOG", "the log level, where --log-level is not given"),
    ("KAIZEN_API_KEY, DARI_API_KEY, BROWSERBASE_API_KEY", "keys; without a configuration, each that is set is mounted"),
    ("HTTPS_PROXY, NO_PROXY", "as everywhere; loopback is never proxied"),
)
STATUSES = (
    ("0", "done"),
    ("1", "failed; one line on standard error says what to do"),
    ("2", "a wrong call"),
)
SIGNALS = (
    ("SIGINT, SIGTERM", "unmount and end"),
    ("SIGUSR1", "write the threads' stacks, the tasks and the waiting requests to the log"),
)
LAZY = (
    "Each configured provider is a directory, each of its sessions one below it. Nothing is fetched before it is "
    "needed; a read gives exactly the bytes asked for, or an error."
)
COMMON = frozenset({"--config", "--log-level", "--help"})
"""Options that stand once, under OPTIONS."""


def page() -> str:
    """The man page, as man(7) wants it."""
    context = click.Context(mountfs.cli.command, info_name="mountfs", help_option_names=["-h", "--help"])
    lines = [
        f'.TH MOUNTFS 1 "" "mountfs {version("mountfs")}" "User Commands"',
        ".SH NAME",
        r"mountfs \- mount the file archives of agent sessions as a read\-only drive",
        ".SH SYNOPSIS",
        r"\fBmountfs\fR \fIVERB\fR [\fIOPTIONS\fR] [\fIARGUMENTS\fR]",
        ".SH DESCRIPTION",
        _escaped(mountfs.cli.command.help or ""),
        LAZY,
        ".SH OPTIONS",
        "Accepted before and after every verb:",
        *_options(mountfs.cli.command, context, but=frozenset()),
        ".SH VERBS",
    ]
    for name in mountfs.cli.command.list_commands(context):
        verb = mountfs.cli.command.get_command(context, name)
        assert verb is not None
        lines += _verb(verb, click.Context(verb, info_name=name, parent=context))
    for title, rows in (("EXIT STATUS", STATUSES), ("SIGNALS", SIGNALS), ("ENVIRONMENT", VARIABLES), ("FILES", FILES)):
        lines.append(f".SH {title}")
        for term, meaning in rows:
            lines += _term(rf"\fB{_escaped(term)}\fR", meaning)
    lines += [".SH SEE ALSO", r"\fBfusermount3\fR(1), \fBmount.fuse3\fR(8), \fBmount\fR(8), \fBfstab\fR(5)"]
    return "\n".join(lines) + "\n"


def _verb(verb: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(verb, click.Group):
        for name in verb.list_commands(context):
            below = verb.get_command(context, name)
            assert below is not None
            yield from _verb(below, click.Context(below, info_name=name, parent=context))
        return
    words = " ".join(verb.collect_usage_pieces(context))
    yield f".SS {_escaped(f'{context.command_path} {words}')}"
    yield _escaped(cleandoc(verb.help or "")).replace("\n\n", "\n.PP\n")
    yield from _options(verb, context, but=COMMON)


def _options(verb: click.Command, context: click.Context, *, but: frozenset[str]) -> Iterator[str]:
    for parameter in verb.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and not but & set(parameter.opts):
            yield from _term(rf"\fB{_escaped(record[0])}\fR", record[1])


def _term(term: str, meaning: str) -> list[str]:
    return [".TP", term, _escaped(meaning)]


def _escaped(text: str) -> str:
    """Text that roff prints as it is: a backslash, a hyphen, and a dot or quote at a line's start mean something."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return "\n".join(rf"\&{line}" if line.startswith((".", "'")) else line for line in text.splitlines())


def files() -> dict[str, str]:
    """Path below the directory -> text, of everything that is generated."""
    made = {"mountfs.1": page(), "http.md": reference.page()}
    return made | {f"completions/mountfs.{shell}": script(shell).strip() + "\n" for shell in SHELLS}


def write(directory: str) -> None:
    """Writes them."""
    for name, text in files().items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    write(sys.argv[1])
