"""What every session of one provider shares: its provider, its flights, the settings, the way to tell of a change.

Concurrency: immutable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mountfs.caches import Flights
from mountfs.config import Freshness, Network
from mountfs.errors import MountfsError
from mountfs.model import Phase, SessionInfo
from mountfs.providers import Provider
from mountfs.session.download import Workshop
from mountfs.session.snapshot import Snapshot

if TYPE_CHECKING:
    from mountfs.session.session import Session


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every session of one provider shares."""

    provider: Provider
    shop: Workshop
    flights: Flights
    freshness: Freshness
    network: Network
    account: str
    offline: bool
    changed: Callable[[Session, Snapshot, Snapshot], None]

    async def status(self, session_id: str, said: SessionInfo | None, deadline: float, *, keep: bool) -> SessionInfo:
        """A session's phase now, ``said`` being what was known of it. Without a status of its own (Kaizen), an archive
        that can be had is complete. ``keep``: a question that fails leaves what was known."""
        known = said or SessionInfo(session_id, Phase.LIVE)
        if not self.provider.has_status:
            return replace(known, phase=Phase.TERMINAL)
        try:
            return await self.provider.session(session_id, deadline=deadline)
        except MountfsError:
            if not keep:
                raise
            return known
