"""The sessions of one provider: which there are, and the one question an unlisted name costs.

*Listing*: one request, believed for ``freshness.listing``. What is shown is listed + pinned + cached, so a service
that is down, or has no list, still shows what is here; only when nothing is left is the listing's error the answer. A
listed session known to be absent is left out while that is believed, else ``find`` fails on it for ever.

*Lookup*: a listed, pinned or cached name never waits for the network. Any other is worth one point query if it looks
like an id of this provider (``worth_asking``), bounded by ``lookup_timeout``, its answer believed either way.

Concurrency: trio task thread.
"""

from __future__ import annotations

import logging
from collections import Counter

import trio
from cachetools import LRUCache

from mountfs.errors import Absent, DeadlineExceeded, MountfsError, NotFound
from mountfs.model import Phase, SessionInfo
from mountfs.session.life import NOTHING, Belief, State, after_error
from mountfs.session.record import info_of
from mountfs.session.session import Session
from mountfs.session.surroundings import Surroundings

log = logging.getLogger(__name__)

GRACE = 0.1  # the provider's own error at its deadline says more than ours
MOST_ANSWERS = 10_000  # names that were asked for and are not there: about 5 MB at the most


class Sessions:
    """One provider's directory."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.name = around.provider.name
        self.listing: Belief = NOTHING
        self.last_error: MountfsError | None = None
        self._listed: dict[str, SessionInfo] = {}
        self._cached: dict[str, SessionInfo] = {}
        self._sessions: dict[str, Session] = {}
        self._answers: LRUCache[str, Belief] = LRUCache(MOST_ANSWERS)

    async def load_cached(self) -> None:
        """Learns which sessions the cache holds; done at start and before a listing, without the network."""
        shop = self.around.shop
        key = self.around.provider.content_key
        rows = await shop.workers.disk(shop.store.sessions, key, self.around.account)
        self._cached = {
            session_id: info_of(session_id, facts)
            for session_id, facts in rows
            if isinstance(facts.get("snapshot"), str)
        }

    # -- which there are -----------------------------------------------------------------------------------------

    async def names(self) -> list[Session]:
        """Every session to show, by id. Raises the listing's error only where there is nothing else to show."""
        error = await self._list()
        await self.load_cached()
        ids = {*self._listed, *self.around.provider.pinned, *self._cached}
        sessions = [self._session(session_id) for session_id in sorted(ids)]
        pinned = set(self.around.provider.pinned)
        shown = [session for session in sessions if session.id in pinned or not session.absent()]
        if not shown and error is not None:
            raise error.again()
        return shown

    async def _list(self) -> MountfsError | None:
        """Asks for the list if it is due; answers the error that is believed, if any."""
        if not self.around.provider.listing or self.around.offline:
            return None
        if not self.listing.holds(trio.current_time()):
            try:
                await self.around.flights.join(("list", self.name), self._ask_list)
            except MountfsError as exc:
                return exc
        return self.listing.error

    async def _ask_list(self) -> None:
        now = trio.current_time()
        try:
            infos = await self.around.provider.sessions(deadline=now + self.around.network.deadline)
        except MountfsError as exc:
            self.listing = after_error(exc, Phase.LIVE, self.around.freshness, trio.current_time())
            self.last_error = exc
            exc.tell()
            log.warning("%s: cannot list the sessions%s: %s", self.name, self._shown_instead(), exc)
            return
        self.last_error = None
        self._listed = {info.id: info for info in infos if self.around.provider.valid_id(info.id)}
        for info in infos:
            if (session := self._sessions.get(info.id)) is not None:
                self._update(session, info)
            self._answers.pop(info.id, None)
        self.listing = Belief(State.LIVE, trio.current_time() + self.around.freshness.listing)

    def _shown_instead(self) -> str:
        known = len({*self._listed, *self.around.provider.pinned, *self._cached})
        return f" (showing the {known} already known)" if known else ""

    @staticmethod
    def _update(session: Session, info: SessionInfo) -> None:
        """A listing's word on a session. That one has ended is believed only by way of one more fetch: what is shown
        now was taken before."""
        if session.current is not None and session.info is not None and session.info.phase is Phase.LIVE:
            return
        session.info = info

    # -- one of them ---------------------------------------------------------------------------------------------

    def known(self, session_id: str) -> bool:
        """Whether a name needs no question: listed, pinned or cached."""
        return (
            session_id in self._listed
            or session_id in self._cached
            or session_id in self.around.provider.pinned
            or session_id in self._sessions
        )

    def at_once(self, session_id: str) -> bool:
        """Whether ``lookup`` answers without a request."""
        if self.known(session_id) or self.around.offline or not self.around.provider.worth_asking(session_id):
            return True
        belief = self._answers.get(session_id)
        return belief is not None and belief.holds(trio.current_time())

    def peek(self, name: bytes) -> Session | None:
        """The session of a name that needs no question; None for every other name, whatever the reason."""
        session_id = name.decode("ascii", "replace")
        if not self.known(session_id):
            return None
        session = self._session(session_id)
        return None if session.absent() else session

    async def lookup(self, session_id: str) -> Session:
        """The session of that name. Raises NotFound for a name not worth a question, Absent, or what the query
        raised."""
        provider = self.around.provider
        if self.known(session_id):
            session = self._session(session_id)
            if session.absent() and session.id not in provider.pinned:
                assert session.belief.error is not None
                raise session.belief.error.again()
            return session
        if not provider.valid_id(session_id) or not provider.worth_asking(session_id) or self.around.offline:
            raise NotFound(f"{self.name}: no session {session_id!r}")
        belief = self._answers.get(session_id)
        if belief is None or not belief.holds(trio.current_time()):
            await self.around.flights.join(("query", session_id), lambda: self._ask(session_id))
            belief = self._answers.get(session_id)
        if belief is not None and belief.error is not None:
            raise belief.error.again()
        return self._session(session_id)

    async def _ask(self, session_id: str) -> None:
        """The one question an unlisted name costs."""
        timeout = self.around.network.lookup_timeout
        error: MountfsError | None = None
        try:
            with trio.fail_after(timeout + GRACE):
                info = await self.around.provider.session(session_id, deadline=trio.current_time() + timeout)
        except trio.TooSlowError:
            error = DeadlineExceeded(
                f"no answer within {timeout:g} s whether session {session_id} exists",
                advice="raise network.lookup_timeout, or pin it in 'sessions'",
            )
        except MountfsError as exc:
            error = exc
        if error is not None:
            self._answers[session_id] = after_error(error, Phase.LIVE, self.around.freshness, trio.current_time())
            if not isinstance(error, Absent):
                self.last_error = error
            error.tell()
            log.warning("%s/%s: %s", self.name, session_id, error)
            return
        self._answers.pop(session_id, None)
        if (session := self._sessions.get(session_id)) is not None:  # a listing has told of it meanwhile
            self._update(session, info)
        else:
            self._sessions[session_id] = Session(session_id, self.around, info=info)

    def answer_left(self, session_id: str) -> float:
        """Seconds for which the absence of a name may be told to the kernel."""
        now = trio.current_time()
        if (session := self._sessions.get(session_id)) is not None:
            return session.belief.left(now)
        belief = self._answers.get(session_id)
        return belief.left(now) if belief is not None else self.around.freshness.absent

    def _session(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            cached = session_id in self._cached
            session = Session(session_id, self.around, info=self._listed.get(session_id), cached=cached)
            if session.info is None and cached:
                session.cached_info = self._cached[session_id]
            self._sessions[session_id] = session
        return session

    def believed(self, session_id: str) -> str:
        """What an unlisted name was answered, while that is believed; else nothing."""
        belief = self._answers.get(session_id)
        return str(belief.error) if belief is not None and belief.error and belief.holds(trio.current_time()) else ""

    def find(self, session_id: str) -> Session | None:
        """The session of that name, if somebody looked at it since the start."""
        return self._sessions.get(session_id)

    def forget(self) -> None:
        """``mountfs refresh PROVIDER``: the list and every answer are asked for again."""
        self.listing = NOTHING
        self._answers.clear()
        for session in self._sessions.values():
            session.forget()

    def forget_answer(self, session_id: str) -> None:
        """What was answered of one name is asked again."""
        self._answers.pop(session_id, None)
        if (session := self._sessions.get(session_id)) is not None:
            session.forget()

    @property
    def listed_count(self) -> int:
        """How many sessions the last good list had."""
        return len(self._listed)

    def rest(self, idle: float) -> bool:
        """Lets go of what was not used for ``idle`` seconds; answers whether there was anything."""
        return bool([session for session in self._sessions.values() if session.rest(idle)])

    def seen(self) -> list[Session]:
        """The sessions somebody looked at since the start."""
        return list(self._sessions.values())

    def states(self) -> dict[str, int]:
        """How many of those are in which state."""
        return dict(Counter(session.belief.state.value for session in self._sessions.values() if session.touched))

    def listing_left(self) -> float:
        """Seconds for which the listing may be told to the kernel."""
        if not self.around.provider.listing:
            return self.around.freshness.listing
        return self.listing.left(trio.current_time())
