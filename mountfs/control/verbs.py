"""What can be asked on the control socket: each verb on the same parts the mount uses, none of them through the kernel.

A verb takes JSON values and answers one; ``news`` tells the client how it goes on. Paths are ``provider`` or
``provider/session[/…]``. Nothing here shows a key, a URL's path or a query: the parts it asks do not either.

Concurrency: verbs run as tasks beside the handlers; they read state in one step and change it through the parts' own
methods.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from mountfs import errnos
from mountfs.archive import Archive
from mountfs.control.protocol import News, Verb
from mountfs.errors import MountfsError, NotFound
from mountfs.filesystem import Filesystem
from mountfs.model import Span
from mountfs.session import Session, Sessions, Snapshot
from mountfs.store import Store
from mountfs.workers import Workers

Args = Mapping[str, Any]

FETCH_WINDOW = 8 << 20
FETCH_PARALLEL = 6
NEWS_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Mount:
    """What the daemon says of itself. ``knobs``: the kernel's settings, raised or not."""

    mountpoint: str
    version: str
    started: float
    knobs: Mapping[str, str]


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
            "refresh": self.refresh,
            "fetch": self.fetch,
            "why": self.why,
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
            "uptime": self._wall() - self._mount.started,
            "kernel": dict(self._mount.knobs),
            "providers": [self._provider(sessions) for sessions in self._fs.providers],
            "sessions": [self._session(s) for p in self._fs.providers for s in p.seen() if s.touched],
            "transfers": [row for p in self._fs.providers for s in p.seen() for row in self._transfers(s)],
            "cache": {"used": used, "max_size": self._store.max_size, "dir": self._store.directory},
            "memory": {"used": memory, "max": most},
            "filesystem": self._fs.statistics(),
        }

    def _provider(self, sessions: Sessions) -> dict[str, Any]:
        figures = sessions.around.provider.statistics()
        error = sessions.last_error
        return {
            "name": sessions.name,
            "type": sessions.around.provider.type,
            "offline": sessions.around.offline,
            "listing": sessions.listing.state.value,
            "listing_stale": sessions.listing.error is not None,
            "listed": sessions.listed_count,
            "requests": {str(status): count for status, count in figures.requests.items()},
            "retries": figures.retries,
            "bytes": figures.bytes_received,
            "latency": figures.latency,
            "transfers": figures.transfers,
            "waiting": figures.waiting,
            "breaker_open": figures.breaker_open,
            "last_error": figures.last_error or (str(error) if error else ""),
            "last_error_at": figures.last_error_at,
        }

    def _session(self, session: Session) -> dict[str, Any]:
        now = trio.current_time()
        snapshot = session.current
        left = session.belief.left(now)
        row: dict[str, Any] = {
            "provider": session.around.provider.name,
            "id": session.id,
            "state": session.belief.state.value,
            "status": session.info.status if session.info is not None else "",
            "believed_for": left if left != float("inf") else None,
            "error": str(session.belief.error) if session.belief.error and session.belief.holds(now) else "",
        }
        if snapshot is not None:
            row |= self._snapshot(snapshot)
        return row

    @staticmethod
    def _snapshot(snapshot: Snapshot) -> dict[str, Any]:
        archive = getattr(snapshot.content, "archive", None)
        if archive is None:
            way, here = "file by file", None
        else:
            way = "whole download" if snapshot.whole else "ranges"
            here = archive.kept.present_bytes
        return {
            "way": way,
            "size": snapshot.size,
            "here": here,
            "files": snapshot.namespace.files,
            "directories": snapshot.namespace.directories,
            "remarks": dict(snapshot.namespace.remarks.counts),
            "fetched": snapshot.fetched,
            "damaged": len(snapshot.content.dead),
        }

    @staticmethod
    def _transfers(session: Session) -> list[dict[str, Any]]:
        rows = []
        if (progress := session.progress) is not None:
            rows.append({"session": session.label, "what": "archive", "bytes": progress.bytes, "total": progress.total})
        archive = getattr(session.current.content, "archive", None) if session.current is not None else None
        rows += [
            {
                "session": session.label,
                "what": f"bytes {transfer.start}-{transfer.stop}",
                "bytes": transfer.at - transfer.start,
                "total": transfer.stop - transfer.start,
            }
            for transfer in (archive.transfers if archive is not None else ())
        ]
        return rows

    # -- refresh -------------------------------------------------------------------------------------------------

    async def refresh(self, args: Args, news: News) -> Any:
        """Forgets what is believed of sessions (or of all of a provider's) and looks again now."""
        refreshed = []
        for path in args.get("paths") or []:
            sessions, session_id = self._split(str(path))
            if session_id is None:
                sessions.forget()
                self._fs.nodes.forget_names(sessions)
                refreshed.append(sessions.name)
                continue
            sessions.forget_answer(session_id)
            self._fs.nodes.forget_name(sessions, session_id)
            session = await sessions.lookup(session_id)
            await session.renew()
            refreshed.append(session.label)
            await news({"refreshed": session.label})
        return {"refreshed": refreshed}

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
        answer: dict[str, Any] = {"path": path, "provider": self._provider(sessions)}
        if session_id is not None:
            session = sessions.find(session_id)
            if session is not None:
                answer["session"] = self._session(session)
                answer["last_opening"] = session.last_opening
                answer["member"] = self._member(session, path.split("/", 2)[2] if path.count("/") > 1 else "")
        answer["events"] = self._fs.waiting.events(path)
        return answer

    @staticmethod
    def _member(session: Session, inner: str) -> dict[str, Any] | None:
        snapshot = session.current
        node = snapshot.namespace.resolve(os.fsencode(inner)) if snapshot is not None else None
        if snapshot is None or node is None or node < 0:
            return None
        member = snapshot.members[node]
        dead = snapshot.content.dead.get(node)
        return {
            "size": member.size,
            "compressed_size": member.compressed_size,
            "method": member.method,
            "crc32": f"{member.crc:08x}",
            "encrypted": member.encrypted,
            "fault": member.fault or str(dead or ""),
            "errno": errnos.name_of(dead) if dead is not None else "",
        }

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


