"""Dari (providers.md §3): the answer itself is the zip.

    archive   GET /v1/sessions/{id}/workspace.zip[?path=a&path=b] → 200 zip, 409 not started, 404, 400 bad path
    list      GET /v1/sessions → {"sessions"}; else GET /v1/agents, then GET /v1/agents/{id}/sessions of each
    one       GET /v1/sessions/{id}

The zip holds the *current* files: content moves while a session lives. One response is one snapshot. Its root may or
may not be ``workspace/``.

Concurrency: as every provider; the agents' lists are asked for by a few tasks at once, each filling its own row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import quote, urlencode

import trio
from pydantic import AfterValidator, Field

from mountfs.errors import ListingTooLarge, ListingUnsupported, RequestRefused, ServiceError
from mountfs.model import SessionInfo, Shape, Span
from mountfs.providers.base import Options, Provider
from mountfs.providers.reading import Fields, Record, records, session_of, text
from mountfs.providers.sources import Explain, Location, Opening, ZipSource
from mountfs.transport import Answer, Body, Question, Refused, Target, Transport

log = logging.getLogger(__name__)

FIELDS = Fields(
    id=("id", "session_id"),
    created=("created_at",),
    modified=("updated_at",),
    ended=("ended_at", "completed_at"),
    terminal=frozenset({"completed", "failed", "expired"}),  # idle can be resumed: it is live
)
NO_SUCH_ROUTE = frozenset({404, 405, 410})
MAX_AGENTS = 500
AGENTS_AT_ONCE = 4
PATHS_BELIEVED = 60.0
"""Seconds after which refused paths are tried again: the session may have made them by then."""


def workspace_path(path: str) -> str:
    """A directory of the workspace, relative to it: ``reports`` and ``/workspace/reports`` are the same; "" is all."""
    if path.startswith("/") and path != "/workspace" and not path.startswith("/workspace/"):
        raise ValueError("write a directory relative to /workspace")
    parts = [part for part in path.removeprefix("/workspace").split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise ValueError("write a directory inside /workspace, without '..'")
    return "/".join(parts)


class DariOptions(Options):
    """The keys of ``type = "dari"``."""

    paths: Annotated[tuple[Annotated[str, AfterValidator(workspace_path)], ...], Field(strict=False)] = Field(
        default=(), description="fetch these directories only; () is the whole workspace"
    )


class Dari(Provider):
    """``type = "dari"``."""

    type = "dari"
    base_url = "https://api.dari.dev"
    error_fields = ("detail", "error", "message")
    key_variable = "DARI_API_KEY"
    Options = DariOptions
    options: DariOptions

    @property
    def shape(self) -> Shape:
        """The vendor's own client takes both forms of the zip's root."""
        return Shape(strip=b"workspace")

    @property
    def paths(self) -> tuple[str, ...]:
        """What is fetched of a workspace, sorted, none twice; empty: all of it."""
        chosen = self.options.paths
        return () if "" in chosen else tuple(sorted(set(chosen)))

    def _content_facts(self) -> tuple[object, ...]:
        return ("workspace.zip", self.paths)

    async def sessions(self, *, deadline: float) -> tuple[SessionInfo, ...]:
        """The list, from the one route or else from the agents'."""
        self.need_key()
        question = Question("/v1/sessions", "the list of sessions", too_large=ListingTooLarge)
        answer = await self.transport.ask(question, deadline=deadline)
        if answer.status not in NO_SUCH_ROUTE:
            return await self._read_list(answer, question.what)
        found = await self._agents(deadline)
        rows: list[tuple[SessionInfo, ...]] = [()] * len(found)
        failures: list[ServiceError] = []
        limit = trio.CapacityLimiter(AGENTS_AT_ONCE)

        async def one(index: int, agent: str) -> None:
            async with limit:
                try:
                    rows[index] = await self._agent_sessions(agent, deadline)
                except ServiceError as error:
                    failures.append(error)
                    nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for index, agent in enumerate(found):
                nursery.start_soon(one, index, agent)
        if failures:
            raise failures[0]
        return tuple({info.id: info for row in reversed(rows) for info in reversed(row)}.values())[::-1]

    async def _agents(self, deadline: float) -> list[str]:
        question = Question("/v1/agents", "the list of agents", too_large=ListingTooLarge)
        answer = await self.transport.ask(question, deadline=deadline)
        if answer.status in NO_SUCH_ROUTE:
            raise ListingUnsupported(
                f"{self.name}: this server has no session list",
                advice=f"pin session ids: sessions = [...] under [providers.{self.name}], or set list = false",
                status=answer.status,
            )
        found = records(self.expect(answer, question.what), "agents", "data", "items")
        if found is None:
            raise self.malformed(question.what)
        names = list(dict.fromkeys(name for record in found if (name := text(record, ("id", "agent_id", "name")))))
        if len(names) > MAX_AGENTS:
            raise ListingTooLarge(
                f"{self.name}: {len(names)} agents, and each has a list of its own",
                advice=f"pin session ids: sessions = [...] under [providers.{self.name}], and set list = false",
            )
        return names

    async def _agent_sessions(self, agent: str, deadline: float) -> tuple[SessionInfo, ...]:
        path = f"/v1/agents/{quote(agent, safe='')}/sessions"
        question = Question(path, "the list of an agent's sessions", too_large=ListingTooLarge)
        answer = await self.transport.ask(question, deadline=deadline)
        if answer.status in NO_SUCH_ROUTE:  # the agent went away in between
            return ()
        return await self._read_list(answer, question.what)

    async def _read_list(self, answer: Answer, what: str) -> tuple[SessionInfo, ...]:
        found = records(self.expect(answer, what), "sessions", "data", "items")
        if found is None:
            raise self.malformed(what)
        return await self.read_sessions(found, FIELDS)

    async def session(self, session_id: str, *, deadline: float) -> SessionInfo:
        """One session by its id."""
        self.need_key()
        what = f"session {session_id}"
        question = Question(f"/v1/sessions/{quote(session_id, safe='')}", what)
        data = self.expect(await self.transport.ask(question, deadline=deadline), what)
        if not isinstance(data, Mapping):
            raise self.malformed(what)
        inner = data.get("session")
        record: Record = inner if isinstance(inner, Mapping) else data
        info = session_of(record, FIELDS, session_id)
        if info is None:
            raise self.malformed(what)
        return info

    def zip_source(self, session_id: str) -> ZipSource:
        """The workspace, or the configured directories of it."""
        what = f"session {session_id}"
        route = f"{self.transport.base_url}/v1/sessions/{quote(session_id, safe='')}/workspace.zip"

        def target(paths: tuple[str, ...]) -> Target:
            self.need_key()
            query = urlencode([("path", path) for path in paths])
            return Target(f"{route}?{query}" if query else route, what, authorised=True, headers=ACCEPT)

        return _PathsSource(
            self.transport,
            what=what,
            paths=self.paths,
            target=target,
            explain=lambda answer: self.refusal(answer, what),
            wall=self._around.wall,
        )


