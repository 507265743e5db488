"""What the daemon is doing, as text: trio's tree of tasks, each with the line it waits in, and the waiting requests.

For the log (SIGUSR1) and for ``mountfs doctor --bundle``: places in the code and paths inside sessions, never values.

Concurrency: synchronous, trio task thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import trio

from mountfs.filesystem import Filesystem

MOST_TASKS = 400
"""Lines; a daemon has a few dozen tasks, and one for each transfer and waiting request."""


def task_tree() -> list[str]:
    """One line a task, indented by its depth."""
    root = trio.lowlevel.current_root_task()
    lines = list(_lines(root)) if root is not None else []
    return lines[:MOST_TASKS] + ([f"… and {len(lines) - MOST_TASKS} more"] if len(lines) > MOST_TASKS else [])


def _lines(root: trio.lowlevel.Task) -> Iterator[str]:
    pending = [(root, 0)]
    while pending:
        task, depth = pending.pop()
        yield f"{'  ' * depth}{task.name.rpartition('mountfs.')[2]} [{_place(task)}]"
        children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        pending += [(child, depth + 1) for child in sorted(children, key=lambda child: child.name, reverse=True)]


def _place(task: trio.lowlevel.Task) -> str:
    """Where it waits: the innermost line of ours, else the innermost of all."""
    innermost = ours = ""
    for frame, line in task.iter_await_frames():
        innermost = f"{os.path.basename(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}"
        if f"{os.sep}mountfs{os.sep}" in frame.f_code.co_filename:
            ours = innermost
    return ours or innermost or "running"


def describe(filesystem: Filesystem) -> str:
    """The whole, for the log."""
    waiting = [
        f"  request {each['request']} of process {each['pid']} for {each['seconds']} s: {each['path']}"
        for each in filesystem.waiting.pending()
    ]
    return "\n".join(["waiting requests:", *(waiting or ["  none"]), "tasks:", *task_tree()])
