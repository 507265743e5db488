"""What can be asked on the control socket: each verb on the same parts the mount uses, none of them through the kernel.

A verb takes JSON values and answers one; ``news`` tells the client how it goes on. Paths are ``provider`` or
``provider/session[/…]``. Nothing here shows a key, a URL's path or a query: the parts it asks do not either.

Concurrency: verbs run as tasks beside the handlers; they read state in one step and change it through the parts' own
methods.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mountfs.control.fetching import fetch_session
from mountfs.control.protocol import News, Verb
from mountfs.control.report import Row, member_row, provider_row, session_row, transfer_rows
from mountfs.control.tasks import task_tree
from mountfs.errors import MountfsError, NotFound
from mountfs.filesystem import Filesystem
from mountfs.session import Session, Sessions, mark_stale
from mountfs.store import Store
from mountfs.workers import Workers
from mountfs.zipformat import printable

Args = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mount:
    """What the daemon says of itself. ``knobs``: the kernel's settings, raised or not. ``config``: where its
    configuration was read from."""

    mountpoint: str
    version: str
    started: float
    knobs: Mapping[str, str]
    config: str | None = None


class Verbs:
    """The table of verbs: ``Verbs(…).table()``."""

    def __init__(
        self,
        filesystem: Filesystem,
        store: Store,
        workers: Workers,
        mount: Mount,
        *,
        wall: Callable[[], float],
        memory: Callable[[], tuple[int, int]],
    ) -> None:
        self._fs = filesystem
        self._store = store
        self._workers = workers
        self._mount = mount
        self._wall = wall
        self._memory = memory

    def table(self) -> dict[str, Verb]:
        return {
            "ping": self.ping,
            "status": self.status,
            "sessions": self.sessions,
            "refresh": self.refresh,
            "fetch": self.fetch,
            "why": self.why,
            "tasks": self.tasks,
            "log_level": self.log_level,
        }

    async def ping(self, args: Args, news: News) -> Any:  # noqa: ARG002
        """Whether the daemon's loop turns."""
        return {"pid": os.getpid()}

    # -- status --------------------------------------------------------------------------------------------------

    async def status(self, args: Args, news: News) -> Any:  # noqa: ARG002
        """Everything there is to see, as one value."""
        used = await self._workers.disk(lambda: self._store.used)
        memory, most = self._memory()
        return {
            "mountpoint": self._mount.mountpoint,
            "version": self._mount.version,
            "pid": os.getpid(),
            "config": self._mount.config,
            "uptime": self._wall() - self._mount.started,
            "log_level": logging.getLevelName(logging.getLogger().level).lower(),
            "kernel": dict(self._mount.knobs),
            "providers": [provider_row(sessions) for sessions in self._fs.providers],
            "sessions": [session_row(s) for p in self._fs.providers for s in p.seen() if s.touched],
            "transfers": [row for p in self._fs.providers for s in p.seen() for row in transfer_rows(s)],
            "cache": {"used": used, "max_size": self._store.max_size, "dir": self._store.directory},
            "memory": {"used": memory, "max": most},
            "filesystem": self._fs.statistics(),
            "programs": self._fs.usage.programs(),
        }

    async def sessions(self, args: Args, news: News) -> Any:  # noqa: ARG002
        """The ids of a provider's sessions, as ``ls`` shows them."""
        sessions, _ = self._split(str(args.get("path") or ""))
        return {"sessions": [session.id for session in await sessions.names()]}

    # -- refresh -------------------------------------------------------------------------------------------------

    async def refresh(self, args: Args, news: News) -> Any:
        """Forgets what is believed of sessions (or of all of a provider's) and looks again now. Answers a row a path:
        its ``label`` and, where the service could not be asked, the ``error`` (the old contents are shown)."""
        rows = []
        for path in args.get("paths") or []:
            sessions, session_id = self._split(str(path))
            rows.append(await (self._renew(sessions, session_id) if session_id else self._forget_all(sessions)))
            await news({"refreshed": rows[-1]["label"]})
        return {"refreshed": rows, "cache": self._store.directory}

    async def _forget_all(self, sessions: Sessions) -> Row:
        sessions.forget()
        self._fs.nodes.forget_names(sessions)
        await self._workers.disk(mark_stale, sessions.around)
        return {"label": sessions.name, "error": ""}

    async def _renew(self, sessions: Sessions, session_id: str) -> Row:
        sessions.forget_answer(session_id)
        self._fs.nodes.forget_name(sessions, session_id)
        session = await sessions.lookup(session_id)
        before = session.current
        error: MountfsError | None = None
        try:
            await session.renew()
            error = session.refresh_error
        except MountfsError as exc:
            error = exc
        if error is not None:
            await self._workers.disk(mark_stale, sessions.around, session_id)
        changed = before is not None and session.current is not before
        return {"label": session.label, "changed": changed, "error": str(error or "")}

    # -- fetch ---------------------------------------------------------------------------------------------------

    async def fetch(self, args: Args, news: News) -> Any:
        """Brings one session wholly into the cache; news: bytes here and in all."""
        sessions, session_id = self._split(str(args.get("path") or ""))
        if session_id is None:
            raise NotFound(f"{sessions.name}: name a session: {sessions.name}/SESSION")
        return await fetch_session(await sessions.lookup(session_id), news)

    # -- why -----------------------------------------------------------------------------------------------------

    async def why(self, args: Args, news: News) -> Any:  # noqa: ARG002
        """What is known of a path and of its last failures."""
        path = str(args.get("path") or "").strip("/")
        sessions, session_id = self._split(path)
        answer: Row = {"path": path, "provider": provider_row(sessions)}
        if session_id is not None:
            session = sessions.find(session_id)
            answer["known"] = sessions.known(session_id)
            answer["answer"] = sessions.believed(session_id)
            if session is not None:
                answer |= self._session(session, path.split("/", 2)[2] if path.count("/") > 1 else "")
        answer["events"] = self._fs.waiting.events(printable(os.fsencode(path)))
        return answer

    @staticmethod
    def _session(session: Session, inner: str) -> Row:
        return {
            "session": session_row(session),
            "last_opening": session.last_opening,
            "transfers": transfer_rows(session),
            "member": member_row(session, inner),
        }

    # -- the daemon itself ---------------------------------------------------------------------------------------

    async def tasks(self, args: Args, news: News) -> Any:  # noqa: ARG002
        """What it is doing right now."""
        return {"waiting": self._fs.waiting.pending(), "tasks": task_tree()}

    async def log_level(self, args: Args, news: News) -> Any:  # noqa: ARG002
        """Changes the log level of the running daemon."""
        level = str(args.get("level") or "").upper()
        if level not in logging.getLevelNamesMapping():
            raise NotFound(f"no such log level: {level.lower()}", advice="error, warning, info or debug")
        logging.getLogger().setLevel(level)
        return {"level": level.lower()}

    def _split(self, path: str) -> tuple[Sessions, str | None]:
        provider, _, rest = path.strip("/").partition("/")
        for sessions in self._fs.providers:
            if sessions.name == provider:
                return sessions, rest.partition("/")[0] or None
        names = ", ".join(sessions.name for sessions in self._fs.providers)
        raise NotFound(f"no provider {provider!r}", advice=f"configured: {names}")
