"""Bars on a terminal, by rich: a module of its own, since rich takes 60 ms to import.

Concurrency: rich redraws in a thread of its own, under its lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text


@contextmanager
def bars() -> Iterator[Bars]:
    """Shows bars on standard error while the context is open."""
    progress = Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=12)),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        expand=True,
    )
    with progress:
        yield Bars(progress)


class Bars:
    """A ``progress.Board``."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def bar(self, label: str) -> _Bar:
        return _Bar(self._progress, label)

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)


class _Bar:
    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._label = label
        self._task = progress.add_task(escape(label), total=None)

    def update(self, done: int, total: int | None) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def finish(self, said: str, *, failed: bool = False) -> None:
        """The bar gives way to a line above those that still move."""
        self._progress.remove_task(self._task)
        self._progress.console.print(Text(f"{self._label}: {said}", style="red" if failed else ""), soft_wrap=True)
