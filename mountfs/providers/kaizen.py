"""Kaizen (providers.md §2): signed URLs, no session list, no status.

    archive   POST /agents/session/getFileArchiveUrl {"sessionId"} → 200 {"downloadUrl"}, 409 being built, 404 none
    list      POST /executions/list → executions that carry a sessionId; only when ``list = true``

Most sessions answer 404 for ever: an archive exists only if the run was started with ``archiveSessionFiles``. A 200 is
a completed archive, so it is final. The one question of ``session`` is the one that mints a URL, and the URL is kept
for the ``source`` that follows.

Concurrency: as every provider; the minted URLs are a bounded map that tasks share.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from mountfs.config.schema import ProviderSettings
from mountfs.errors import ListingTooLarge, ListingUnsupported, NotReady
from mountfs.model import Phase, SessionInfo
from mountfs.providers.base import Provider
from mountfs.providers.expiry import expiry
from mountfs.providers.reading import Fields, Record, records, time
from mountfs.providers.sources import Location, ZipSource
from mountfs.transport import NetworkSettings, Question, Surroundings, Target

ARCHIVE_URL = "/agents/session/getFileArchiveUrl"
EXECUTIONS = "/executions/list"
ENVELOPES = ("executions", "data", "items", "results")
"""The envelope of the list is not documented [U]."""
FIELDS = Fields(
    id=("sessionId",),
    created=("startTime",),
    ended=("endTime",),
    terminal=frozenset({"completed", "failed"}),
)
KEPT_URLS = 1024


class Kaizen(Provider):
    """``type = "kaizen"``."""

    type = "kaizen"
    base_url = "https://api.kaizenautomation.com"
    error_fields = ("error",)
    key_variable = "KAIZEN_API_KEY"
    lists = False
    has_status = False

    def __init__(
        self, settings: ProviderSettings, network: NetworkSettings, around: Surroundings | None = None
    ) -> None:
        super().__init__(settings, network, around)
        self._minted: OrderedDict[str, Location] = OrderedDict()

    async def sessions(self, *, deadline: float) -> tuple[SessionInfo, ...]:
        """Sessions named by executions, the latest run of each first. One page: its paging is not documented."""
        self.need_key()
        question = Question(EXECUTIONS, "the list of executions", method="POST", json={}, too_large=ListingTooLarge)
        answer = await self.transport.ask(question, deadline=deadline)
        if answer.status in (404, 405):
            raise ListingUnsupported(
                f"{self.name}: this server has no list of executions",
                advice=f"pin session ids: sessions = [...] under [providers.{self.name}], or set list = false",
                status=answer.status,
            )
        found = records(self.expect(answer, question.what), *ENVELOPES)
        if found is None:
            raise self.malformed(question.what)
        return await self.read_sessions(sorted(found, key=_started, reverse=True), FIELDS)

    async def session(self, session_id: str, *, deadline: float) -> SessionInfo:
        """Asks for the archive's URL: there is no other question about one session."""
        try:
            location = await self._mint(session_id, deadline)
        except NotReady:
            return SessionInfo(session_id, Phase.LIVE)
        self._minted[session_id] = location
        self._minted.move_to_end(session_id)
        while len(self._minted) > KEPT_URLS:
            self._minted.popitem(last=False)
        return SessionInfo(session_id, Phase.TERMINAL)

    def zip_source(self, session_id: str) -> ZipSource:
        """The archive behind a signed URL, minted when it is first opened."""
        known = self._minted.pop(session_id, None)
        return self.archive_at(session_id, partial(self._mint, session_id), location=known)

    async def _mint(self, session_id: str, deadline: float) -> Location:
        self.need_key()
        what = f"session {session_id}"
        question = Question(ARCHIVE_URL, what, method="POST", json={"sessionId": session_id})
        data = self.expect(await self.transport.ask(question, deadline=deadline), what)
        url = data.get("downloadUrl") if isinstance(data, dict) else None
        if not isinstance(url, str) or not url:
            raise self.malformed(what)
        return Location(Target(url, what), expiry(url, self._around.wall()))


def _started(record: Record) -> float:
    return time(record, FIELDS.created) or 0.0
