"""What ``status`` and ``why`` show of the parts, as JSON values.

Nothing here shows a key, a URL's path or a query: the parts it asks do not either.

Concurrency: synchronous, trio task thread.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import trio

from mountfs import errnos
from mountfs.session import Session, Sessions, Snapshot
from mountfs.zipformat import method_name

Row = dict[str, Any]


def identity(content_key: str, account: str) -> str:
    """Whose sessions a provider shows: two with the same identity on one cache show the same. It tells no key."""
    return hashlib.sha256(f"{content_key}\0{account}".encode()).hexdigest()[:16]


def provider_row(sessions: Sessions) -> Row:
    """One provider: whether it can be reached, what it answered, what failed last."""
    around = sessions.around
    figures = around.provider.statistics()
    error = sessions.last_error
    return {
        "name": sessions.name,
        "type": around.provider.type,
        "identity": identity(around.provider.content_key, around.account),
        "offline": around.offline,
        "health": health(offline=around.offline, requests=dict(figures.requests), breaker_open=figures.breaker_open),
        "listing": sessions.listing.state.value,
        "listing_stale": sessions.listing.error is not None,
        "listed": sessions.listed_count,
        "sessions": sessions.states(),
        "requests": {str(status): count for status, count in sorted(figures.requests.items())},
        "retries": figures.retries,
        "bytes": figures.bytes_received,
        "latency": figures.latency,
        "transfers": figures.transfers,
        "waiting": figures.waiting,
        "breaker_open": figures.breaker_open,
        "last_error": figures.last_error or (error.message if error else ""),
        "last_error_at": figures.last_error_at,
    }


def health(*, offline: bool, requests: dict[int, int], breaker_open: bool) -> str:
    """One word or two on a provider. ``requests``: by HTTP status, 0 for those without an answer."""
    if offline:
        return "offline"
    if breaker_open:
        return "unreachable"
    if not requests:
        return "not asked yet"
    good = any(200 <= status < 400 or status in (404, 409) for status in requests)
    if not good and 401 in requests:
        return "key rejected"
    if not good and set(requests) == {0}:
        return "unreachable"
    return "ok" if good else "failing"


def session_row(session: Session) -> Row:
    """One session somebody looked at."""
    now = trio.current_time()
    left = session.belief.left(now)
    row: Row = {
        "provider": session.around.provider.name,
        "id": session.id,
        "state": "opening" if _is_opening(session) else session.belief.state.value,
        "status": session.info.status if session.info is not None else "",
        "believed_for": left if left != float("inf") else None,
        "error": str(session.belief.error) if session.belief.error and session.belief.holds(now) else "",
    }
    if session.current is not None:
        row |= _snapshot(session.current)
    return row


def _is_opening(session: Session) -> bool:
    return session.progress is not None and session.current is None


def _snapshot(snapshot: Snapshot) -> Row:
    archive = getattr(snapshot.content, "archive", None)
    if archive is None:
        way, here, failures = "file by file", None, []
    else:
        way = "whole download" if snapshot.whole else "ranges"
        here, failures = archive.kept.present_bytes, [str(error) for error in archive.failures()]
    return {
        "way": way,
        "size": snapshot.size,
        "here": here,
        "files": snapshot.namespace.files,
        "directories": snapshot.namespace.directories,
        "remarks": dict(snapshot.namespace.remarks.counts),
        "fetched": snapshot.fetched,
        "damaged": len(snapshot.content.dead),
        "failures": failures,
    }


def transfer_rows(session: Session) -> list[Row]:
    """What is on its way for a session."""
    rows: list[Row] = []
    if (progress := session.progress) is not None:
        rows.append({"session": session.label, "what": "archive", "bytes": progress.bytes, "total": progress.total})
    archive = getattr(session.current.content, "archive", None) if session.current is not None else None
    rows += [
        {
            "session": session.label,
            "what": f"bytes {transfer.start}-{transfer.stop}",
            "bytes": transfer.at - transfer.start,
            "total": transfer.stop - transfer.start,
        }
        for transfer in (archive.transfers if archive is not None else ())
    ]
    return rows


def member_row(session: Session, inner: str) -> Row | None:
    """One file inside a session; None if there is no such file in what is shown now."""
    snapshot = session.current
    node = snapshot.namespace.resolve(os.fsencode(inner)) if snapshot is not None and inner else None
    if snapshot is None or node is None or node < 0:
        return None
    member = snapshot.members[node]
    refusal = snapshot.content.refusal(node)
    archive = getattr(snapshot.content, "archive", None)
    zipped = archive is not None
    if member.fault:  # where a damaged record says that it lies means nothing
        archive = None
    return {
        "size": member.size,
        "compressed_size": member.compressed_size,
        "method": method_name(member.method) if zipped else "a file of its own",
        "crc32": f"{member.crc:08x}",
        "encrypted": member.encrypted,
        "here": not archive.missing(snapshot.members.span(node)) if archive is not None else None,  # type: ignore[attr-defined]
        "fault": str(refusal or ""),
        "errno": errnos.name_of(refusal) if refusal is not None else "",
    }
