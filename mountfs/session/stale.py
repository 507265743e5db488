"""``mountfs refresh`` for the time after a restart: records in the cache that are to be asked for again.

Concurrency: blocking; shared between processes as every record is.
"""

from __future__ import annotations

from mountfs.model import Phase
from mountfs.session.surroundings import Surroundings
from mountfs.store import Address


def mark_stale(around: Surroundings, session_id: str | None = None) -> list[str]:
    """What was final is asked for again at the next start. Answers the ids that have a record; ``session_id`` None: all
    of the provider's."""
    store, key = around.shop.store, around.provider.content_key
    known = [session_id] if session_id is not None else [each for each, _ in store.sessions(key, around.account)]
    marked = []
    for each in known:
        record = store.session(Address(key, around.account, each))
        facts = record.load()
        if facts is not None and isinstance(facts.get("snapshot"), str):
            record.save({**facts, "phase": Phase.LIVE.value, "checked": 0}, snapshot=facts["snapshot"])
            marked.append(each)
    return marked
