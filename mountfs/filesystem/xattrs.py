"""Extended attributes: what is known of a file, as ``user.mountfs.…``, for programs that read them (``-o xattr``).

They say what is known and never ask: no request, no wait, no look at the disk. Nothing here shows a key, a URL's path
or a query; of a validator only the ETag.

*Why they are off unless asked for*: without them the kernel is told once that there are none, and never asks again.
With them ``ls -l`` asks each file for two attributes that are never there (SELinux, POSIX ACLs), a trip each: with
10,000 files 0.33 s instead of 0.09 s. And ``cp -a`` would copy them. ``mountfs why`` shows the same facts for nothing.

Concurrency: synchronous, trio task thread.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import trio

from mountfs.errors import NoAttribute
from mountfs.filesystem.nodes import Node
from mountfs.model import Member
from mountfs.zipformat import method_name

PREFIX = b"user.mountfs."


def value_of(node: Node, name: bytes) -> bytes:
    """One attribute. Raises NoAttribute where this node has none of that name."""
    row = ROWS.get(name)
    value = row(node) if row is not None else ""
    if not value:
        raise NoAttribute("no such extended attribute")
    return value.encode()


def names_of(node: Node) -> list[bytes]:
    """The attributes a node has."""
    return [name for name, row in ROWS.items() if row(node)]


def _provider(node: Node) -> str:
    return node.sessions.name if node.sessions is not None else ""


def _session(node: Node) -> str:
    return node.session.id if node.session is not None else ""


def _state(node: Node) -> str:
    return node.session.belief.state.value if node.session is not None else ""


def _fetched(node: Node) -> str:
    """When the snapshot a node shows was fetched, in UTC."""
    snapshot = node.snapshot or (node.session.current if node.session is not None else None)
    return datetime.fromtimestamp(snapshot.fetched, UTC).isoformat(timespec="seconds") if snapshot is not None else ""


def _archive_size(node: Node) -> str:
    snapshot = node.snapshot or (node.session.current if node.session is not None else None)
    return str(snapshot.size) if snapshot is not None else ""


def _validator(node: Node) -> str:
    snapshot = node.snapshot or (node.session.current if node.session is not None else None)
    return snapshot.validator.etag or "" if snapshot is not None else ""


def _zipped(tell: Callable[[Member], str]) -> Callable[[Node], str]:
    """A row for files that are members of a zip."""

    def row(node: Node) -> str:
        snapshot = node.snapshot
        if snapshot is None or node.is_directory or not hasattr(snapshot.content, "archive"):
            return ""
        return tell(snapshot.members[node.place])

    return row


def _last_error(node: Node) -> str:
    """Why it cannot be read, or what the service answered last."""
    if node.snapshot is not None and not node.is_directory and (refusal := node.snapshot.content.refusal(node.place)):
        return refusal.message
    if node.session is not None:
        belief = node.session.belief
        error = belief.error if belief.holds(trio.current_time()) else None
        error = error or node.session.refresh_error
    else:
        error = node.sessions.last_error if node.sessions is not None else None
    return error.message if error is not None else ""


ROWS: dict[bytes, Callable[[Node], str]] = {
    PREFIX + b"provider": _provider,
    PREFIX + b"session": _session,
    PREFIX + b"state": _state,
    PREFIX + b"fetched": _fetched,
    PREFIX + b"archive_size": _archive_size,
    PREFIX + b"compressed_size": _zipped(lambda member: str(member.compressed_size)),
    PREFIX + b"crc32": _zipped(lambda member: f"{member.crc:08x}"),
    PREFIX + b"method": _zipped(lambda member: method_name(member.method)),
    PREFIX + b"validator": _validator,
    PREFIX + b"last_error": _last_error,
}