ACCEPT = {"accept": "application/zip"}


class _PathsSource(ZipSource):
    """A workspace of which some directories are wanted. Dari refuses the whole request for one bad path; then each is
    asked for alone, and the refused ones are left out and logged (design §2)."""

    def __init__(
        self,
        transport: Transport,
        *,
        what: str,
        paths: tuple[str, ...],
        target: Callable[[tuple[str, ...]], Target],
        explain: Explain,
        wall: Callable[[], float],
    ) -> None:
        super().__init__(transport, what=what, locate=self._everything, explain=explain, wall=wall)
        self._paths = paths
        self._target = target

    async def _everything(self, deadline: float) -> Location:  # noqa: ARG002  (no request is needed)
        return Location(self._target(self._paths))

    async def _opened(self, opening: Opening) -> Body:
        try:
            return await super()._opened(opening)
        except RequestRefused as error:
            if len(self._paths) < 2:
                raise
            accepted = [path for path in self._paths if await self._accepted(path, opening.deadline)]
            if not accepted:
                raise error.again() from error
        self._location = Location(self._target(tuple(accepted)), self._wall() + PATHS_BELIEVED)
        for path in sorted(set(self._paths) - set(accepted)):
            log.warning("%s: the service refuses the path %r, which is left out; see paths", self._what, path)
        return await super()._opened(opening)

    async def _accepted(self, path: str, deadline: float) -> bool:
        try:
            async with self._transport.fetch(self._target((path,)), Span(0, 1), deadline=deadline):
                return True
        except Refused as refused:
            if refused.archive_host or refused.status not in (400, 422):
                raise self._blamed(self._explain(refused.answer)) from refused
            return False
