"""Reads sessions out of JSON that is only partly documented: tolerant of envelopes, unknown values, missing fields.

What is not asked for by name here is dropped at the door: session JSON holds credentials (providers.md §0.5).
Concurrency: pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mountfs.model import Phase, SessionInfo
from mountfs.providers.expiry import moment
from mountfs.providers.names import SESSION_ID

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Fields:
    """Where a service puts what we want of a session; the first field of each tuple that holds something wins.
    ``terminal``: the statuses (compared without regard to case) after which files no longer change; every other is
    live, also those we do not know."""

    id: tuple[str, ...] = ("id",)
    status: tuple[str, ...] = ("status",)
    created: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    terminal: frozenset[str] = frozenset()


def records(data: object, *envelopes: str) -> list[Record] | None:
    """The objects of a list: a bare array, or the array under the first of ``envelopes`` that holds one. None where
    there is no such array; things in it that are no objects are left out."""
    if isinstance(data, Mapping):
        data = next((data[name] for name in envelopes if isinstance(data.get(name), list)), None)
    if not isinstance(data, list):
        return None
    return [item for item in data if isinstance(item, Mapping)]


def text(record: Record, names: Iterable[str]) -> str:
    """The first of these fields that holds a string which is not empty, else ""."""
    return next((value for name in names if isinstance(value := record.get(name), str) and value), "")


def time(record: Record, names: Iterable[str]) -> float | None:
    """The first of these fields that holds a time, in seconds since 1970."""
    return next((value for name in names if (value := moment(record.get(name))) is not None), None)


def _identifier(record: Record, names: Iterable[str]) -> str:
    """The first of these fields that holds an id. Some services number theirs (GitHub, GitLab)."""
    values = (record.get(name) for name in names)
    return next((str(value) for value in values if value and isinstance(value, str | int) and value is not True), "")


def session_of(record: Record, fields: Fields, session_id: str | None = None) -> SessionInfo | None:
    """What a record says of its session; None where it has no id that we accept. ``session_id``: known already."""
    name = session_id or _identifier(record, fields.id)
    if SESSION_ID.fullmatch(name) is None:
        return None
    status = text(record, fields.status)
    ended = time(record, fields.ended)
    return SessionInfo(
        id=name,
        phase=Phase.TERMINAL if status.lower() in fields.terminal else Phase.LIVE,
        status=status[:64],
        created=time(record, fields.created),
        modified=time(record, fields.modified),
        ended=ended,
    )


def sessions_of(found: Iterable[Record], fields: Fields) -> tuple[SessionInfo, ...]:
    """Every session once, the first record of each id winning."""
    seen: dict[str, SessionInfo] = {}
    for record in found:
        info = session_of(record, fields)
        if info is not None:
            seen.setdefault(info.id, info)
    return tuple(seen.values())
