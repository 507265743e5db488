"""Progress of long work: bars with rate and remaining time on a terminal, a line now and then elsewhere.

Both go to standard error, so that standard output is what a program reads.

Concurrency: may be told from any thread (rich keeps a lock; a line is one write).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

LINE_EVERY = 5.0
"""Seconds between two lines of one piece of work where no terminal is watched."""


class Bar(Protocol):
    """One piece of work. ``total``: bytes, None while unknown."""

    def update(self, done: int, total: int | None) -> None: ...
    def finish(self, said: str, *, failed: bool = False) -> None: ...


class Board(Protocol):
    """Where bars are shown."""

    def bar(self, label: str) -> Bar: ...
    def say(self, line: str) -> None: ...


@contextmanager
def board() -> Iterator[Board]:
    """Bars if standard error is a terminal, else lines."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from mountfs.cli.bars import bars

    with bars() as shown:
        yield shown


class Lines:
    """For pipes, logs and cron."""

    def bar(self, label: str) -> Bar:
        return _Line(label)

    def say(self, line: str) -> None:
        click.echo(line, err=True)


class _Line:
    def __init__(self, label: str) -> None:
        self._label = label
        self._next = time.monotonic() + LINE_EVERY

    def update(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LINE_EVERY
            of = f" of {size(total)} ({done * 100 // total} %)" if total else ""
            click.echo(f"{self._label}: {size(done)}{of}", err=True)

    def finish(self, said: str, *, failed: bool = False) -> None:
        click.echo(f"{'mountfs: ' if failed else ''}{self._label}: {said}", err=True)


def size(count: float) -> str:
    """Bytes for a person: ``3.4 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds for a person: ``45 s``, ``12 min``, ``3 h 5 min``, ``2 d 4 h``."""
    seconds = int(seconds)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    if seconds < 172800:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h"
