"""Fake Dari (providers.md §1, §3): the answer to one GET is the zip of the session's current files."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable
from typing import Literal

from mountfs.demo.bodies import Content, RangeRules, serve
from mountfs.demo.fake import Fake, FakeSession, Handler, as_json, stamp
from mountfs.demo.wire import Ask, Reply


class FakeDari(Fake):
    """``listing``: "sessions" (``GET /v1/sessions`` [I]), "bare" (the same without an envelope), "agents" (only the
    fan-out over agents [C]), None (no list route at all). ``removed``: 404 on everything, as since 2026-08 [C].
    ``chunked``: archives without a Content-Length. ``detail_list``: error texts as a list of objects [C]."""

    name = "dari"
    key = "dari-demo-DARISECRET-81c7"
    ended_well = "completed"

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        super().__init__(wall=wall)
        self.listing: Literal["sessions", "bare", "agents"] | None = "sessions"
        self.removed = False
        self.chunked = True
        self.detail_list = False

    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        return (
            ("GET", "/v1/sessions", self._list),
            ("GET", "/v1/agents", self._agents),
            ("GET", "/v1/agents/{agent}/sessions", self._agent),
            ("GET", "/v1/sessions/{id}", self._one),
            ("GET", "/v1/sessions/{id}/workspace.zip", self._workspace),
        )

    def unprepared(self, session: FakeSession, ask: Ask) -> bool:
        return not session.made() and ask.path.endswith("/workspace.zip")

    def error_body(self, status: int, text: str) -> dict[str, object]:
        # [C] `detail` is not always a string
        return {"detail": [{"loc": ["request"], "msg": text, "type": f"error.{status}"}] if self.detail_list else text}

    def rules(self) -> RangeRules:
        return RangeRules(
            ranges=self.ranges, etags=self.etags, last_modified=self.etags is not None, chunked=self.chunked
        )

    def _list(self, ask: Ask) -> Reply:
        if refusal := self._refusal(ask):
            return refusal
        if self.listing not in {"sessions", "bare"}:
            return self.error(404, "Not Found")
        shown = self._shown()
        return as_json({"sessions": shown} if self.listing == "sessions" else shown)

    def _agents(self, ask: Ask) -> Reply:
        if refusal := self._refusal(ask):
            return refusal
        if self.listing is None:
            return self.error(404, "Not Found")
        agents = sorted({each.agent for each in list(self.sessions.values())})
        return as_json({"agents": [{"id": each, "name": each} for each in agents]})  # [C]

    def _agent(self, ask: Ask) -> Reply:
        if refusal := self._refusal(ask):
            return refusal
        if self.listing is None:
            return self.error(404, "Not Found")
        return as_json({"sessions": self._shown(ask.params["agent"])})  # [C]

    def _one(self, ask: Ask) -> Reply:
        session = self._session(ask)
        return session if isinstance(session, Reply) else as_json(self._facts(session))  # [D]

    def _workspace(self, ask: Ask) -> Reply:
        session = self._session(ask)
        if isinstance(session, Reply):
            return session
        if not session.is_ready():
            # [D] 409, with the advice that belongs into our log line
            return self.error(409, "No workspace yet: run the session first, then retry after the agent started work")
        if session.answer is not None and (made := session.answer.instead(ask)) is not None:
            return made
        content = session.next_content()
        if paths := ask.all("path"):
            picked = pick(content, paths)
            if isinstance(picked, str):
                return self.error(400, picked)  # [D] invalid, missing, or not a directory
            content = picked
        return serve(content, ask, self.rules(), kind="application/zip", etag=session.etag)  # [D] 200 application/zip

    def _session(self, ask: Ask) -> FakeSession | Reply:
        if refusal := self._refusal(ask):
            return refusal
        session = self.sessions.get(ask.params["id"])
        if session is None or session.gone or not session.archived:
            return self.error(404, "Session not found")  # [D]
        if session.forbidden:
            return self.error(403, "Session belongs to another organization")  # [D]
        return session

    def _refusal(self, ask: Ask) -> Reply | None:
        if self.removed:
            return self.error(404, "Not Found")  # [C] hosted sessions were removed in 2026-08
        if ask.headers.get("authorization") != f"Bearer {self.key}":
            return self.error(401, "Invalid API key")  # [D]
        return None

    def _shown(self, agent: str | None = None) -> list[dict[str, object]]:
        sessions = [each for each in list(self.sessions.values()) if each.listed and agent in {None, each.agent}]
        return [self._facts(each) for each in sessions]

    def _facts(self, session: FakeSession) -> dict[str, object]:
        facts = {
            "id": session.id,
            "agent_id": session.agent,
            "status": session.status or self.ended_well,  # [D] active idle | completed failed expired
            "created_at": None if session.created is None else stamp(session.created),  # [D] the only time
            **session.extra,
        }
        return {name: value for name, value in facts.items() if name not in session.omit}


def pick(content: Content, paths: list[str]) -> bytes | str:
    """A zip of the members under these directories of the workspace, or why that is refused [D]. ``reports`` and
    ``/workspace/reports`` are the same directory."""
    source = zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content)
    made = io.BytesIO()
    with source, zipfile.ZipFile(made, "w") as target:
        names = source.namelist()
        root = "workspace/" if names and all(name.startswith("workspace/") for name in names) else ""
        prefixes = []
        for path in paths:
            relative = path.removeprefix("/workspace").strip("/")
            if not relative or {"..", "."} & set(relative.split("/")):
                return f"Invalid path: {path}"
            if f"{root}{relative}" in names:
                return f"Path is not a directory: {path}"
            prefixes.append(f"{root}{relative}/")
            if not any(name.startswith(prefixes[-1]) for name in names):
                return f"Path does not exist: {path}"
        for info in source.infolist():
            if info.filename.startswith(tuple(prefixes)):
                target.writestr(info, source.read(info))
    return made.getvalue()
