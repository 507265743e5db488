"""``mountfs status`` for a person: rich tables, transfers as bars. A module of its own: rich takes 60 ms to import.

Concurrency: one thread; while watching, rich redraws in its own.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mountfs.cli.progress import duration, size
from mountfs.cli.status import Told
from mountfs.cli.trees import printable

Row = dict[str, Any]

MOST_SESSIONS = 20
MOST_TRANSFERS = 16
COLOURS = {
    "ok": "green",
    "live": "cyan",
    "opening": "cyan",
    "terminal": "green",
    "not ready": "yellow",
    "empty": "yellow",
    "failing": "red",
    "refused": "red",
    "bad archive": "red",
    "unreachable": "red",
    "key rejected": "red",
    "offline": "yellow",
}


def show(told: Sequence[Told], *, show_all: bool) -> None:
    """Prints it once."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, 160))
    console.print(page(told, show_all=show_all))


def watch(look: Callable[[], list[Told]], *, every: float, show_all: bool) -> None:
    """Shows it until interrupted; Ctrl-C is how one leaves it, and no failure."""
    try:
        with Live(page(look(), show_all=show_all), auto_refresh=False, screen=True) as live:
            while True:
                live.update(page(look(), show_all=show_all), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        click.echo("", nl=False)


def page(told: Sequence[Told], *, show_all: bool) -> RenderableType:
    """All mounts, one under the other."""
    if not told:
        return Text("nothing is mounted")
    parts: list[RenderableType] = []
    for each in told:
        parts += [*_mount(each, show_all=show_all), Text("")]
    return Group(*parts[:-1])


def _mount(told: Told, *, show_all: bool) -> Iterator[RenderableType]:
    head = Text(told.mountpoint or f"process {told.pid}", style="bold")
    answer = told.answer
    if answer is None:
        yield head.append(f"  {told.problem}; {told.advice}", style="red")
        return
    yield head.append(
        f"  process {answer['pid']}, mountfs {answer['version']}, up {duration(answer['uptime'])}", style="not bold"
    )
    yield _providers(answer["providers"])
    sessions = answer["sessions"]
    if sessions:
        yield _sessions(sessions if show_all else sessions[-MOST_SESSIONS:])
        if len(sessions) > MOST_SESSIONS and not show_all:
            yield Text(f"and {len(sessions) - MOST_SESSIONS} more sessions: --all", style="dim")
    if answer["transfers"]:
        yield _transfers(answer["transfers"])
    yield from (Text(line) for line in _totals(answer))


def _providers(rows: Sequence[Row]) -> Table:
    table = _table("provider", "state", "listing", "sessions", "requests", "latency", "received", "last error")
    for row in rows:
        listing = f"{row['listed']} listed" if row["listed"] else row["listing"]
        states = ", ".join(f"{count} {state}" for state, count in row["sessions"].items())
        asked = ", ".join(
            f"{count} x {status if status != '0' else 'no answer'}" for status, count in row["requests"].items()
        )
        table.add_row(
            _text(row["name"]),
            _state(row["health"]),
            _text(listing + (" (stale)" if row["listing_stale"] else "")),
            _text(states),
            _text(asked + (f", {row['retries']} retried" if row["retries"] else "")),
            f"{row['latency'] * 1000:.0f} ms" if row["latency"] is not None else "",
            size(row["bytes"]),
            _text(_error(row)),
        )
    return table


def _error(row: Row) -> str:
    if not row["last_error"]:
        return ""
    ago = f"{duration(max(0.0, time.time() - row['last_error_at']))} ago: " if row["last_error_at"] else ""
    return ago + str(row["last_error"])


def _sessions(rows: Sequence[Row]) -> Table:
    table = _table("session", "state", "files", "size", "here", "way", "fetched", "note")
    for row in rows:
        here, total = row.get("here"), row.get("size")
        table.add_row(
            _text(f"{row['provider']}/{row['id']}"),
            _state(row["state"], row["status"]),
            str(row.get("files", "")),
            size(total) if total is not None else "",
            f"{here * 100 // total} %" if here is not None and total else "",
            _text(row.get("way", "")),
            f"{duration(max(0.0, time.time() - row['fetched']))} ago" if row.get("fetched") else "",
            _text(row["error"] or _odd(row)),
        )
    return table


def _odd(row: Row) -> str:
    """What is odd in an archive, in a few words: `mountfs why` has the rest. A remark is "word: more"."""
    counts = Counter({"damaged": row.get("damaged", 0)})
    for remark, count in row.get("remarks", {}).items():
        counts[remark.partition(":")[0]] += count
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()) if count)


def _transfers(rows: Sequence[Row]) -> Table:
    table = _table("transfer", "", "", "")
    for row in rows[:MOST_TRANSFERS]:
        total = row["total"]
        table.add_row(
            _text(row["session"]),
            _text(row["what"]),
            ProgressBar(total=total or None, completed=row["bytes"], width=30, pulse=not total),
            f"{size(row['bytes'])}{f' of {size(total)}' if total else ''}",
        )
    return table


def _totals(answer: Row) -> Iterator[str]:
    cache, memory, used = answer["cache"], answer["memory"], answer["filesystem"]
    yield f"cache   {size(cache['used'])} of {size(cache['max_size'])} in {_clean(cache['dir'])}"
    yield f"memory  {size(memory['used'])} of {size(memory['max'])}"
    at_hand = _share(used["reads"] - used["reads_waited"], used["reads"])
    opened = _share(used["opens"] - used["opens_waited"], used["opens"])
    yield (
        f"reads   {used['reads']} ({size(used['bytes'])}), {at_hand} at hand; {used['opens']} opens, {opened} at hand; "
        f"{used['open_files']} files open, {used['waiting'] + used['pending_reads']} requests waiting"
    )
    if answer["programs"]:
        first = ", ".join(f"{_clean(each['program'])} {size(each['bytes'])}" for each in answer["programs"][:5])
        yield f"fetched for {first}"
    knobs = answer["kernel"]
    yield f"kernel  read-ahead {knobs.get('read_ahead_kb', '?')} KiB, max_background {knobs.get('max_background', '?')}"


def _share(part: int, whole: int) -> str:
    return f"{part * 100 // whole} %" if whole else "none"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _state(state: str, status: str = "") -> Text:
    shown = f"{state} ({status})" if status and status.lower() != state else state
    return Text(_clean(shown), style=COLOURS.get(state, ""))


def _text(text: str) -> Text:
    return Text(_clean(text))


def _clean(text: str) -> str:
    """Ids, statuses and messages are a service's words: nothing in them may move the cursor."""
    return printable(os.fsencode(text))
