"""What the cache's record says of a session: its status and the snapshot it showed last. Never a URL, never a key.

Concurrency: pure functions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mountfs.model import Phase, SessionInfo
from mountfs.session.snapshot import Snapshot


def facts_of(info: SessionInfo, snapshot: Snapshot, *, form: str, final: bool, checked: float) -> dict[str, Any]:
    """The record, as JSON values. ``final``: the archive was taken after the session's end, and holds something.
    ``checked``: when the service said that the snapshot is right, in seconds since 1970."""
    return {
        "snapshot": snapshot.name,
        "form": form,
        "phase": (Phase.TERMINAL if final else Phase.LIVE).value,
        "status": info.status,
        "created": info.created,
        "modified": info.modified,
        "ended": info.ended,
        "fetched": snapshot.fetched,
        "checked": checked,
    }


def info_of(session_id: str, facts: dict[str, Any]) -> SessionInfo:
    """What a record says of its session; unknown or damaged parts count as not said."""
    phase = Phase.TERMINAL if facts.get("phase") == Phase.TERMINAL.value else Phase.LIVE
    found = (facts.get(key) for key in ("created", "modified", "ended"))
    times = [value if isinstance(value, int | float) else None for value in found]
    return SessionInfo(session_id, phase, str(facts.get("status", "")), *times)


def info_known(said: SessionInfo | None, kept: SessionInfo) -> SessionInfo:
    """What to believe of a session whose record is ``kept`` and of which the service ``said`` something: a final record
    stays final; of a live one the listing may know more by now, but not that what we have was taken after the end."""
    if said is None or kept.phase is Phase.TERMINAL:
        return kept
    return replace(said, phase=Phase.LIVE)
