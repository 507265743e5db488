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
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def bars() -> Iterator[Bars]:
    """Shows bars on standard error while the context is open."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
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
        return _Bar(self._progress, self._progress.add_task(escape(label), total=None, said=""))

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def update(self, done: int, total: int | None) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def finish(self, said: str, *, failed: bool = False) -> None:
        shown = f"[red]{escape(said)}[/red]" if failed else f"[green]{escape(said)}[/green]"
        self._progress.update(self._task, said=shown)
        self._progress.stop_task(self._task)
