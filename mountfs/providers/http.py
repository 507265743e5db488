"""The declarative provider: a service of the usual shape, said in the configuration instead of in code.

    [providers.steel]
    type = "http"
    base_url = "https://api.steel.dev"
    api_key_env = "STEEL_API_KEY"
    auth_header = "steel-api-key"
    auth_template = "{key}"
    archive = { path = "/v1/sessions/{id}/files.zip" }
    listing = { path = "/v1/sessions", items = "/sessions", paging = { kind = "cursor", … } }

``language`` has every word. Working examples for five services stand in docs/examples.

Concurrency: as every provider.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import urlencode

from pydantic import Field

from mountfs.config.schema import ProviderSettings
from mountfs.errors import (
    Absent,
    AccessDenied,
    ConfigError,
    KeyRejected,
    ListingTooLarge,
    ListingUnsupported,
    NotReady,
    ServiceFailed,
    Throttled,
)
from mountfs.model import Phase, SessionInfo, Shape, Span
from mountfs.providers.base import KEY_ADVICE, READY_ADVICE, STATUSES, Meaning, Options, Provider
from mountfs.providers.expiry import expiry
from mountfs.providers.language import (
    Archive,
    Facts,
    HeaderName,
    Listing,
    One,
    Paging,
    Request,
    StatusCodes,
    Template,
    Words,
    fill,
    fill_value,
    pick,
)
from mountfs.providers.reading import Fields, Record, records, session_of
from mountfs.providers.sources import Location, ZipSource
from mountfs.transport import Answer, Auth, NetworkSettings, Question, Service, Surroundings, Target

MAX_PAGES = 1000
MAX_SESSIONS = 100_000
EVERY = "*"
"""In ``terminal``: whatever the status, and without one too."""


class HttpOptions(Options):
    """The keys of ``type = "http"``."""

    archive: Archive = Field(description="how a session's zip is had")
    auth_header: HeaderName = Field(default="Authorization", description='"" for a service without keys')
    auth_template: Template = Field(default="Bearer {key}", description="the header's value")
    listing: Listing | None = Field(default=None, description="the list of sessions, where there is one")
    one: One | None = Field(default=None, description="the question about one session, where there is one")
    fields: Facts = Field(default=Facts(), description="where a session's record holds what")
    terminal: Words = Field(default=(), description='statuses after which files no longer change; ["*"]: all')
    status_codes: StatusCodes = Field(default=StatusCodes(), description="what the API's refusals mean")
    error_fields: Words = Field(default=("error", "message", "detail"), description="where the error text stands")
    strip: str = Field(default="", description="a first directory dropped if every member lies under it")


class Http(Provider):
    """``type = "http"``."""

    type = "http"
    base_url = ""
    Options = HttpOptions
    options: HttpOptions

    def __init__(
        self, settings: ProviderSettings, network: NetworkSettings, around: Surroundings | None = None
    ) -> None:
        if not settings.base_url:
            raise ConfigError(f"providers.{settings.name}.base_url: missing", advice='type = "http" has no default')
        super().__init__(settings, network, around)
        options = self.options
        self.listing = options.listing is not None and settings.list is not False
        self.has_status = options.one is not None
        self.statuses = {**STATUSES, **_meanings(options.status_codes)}
        self._fields = Fields(
            id=options.fields.id,
            status=options.fields.status,
            created=options.fields.created,
            modified=options.fields.modified,
            ended=options.fields.ended,
            terminal=frozenset(word.lower() for word in options.terminal),
        )

    def _describe(self) -> Service:
        return Service(
            name=self.name,
            base_url=self._settings.base_url or "",
            auth=Auth(self.options.auth_header, self.options.auth_template, self._settings.key),
            error_fields=self.options.error_fields,
        )

    def need_key(self) -> None:
        """A service without keys needs none."""
        if self.options.auth_header:
            super().need_key()

    @property
    def shape(self) -> Shape:
        """As configured."""
        return Shape(strip=self.options.strip.encode())

    def _content_facts(self) -> tuple[object, ...]:
        return (self.options.archive.model_dump(mode="json"),)

    # -- which sessions ------------------------------------------------------------------------------------------

    async def sessions(self, *, deadline: float) -> tuple[SessionInfo, ...]:
        """Every page of the list."""
        self.need_key()
        listing = self.options.listing
        if listing is None:
            raise ListingUnsupported(
                f"{self.name}: no list is configured",
                advice=f"write [providers.{self.name}.listing], or pin session ids: sessions = [...]",
            )
        found: list[Record] = []
        added: dict[str, str] | None = _first_page(listing.paging)
        for _page in range(MAX_PAGES):
            if added is None or len(found) > MAX_SESSIONS:
                break
            answer = await self._list_page(listing, added, deadline)
            page = records(pick(answer.data, listing.items))
            if page is None:
                raise self.malformed("the list of sessions")
            found += page
            added = _next_page(listing.paging, added, answer, seen=len(found), empty=not page)
        if len(found) > MAX_SESSIONS or added is not None:
            raise ListingTooLarge(
                f"{self.name}: the list of sessions has no end in {len(found)} sessions",
                advice=f"narrow it by [providers.{self.name}.listing] query",
            )
        return tuple(map(self._final, await self.read_sessions(found, self._fields)))

    async def _list_page(self, listing: Listing, added: dict[str, str], deadline: float) -> Answer:
        what = "the list of sessions"
        question = self._question(listing, "", what, added=added, listing=True)
        answer = await self.transport.ask(question, deadline=deadline)
        if answer.status in (404, 405):
            raise ListingUnsupported(
                f"{self.name}: this server has no such list",
                advice=f"check path under [providers.{self.name}.listing], or set list = false",
                status=answer.status,
            )
        self.expect(answer, what)
        return answer

    async def session(self, session_id: str, *, deadline: float) -> SessionInfo:
        """By the question about one session; without one, by asking for its archive."""
        self.need_key()
        what = f"session {session_id}"
        one = self.options.one
        if one is None:
            return await self._by_archive(session_id, deadline)
        answer = await self.transport.ask(self._question(one, session_id, what), deadline=deadline)
        record = pick(self.expect(answer, what), one.record)
        info = session_of(record, self._fields, session_id) if isinstance(record, Mapping) else None
        if info is None:
            raise self.malformed(what)
        return self._final(info)

    async def _by_archive(self, session_id: str, deadline: float) -> SessionInfo:
        try:
            async with self.zip_source(session_id).open(Span(0, 1), deadline=deadline):
                return SessionInfo(session_id, Phase.TERMINAL)
        except NotReady:
            return SessionInfo(session_id, Phase.LIVE)

    def _final(self, info: SessionInfo) -> SessionInfo:
        if EVERY not in self._fields.terminal:
            return info
        return SessionInfo(info.id, Phase.TERMINAL, info.status, info.created, info.modified, info.ended)

    # -- where the archive lies ----------------------------------------------------------------------------------

    def zip_source(self, session_id: str) -> ZipSource:
        """In the form that is configured."""
        what = f"session {session_id}"
        locate = self._minted if self.options.archive.form == "signed" else self._direct
        return self.archive_at(session_id, partial(locate, session_id, what))

    async def _direct(self, session_id: str, what: str, _deadline: float) -> Location:
        self.need_key()
        archive = self.options.archive
        question = self._question(archive, session_id, what)
        query = f"?{urlencode(question.query)}" if question.query else ""
        headers = {"accept": archive.accept}
        body = b""
        if question.json is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(question.json).encode()
        url = f"{self.transport.base_url}{question.path}{query}"
        return Location(Target(url, what, True, archive.method, headers, body))

    async def _minted(self, session_id: str, what: str, deadline: float) -> Location:
        self.need_key()
        archive = self.options.archive
        answer = await self.transport.ask(self._question(archive, session_id, what), deadline=deadline)
        data = self.expect(answer, what)
        if archive.state is not None:
            self._judge_state(archive, pick(data, archive.state), what)
        url = pick(data, archive.url)
        if not isinstance(url, str) or not url:
            raise self.malformed(what)
        return Location(Target(url, what), expiry(url, self._around.wall()))

    def _judge_state(self, archive: Archive, state: object, what: str) -> None:
        """Raises for a state in which there is no archive, though the status was 200; an unknown one is no obstacle."""
        says = f"{self.name}: {what}: the service says the archive is {state}"
        if state in archive.pending:
            raise NotReady(says, advice=READY_ADVICE)
        if state in archive.absent:
            raise Absent(says, advice="it will not be made: check how the session was started")
        if state in archive.failed:
            raise ServiceFailed(says, advice="the service could not make it: ask its operator")

    def _question(
        self,
        request: Request,
        session_id: str,
        what: str,
        *,
        added: Mapping[str, str] | None = None,
        listing: bool = False,
    ) -> Question:
        query = {name: str(fill_value(value, session_id)) for name, value in request.query.items()} | dict(added or {})
        question = Question(
            fill(request.path, session_id),
            what,
            method=request.method,
            query=tuple(query.items()),
            json=fill_value(request.body, session_id),
        )
        return replace(question, too_large=ListingTooLarge) if listing else question


def _meanings(codes: StatusCodes) -> dict[int, Meaning]:
    rows = (
        (codes.not_ready, Meaning(NotReady, READY_ADVICE)),
        (codes.absent, Meaning(Absent, "check the session's id, the account of the key and base_url")),
        (codes.key_rejected, Meaning(KeyRejected, KEY_ADVICE)),
        (codes.denied, Meaning(AccessDenied, "the key is valid but may not see this: " + KEY_ADVICE)),
        (codes.throttled, Meaning(Throttled, "fewer requests at once, or wait a while")),
    )
    return {code: meaning for chosen, meaning in rows for code in chosen}


def _first_page(paging: Paging | None) -> dict[str, str]:
    return {paging.parameter: str(paging.first)} if paging is not None and paging.kind == "page" else {}


def _next_page(
    paging: Paging | None, added: Mapping[str, str], answer: Answer, *, seen: int, empty: bool
) -> dict[str, str] | None:
    """What the next page's query adds, None at the end."""
    if paging is None or empty:
        return None
    if paging.more_header and answer.headers.get(paging.more_header.lower(), "").lower() not in ("true", "1"):
        return None
    value: object
    match paging.kind:
        case "cursor":
            value = pick(answer.data, paging.next)
        case "page":
            value = int(added[paging.parameter]) + 1
        case "offset":
            value = seen
        case "header":
            value = answer.headers.get(paging.next_header.lower())
    if value in (None, "", False) or {paging.parameter: str(value)} == added:
        return None
    return {paging.parameter: str(value)}