async def fetch_session(session: Session, news: News) -> Any:
    """All of a session into the cache. ``news``: its bytes here and in all, a few times a second. Also used without a
    daemon. Raises what entering or a transfer raises."""

    async def tell(done: int, total: int | None) -> None:
        await news({"session": session.label, "bytes": done, "total": total})

    async def tell_of_opening() -> None:
        while True:
            await trio.sleep(NEWS_EVERY)
            if (progress := session.progress) is not None:
                await tell(progress.bytes, progress.total)

    snapshot: Snapshot | None = None
    error: MountfsError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_of_opening)
        try:
            snapshot = await session.enter()
        except MountfsError as exc:
            error = exc
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error
    assert snapshot is not None
    snapshot.handles += 1
    try:
        archive = getattr(snapshot.content, "archive", None)
        if archive is not None:
            await _fetch_archive(archive, tell)
        else:
            await _fetch_files(snapshot, tell)
    finally:
        snapshot.release()
    return {"session": session.label, "bytes": snapshot.size, "total": snapshot.size}


async def _fetch_archive(archive: Archive, tell: Callable[[int, int], Awaitable[None]]) -> None:
    with archive.interested():
        for start in range(0, archive.total, FETCH_WINDOW):
            need = Span(start, min(start + FETCH_WINDOW, archive.total))
            ahead = min(FETCH_WINDOW, archive.total - need.stop)
            await archive.ensure(need, ahead=ahead, parallel=FETCH_PARALLEL)
            await tell(archive.kept.present_bytes, archive.total)


async def _fetch_files(snapshot: Snapshot, tell: Callable[[int, int], Awaitable[None]]) -> None:
    done = 0
    for index in range(len(snapshot.members)):
        size = snapshot.members[index].size
        reader = await snapshot.content.open(index, listed=False)
        try:
            if size:
                await reader.read(size - 1, 1)
        finally:
            reader.release()
        done += size
        await tell(done, snapshot.size)
