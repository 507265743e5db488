"""Fake Browserbase (providers.md §1, §4): the zip of a session's downloads, and the per-file API beside it."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from mountfs.demo.bodies import Content, serve, sha256_of, size_of
from mountfs.demo.fake import Fake, FakeFile, FakeSession, Handler, as_json, stamp
from mountfs.demo.store import FakeObject, FakeStore
from mountfs.demo.wire import Ask, Reply, plain


class FakeBrowserbase(Fake):
    """``files_api``: True, or the status its refusal has (403 and 404: "available to select customers" [D]).
    ``redirect``: the zip is a 302 to another origin, the object store. ``page_limit``: the most files on one page."""

    name = "browserbase"
    key = "bb-demo-BROWSERBASESECRET-3e9a"
    ended_well = "COMPLETED"

    def __init__(self, store: FakeStore, *, wall: Callable[[], float] = time.time) -> None:
        super().__init__(wall=wall)
        self.store = store
        self.files_api: Literal[True, 403, 404] = True
        self.redirect = False
        self.page_limit = 100

    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        return (
            ("GET", "/v1/sessions", self._list),
            ("GET", "/v1/sessions/{id}", self._one),
            ("GET", "/v1/sessions/{id}/downloads", self._zip),
            ("GET", "/v1/downloads", self._files),
            ("GET", "/v1/downloads/{id}", self._file),
        )

    def populate(self, count: int, *, archive: Content | None = None) -> list[FakeSession]:
        """So many more sessions with ids made from their number."""
        made = [self.add(str(uuid.uuid5(uuid.NAMESPACE_OID, f"session {number}"))) for number in range(count)]
        for session in made if archive is not None else ():
            session.archive = archive or b""
        return made

    def error_body(self, status: int, text: str) -> dict[str, object]:
        return {"statusCode": status, "error": f"HTTP {status}", "message": text}  # [C] `message` or `error`

    def _list(self, ask: Ask) -> Reply:
        if refusal := self._refusal(ask):
            return refusal
        wanted = ask.first("status")
        shown = [self._facts(each) for each in list(self.sessions.values()) if each.listed]
        return as_json([each for each in shown if not wanted or each["status"] == wanted])  # [D][C] bare, no paging

    def _one(self, ask: Ask) -> Reply:
        session = self._session(ask, ask.params["id"])
        return session if isinstance(session, Reply) else as_json(self._facts(session))  # [D]

    def _zip(self, ask: Ask) -> Reply:
        session = self._session(ask, ask.params["id"])
        if isinstance(session, Reply):
            return session
        if session.answer is not None and (made := session.answer.instead(ask)) is not None:
            return made  # [T] a 204, a body that is no zip
        if not session.is_ready():
            return serve_empty()
        if self.redirect:
            target = FakeObject(session.content, lambda: session.etag)
            return plain(302, headers={"location": self.store.sign(f"downloads/{session.id}.zip", target)})  # [I]
        content = session.next_content()
        return serve(content, ask, self.rules(), kind="application/zip", etag=session.etag)  # [D]

    def _files(self, ask: Ask) -> Reply:
        session = self._session(ask, ask.first("sessionId"), files=True)
        if isinstance(session, Reply):
            return session
        limit = int(ask.first("limit", "20"))
        offset = int(ask.first("offset", "0"))
        if not 1 <= limit <= self.page_limit or offset < 0:
            return self.error(400, "limit must be between 1 and 100")  # [D] limit ≤ 100
        files = files_of(session)
        page = [self._file_facts(session, each) for each in files[offset : offset + limit]]
        return as_json({"downloads": page, "total": len(files), "limit": limit, "offset": offset})  # [D]

    def _file(self, ask: Ask) -> Reply:
        if refusal := self._refusal(ask, files=True):
            return refusal
        for session in list(self.sessions.values()):
            for each in session.files or ():  # known once they were listed, as a client must
                if each.id == ask.params["id"]:
                    return serve(each.data, ask, self.rules(), kind=each.kind)  # [D] the bytes
        return self.error(404, "Download not found")

    def unprepared(self, session: FakeSession, ask: Ask) -> bool:
        if "/downloads" not in ask.path:
            return False  # questions about a session are answered at once
        return not session.made() or (session.files is None and "/v1/downloads" in ask.path)

    def prepare(self, session: FakeSession, ask: Ask) -> None:
        if "/v1/downloads" in ask.path:
            files_of(session)
        else:
            session.content()

    def _session(self, ask: Ask, session_id: str, *, files: bool = False) -> FakeSession | Reply:
        if refusal := self._refusal(ask, files=files):
            return refusal
        session = self.sessions.get(session_id)
        if session is None or session.gone or not session.archived:
            return self.error(404, "Session not found")  # [I]
        return self.error(403, "Forbidden") if session.forbidden else session

    def _refusal(self, ask: Ask, *, files: bool = False) -> Reply | None:
        if ask.headers.get("x-bb-api-key") != self.key:
            return self.error(401, "Invalid or missing X-BB-API-Key")  # [C]
        if files and self.files_api is not True:
            return self.error(self.files_api, "Downloads API is not enabled for this project")  # [D]
        return None

    def _facts(self, session: FakeSession) -> dict[str, object]:
        times = {
            "createdAt": session.created,
            "updatedAt": session.updated,
            "startedAt": session.started,
            "expiresAt": None if session.created is None else session.created + 21_600,
        }
        facts: dict[str, object] = {
            "id": session.id,
            **{name: stamp(value) for name, value in times.items() if value is not None},
            **({} if session.ended is None else {"endedAt": stamp(session.ended)}),  # [D] optional
            "projectId": "6f6f0a3c-2b3e-4a8f-9c5e-0d1e2f3a4b5c",
            "status": session.status or self.ended_well,  # [D] PENDING RUNNING | COMPLETED ERROR TIMED_OUT
            "proxyBytes": 0,
            "keepAlive": False,
            "region": "us-west-2",
            "userMetadata": {},
            # [D] of the single session's answer; in the list too here, so that a leak shows wherever it starts
            "connectUrl": f"wss://connect.browserbase.example/?signingKey=CONNECTSECRET-{session.id}",
            "seleniumRemoteUrl": f"https://selenium.browserbase.example/?key=SELENIUMSECRET-{session.id}",
            "signingKey": f"SIGNINGSECRET-{session.id}",
            **session.extra,
        }
        return {name: value for name, value in facts.items() if name not in session.omit}

    def _file_facts(self, session: FakeSession, file: FakeFile) -> dict[str, object]:
        return {
            "id": file.id,
            "sessionId": session.id,
            "filename": file.filename,  # [D] no suffix, and it may repeat
            "mimeType": file.kind,
            "size": size_of(file.data),
            "checksum": sha256_of(file.data) if file.checksum is None else file.checksum,
            "createdAt": stamp(file.created),
        }


def serve_empty() -> Reply:
    """Nothing synced yet: 200 with a zip of no members [C][T]."""
    return plain(200, b"PK\x05\x06" + bytes(18), kind="application/zip")


def files_of(session: FakeSession) -> list[FakeFile]:
    """The files of the per-file API: the session's own, else its archive's members, their names' suffix taken off."""
    if session.files is None:
        session.files = list(_members(session.id, session.content()))
    return session.files


def _members(session_id: str, content: Content) -> Iterator[FakeFile]:
    with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            suffix = re.search(r"-(\d{13})(?=\.[^.]*$|$)", info.filename)
            name = re.sub(r"-\d{13}(?=\.[^.]*$|$)", "", info.filename).rpartition("/")[2]
            created = int(suffix[1]) / 1000 if suffix else 1_760_000_000.0
            identity = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{session_id}/{info.filename}"))
            data: Content = _beside(content, archive, info) if isinstance(content, Path) else archive.read(info)
            yield FakeFile(identity, name, data, created, checksum=sha256_of(data))


def _beside(place: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Content:
    """A member's bytes; a large one is unpacked into a file next to its archive, once, so that nobody holds it."""
    if info.file_size <= 1 << 20:
        return archive.read(info)
    made = place.with_name(f"{place.name}.{info.header_offset}")
    if not made.exists():
        descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{made.name}-")
        with os.fdopen(descriptor, "wb") as target, archive.open(info) as source:
            shutil.copyfileobj(source, target, 1 << 20)
        os.replace(temporary, made)
    return made
