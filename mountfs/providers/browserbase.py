"""Browserbase (providers.md §4): downloads as one zip, or file by file.

    archive   GET /v1/sessions/{id}/downloads (Accept: application/zip) → 200 zip; empty (22 bytes, or 204) until synced
    files     GET /v1/downloads?sessionId=&limit=&offset= → {"downloads", "total"}; GET /v1/downloads/{id} → bytes
    list      GET /v1/sessions → a bare array, all of it in one answer
    one       GET /v1/sessions/{id}

``files = "api"`` is the better source (sizes, times and hashes in one call, a file fetched only when opened) but for
some customers only; ``"auto"`` takes it where it answers and the zip where it is refused. Session JSON holds
credentials (``connectUrl``, ``signingKey``): ``reading`` takes the fields we name and drops the rest.

Concurrency: as every provider; ``_api_refused_until`` is set in one step.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

import trio
from pydantic import Field

from mountfs.errors import Absent, AccessDenied, ListingTooLarge, ListingUnsupported
from mountfs.model import RemoteFile, SessionInfo, Shape
from mountfs.providers.base import Options, Provider
from mountfs.providers.expiry import moment
from mountfs.providers.reading import Fields, Record, records, session_of, text
from mountfs.providers.sources import FileSource, Location, ZipSource
from mountfs.transport import Question, Target

FIELDS = Fields(
    created=("createdAt", "startedAt"),
    modified=("updatedAt",),
    ended=("endedAt",),
    terminal=frozenset({"completed", "error", "timed_out"}),
)
UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
PAGE = 100
"""Files an answer of the per-file API holds at most."""
MAX_FILES = 100_000
API_REFUSED_FOR = 300.0
"""Seconds after which ``files = "auto"`` asks the per-file API again: it is an account's ability, it seldom changes."""


class BrowserbaseOptions(Options):
    """The keys of ``type = "browserbase"``."""

    files: Literal["zip", "api", "auto"] = Field(
        default="zip", description="where files come from: the documented zip, the per-file API, or whichever answers"
    )
    clean_names: bool = Field(
        default=False, description="strip the millisecond suffix the service adds, where that is unique"
    )


class Browserbase(Provider):
    """``type = "browserbase"``."""

    type = "browserbase"
    base_url = "https://api.browserbase.com"
    auth_header = "X-BB-API-Key"
    auth_template = "{key}"
    error_fields = ("message", "error")
    key_variable = "BROWSERBASE_API_KEY"
    id_pattern = UUID
    Options = BrowserbaseOptions
    options: BrowserbaseOptions
    _api_refused_until = float("-inf")

    @property
    def shape(self) -> Shape:
        """Names are kept as they are unless ``clean_names`` is set."""
        return Shape(clean_suffix=self.options.clean_names)

    def _content_facts(self) -> tuple[object, ...]:
        return ("downloads", self.options.files)

    async def sessions(self, *, deadline: float) -> tuple[SessionInfo, ...]:
        """All sessions: the service has no pages. A large account's answer is large, and bounded."""
        self.need_key()
        question = Question("/v1/sessions", "the list of sessions", too_large=ListingTooLarge)
        answer = await self.transport.ask(question, deadline=deadline)
        if answer.status in (404, 405):
            raise ListingUnsupported(
                f"{self.name}: this server has no session list",
                advice=f"pin session ids: sessions = [...] under [providers.{self.name}], or set list = false",
                status=answer.status,
            )
        found = records(self.expect(answer, question.what), "sessions", "data")
        if found is None:
            raise self.malformed(question.what)
        return await self.read_sessions(found, FIELDS)

    async def session(self, session_id: str, *, deadline: float) -> SessionInfo:
        """One session by its id; never by listing again."""
        self.need_key()
        what = f"session {session_id}"
        question = Question(f"/v1/sessions/{quote(session_id, safe='')}", what)
        data = self.expect(await self.transport.ask(question, deadline=deadline), what)
        info = session_of(data, FIELDS, session_id) if isinstance(data, dict) else None
        if info is None:
            raise self.malformed(what)
        return info

    async def source(self, session_id: str, *, deadline: float) -> ZipSource | FileSource:
        """The zip (no request), or the files the per-file API lists (a request for each hundred)."""
        self.need_key()
        form = self.options.files
        if form == "api" or (form == "auto" and trio.current_time() >= self._api_refused_until):
            try:
                return await self._files(session_id, deadline)
            except (AccessDenied, Absent):
                # "Available to select customers": 403, or 404 for the route. A session that is gone is told by the zip.
                if form == "api":
                    raise
                self._api_refused_until = trio.current_time() + API_REFUSED_FOR
        return self.zip_source(session_id)

    def zip_source(self, session_id: str) -> ZipSource:
        """The zip of everything that was downloaded."""
        url = f"{self.transport.base_url}/v1/sessions/{quote(session_id, safe='')}/downloads"
        headers = {"accept": "application/zip"}
        location = Location(Target(url, f"session {session_id}", authorised=True, headers=headers))

        async def locate(_deadline: float) -> Location:
            self.need_key()
            return location

        return self.archive_at(session_id, locate)

    async def _files(self, session_id: str, deadline: float) -> FileSource:
        what = f"session {session_id}"
        files: dict[str, RemoteFile] = {}
        offset = 0
        while True:
            query = (("sessionId", session_id), ("limit", str(PAGE)), ("offset", str(offset)))
            question = Question("/v1/downloads", f"{what}: the list of files", query=query, too_large=ListingTooLarge)
            data = self.expect(await self.transport.ask(question, deadline=deadline), question.what)
            page = records(data, "downloads")
            if page is None:
                raise self.malformed(question.what)
            files |= {file.id: file for record in page if (file := _file(record)) is not None}
            offset += len(page)
            if offset > MAX_FILES:
                raise ListingTooLarge(f"{self.name}: {what}: more than {MAX_FILES} files")
            total = data.get("total") if isinstance(data, dict) else None
            if not page or (offset >= total if isinstance(total, int) else len(page) < PAGE):
                break
        return FileSource(
            self.transport,
            files=tuple(sorted(files.values(), key=lambda file: (file.created or 0.0, file.id))),
            target=lambda file: self._target(file, what),
            explain=lambda answer: self.refusal(answer, what),
        )

    def _target(self, file: RemoteFile, what: str) -> Target:
        url = f"{self.transport.base_url}/v1/downloads/{quote(file.id, safe='')}"
        return Target(url, what, authorised=True, headers={"accept": "application/octet-stream"})


def _file(record: Record) -> RemoteFile | None:
    """A file of the per-file API, None for a record that lacks what reading it needs."""
    name, filename, size = text(record, ("id",)), text(record, ("filename",)), record.get("size")
    if not name or not filename or isinstance(size, bool) or not isinstance(size, int) or size < 0:
        return None
    digest = text(record, ("checksum",)).lower()
    return RemoteFile(
        id=name,
        filename=filename,
        size=size,
        sha256=digest if len(digest) == 64 and set(digest) <= set("0123456789abcdef") else "",
        created=moment(record.get("createdAt")),
    )
