"""What the cache keeps of one session: its record, and the snapshot that names.

Concurrency: coroutines without state; disk work in ``Workers``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import trio

from mountfs.errors import MountfsError
from mountfs.model import SessionInfo
from mountfs.providers import FileSource
from mountfs.session.opening import Opening
from mountfs.session.record import facts_of
from mountfs.session.snapshot import Snapshot
from mountfs.session.surroundings import Surroundings
from mountfs.store import Address

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """One session's place in the cache."""

    around: Surroundings
    address: Address
    label: str

    async def load(self, since: float) -> dict[str, Any] | None:
        """The record, if it names a snapshot that was fetched no earlier than ``since`` (seconds since 1970)."""
        shop = self.around.shop
        facts = await shop.workers.disk(shop.store.session(self.address).load)
        if facts is None or not isinstance(facts.get("snapshot"), str) or facts.get("fetched", 0) < since:
            return None
        return facts

    async def reopen(self, opening: Opening, facts: dict[str, Any]) -> Snapshot | None:
        """The snapshot a record names; None if it is not there any more. Costs no request: what it lacks is asked for
        when it is needed."""
        offline = self.around.offline
        source = None if offline else self.around.provider.zip_source(self.address.session_id)
        return await opening.reopen(facts["snapshot"], source, None if offline else self._files_source)

    async def _files_source(self) -> FileSource | None:
        """Where files that the cache lacks would come from, where each has a URL of its own: costs a request."""
        deadline = trio.current_time() + self.around.network.deadline
        source = await self.around.provider.source(self.address.session_id, deadline=deadline)
        return source if isinstance(source, FileSource) else None

    async def save(self, info: SessionInfo, snapshot: Snapshot, *, form: str, final: bool) -> None:
        """Records what is shown; a cache that refuses is logged."""
        shop = self.around.shop
        facts = facts_of(info, snapshot, form=form, final=final, checked=shop.wall())
        record = shop.store.session(self.address)
        try:
            await shop.workers.disk(lambda: record.save(facts, snapshot=snapshot.name))
        except MountfsError as exc:
            log.warning("%s: not recorded in the cache: %s", self.label, exc)
