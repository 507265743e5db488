"""``mountfs why``: what a running mount knows of a path, and why its last access failed or was slow.

Concurrency: one thread; the daemon is asked on its socket, so this works while the mount hangs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mountfs.cli.common import common_options
from mountfs.cli.progress import duration, size
from mountfs.cli.trees import printable
from mountfs.errors import MountfsError, NotFound

if TYPE_CHECKING:
    from mountfs.cli.daemons import Daemon

Row = dict[str, Any]

MOST_EVENTS = 10
INDENT = "  "


@click.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@common_options
def command(path: str, as_json: bool) -> None:
    """Tell why the last access to PATH failed or was slow, and what to do.

    PATH is a path inside a mount, or provider/session/….
    """
    answer, daemon = _ask(path)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for line in told(answer, now=time.time()):
        click.echo(printable(os.fsencode(line)))
    click.echo(f"as {daemon.label} (process {daemon.pid}) knows it")


def _ask(path: str) -> tuple[Row, Daemon]:
    from mountfs.cli.daemons import daemon_at, running, split

    mountpoint, inner = split(path)
    if not inner:
        raise NotFound(f"{path}: names no provider", advice="'mountfs status' tells of the mount as a whole")
    daemons = [daemon_at(mountpoint)] if mountpoint else running()
    failure: MountfsError | None = None
    for daemon in daemons:
        try:
            answer: Row = daemon.answer("why", {"path": inner})
        except MountfsError as error:
            failure = failure or error
        else:
            return answer, daemon
    if failure is not None:
        raise failure
    raise NotFound(
        f"{inner}: no mount is running that could tell", advice=f"'mountfs ls -l {inner}' asks the service now"
    )


def told(answer: Row, *, now: float) -> Iterator[str]:
    """The answer in lines. ``now``: seconds since 1970."""
    yield answer["path"]
    if answer.get("member"):
        yield from (INDENT + line for line in _member(answer["member"]))
    if answer.get("session"):
        yield from (INDENT + line for line in _session(answer, now))
    elif answer.get("answer"):
        yield f"{INDENT}session   {answer['answer']}"
    elif "known" in answer:
        known = "known, but nobody looked inside since the start" if answer["known"] else "never asked for"
        yield f"{INDENT}session   {known}"
    yield from (INDENT + line for line in _provider(answer["provider"], now))
    yield from (INDENT + line for line in _events(answer["events"], now))
    advice = _advice(answer)
    if advice:
        yield f"{INDENT}do        {advice}"


def _member(member: Row) -> Iterator[str]:
    packed = f", {size(member['compressed_size'])} in the archive" if member["method"] != "stored" else ""
    here = {True: "in the cache", False: "not wholly in the cache", None: "a file of its own"}[member["here"]]
    yield f"file      {size(member['size'])}, {member['method']}{packed}, CRC-32 {member['crc32']}, {here}"
    if member["encrypted"]:
        yield "file      encrypted: mountfs cannot read it"
    if member["fault"]:
        yield f"damaged   {member['fault']} {member['errno']}".rstrip()


def _session(answer: Row, now: float) -> Iterator[str]:
    session = answer["session"]
    status = f" (the service says {session['status']})" if session["status"] else ""
    left = session["believed_for"]
    believed = "for ever" if left is None else f"for {duration(left)} more" if left > 0 else "until the next access"
    yield f"session   {session['state']}{status}, believed {believed}"
    if session["error"]:
        yield f"error     {session['error']}"
    if "size" in session:
        here = f", {size(session['here'])} of it here" if session["here"] is not None else ""
        ago = f", fetched {duration(max(0.0, now - session['fetched']))} ago"
        yield f"archive   {size(session['size'])}{here}, by {session['way']}{ago}, {session['files']} files"
    for remark, count in sorted(session.get("remarks", {}).items()):
        yield f"odd       {count} {remark}"
    for error in session.get("failures", []):
        yield f"transfer  failed: {error}"
    for transfer in answer.get("transfers") or []:
        of = f" of {size(transfer['total'])}" if transfer["total"] else ""
        yield f"transfer  {transfer['what']}: {size(transfer['bytes'])}{of} so far"
    opening = answer.get("last_opening")
    if opening:
        ago = duration(max(0.0, now - opening["at"]))
        yield (
            f"opening   {opening['outcome']} {ago} ago after {opening['seconds']} s, {size(opening['bytes'])}, "
            f"by {opening['way']}"
        )
    elif "size" in session:
        yield "opening   from the cache, without a request"


def _provider(provider: Row, now: float) -> Iterator[str]:
    asked = ", ".join(
        f"{count} x {status if status != '0' else 'no answer'}" for status, count in provider["requests"].items()
    )
    latency = f", {provider['latency'] * 1000:.0f} ms to the first byte" if provider["latency"] is not None else ""
    retries = f", {provider['retries']} attempts repeated" if provider["retries"] else ""
    received = size(provider["bytes"])
    yield f"provider  {provider['health']}; {asked or 'no requests'}{retries}{latency}, {received} received"
    if provider["last_error"]:
        at = provider["last_error_at"]
        ago = f"{duration(max(0.0, now - at))} ago: " if at else ""
        yield f"provider  last error {ago}{provider['last_error']}"


def _events(events: list[Row], now: float) -> Iterator[str]:
    for event in events[:MOST_EVENTS]:
        who = f" for process {event['pid']}" if event["pid"] else ""
        errno = f" {event['errno']}" if event["errno"] else ""
        ago = duration(max(0.0, now - event["at"]))
        yield f"access    {ago} ago{who}, {event['seconds']} s:{errno} {event['message']}"
    if len(events) > MOST_EVENTS:
        yield f"access    and {len(events) - MOST_EVENTS} earlier ones that failed or were slow"
    if not events:
        yield "access    none failed or was slow"


def _advice(answer: Row) -> str:
    """What the newest failure advises."""
    return next((str(event["advice"]) for event in answer["events"] if event["advice"]), "")
