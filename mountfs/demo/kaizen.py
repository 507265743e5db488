"""Fake Kaizen (providers.md §1, §2): every call is a POST with a JSON body; the archive lies behind a signed URL."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Literal

from mountfs.demo.bodies import Content
from mountfs.demo.fake import Fake, FakeSession, Handler, as_json, stamp
from mountfs.demo.store import FakeObject, FakeStore
from mountfs.demo.wire import Ask, Reply


class FakeKaizen(Fake):
    """``envelope``: under which name ``/executions/list`` gives its array, None for a bare one [U].

    ``on_mint``: gives the object behind the n-th URL (from 0) of a session; None: the session's archive as it is when
    the URL is *used*, so that changing ``session.archive`` changes the object under URLs already given out.
    ``download_url``: given out instead of a signed one (a private address, another scheme …).
    """

    name = "kaizen"
    key = "kz-demo-KAIZENSECRET-5f2d"
    ended_well = "Completed"

    def __init__(self, store: FakeStore, *, wall: Callable[[], float] = time.time) -> None:
        super().__init__(wall=wall)
        self.store = store
        self.envelope: Literal["executions", "data", "items"] | None = "executions"
        self.on_mint: Callable[[FakeSession, int], Content] | None = None
        self.download_url: str | None = None

    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        return (
            ("POST", "/agents/session/getFileArchiveUrl", self._archive_url),
            ("POST", "/executions/list", self._executions),
        )

    def _archive_url(self, ask: Ask) -> Reply:
        asked = self._body(ask)
        if isinstance(asked, Reply):
            return asked
        session = self.sessions.get(str(asked.get("sessionId")))
        if session is None or session.gone or not session.archived:
            # [D] one answer for a missing session and a missing archive
            return self.error(404, "Session not found or no file archive exists for it")
        if session.forbidden:
            return self.error(403, "You do not have access to this session")  # [I]
        if not session.is_ready():
            return self.error(409, "File archive is still being created")  # [D]
        if session.answer is not None:
            made = session.answer.instead(ask)
            if made is not None:
                return made
        return as_json({"downloadUrl": self.download_url or self._mint(session)})  # [D] and nothing else

    def _mint(self, session: FakeSession) -> str:
        number, session.calls = session.calls, session.calls + 1
        if self.on_mint is not None:
            fixed = self.on_mint(session, number)
            return self.store.sign(f"archives/{session.id}/{number}.zip", FakeObject(lambda: fixed))
        if session.live is not None:
            fresh = session.live(number)
            return self.store.sign(f"archives/{session.id}/{number}.zip", FakeObject(lambda: fresh))
        return self.store.sign(
            f"archives/{session.id}.zip", FakeObject(session.content, lambda: session.etag, session.made)
        )

    def unprepared(self, session: FakeSession, ask: Ask) -> bool:  # noqa: ARG002
        return False  # a URL is minted at once; it is the store that makes what it leads to

    def _executions(self, ask: Ask) -> Reply:
        asked = self._body(ask)
        if isinstance(asked, Reply):
            return asked
        wanted = asked.get("status")
        shown = [self._execution(each) for each in list(self.sessions.values()) if each.listed]
        shown = [each for each in shown if wanted is None or each.get("status") == wanted]
        return as_json(shown if self.envelope is None else {self.envelope: shown})

    def _execution(self, session: FakeSession) -> dict[str, object]:
        times = {"startTime": session.started, "endTime": session.ended}
        facts: dict[str, object] = {
            "executionId": f"exec-{session.id}",
            "sessionId": session.id,  # [I] that this is the archive's key
            "status": session.status or self.ended_well,  # [D] InProgress Completed Enqueued Failed Paused
            "liveViewUrl": f"https://live.kaizen.example/{session.id}?token=LIVEVIEWSECRET-{session.id}",  # a secret
            **{name: None if value is None else stamp(value) for name, value in times.items()},
            **session.extra,
        }
        return {name: value for name, value in facts.items() if name not in session.omit}

    def _body(self, ask: Ask) -> dict[str, object] | Reply:
        """The JSON object asked with, or the refusal of one that is none or lacks the key."""
        if ask.headers.get("authorization") != f"Bearer {self.key}":  # [D] cookbook
            return self.error(401, "Invalid or missing API key")  # [I]
        try:
            asked = json.loads(ask.body or b"{}")
        except ValueError:
            return self.error(400, "Body is not JSON")
        return asked if isinstance(asked, dict) else self.error(400, "Body is not an object")
