"""All of a session into the cache: what ``mountfs fetch`` does, in the daemon or without one.

Concurrency: one call a session; several run side by side. It may be cancelled at any time: what came stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from mountfs.archive import Archive
from mountfs.control.protocol import News
from mountfs.control.report import Row
from mountfs.errors import MountfsError
from mountfs.model import Span
from mountfs.session import Session, Snapshot

FETCH_WINDOW = 8 << 20
FETCH_PARALLEL = 6
NEWS_EVERY = 0.2

Tell = Callable[[int, int | None], Awaitable[None]]


async def fetch_session(session: Session, news: News) -> Row:
    """All of a session into the cache. ``news``: its bytes here and in all, a few times a second. Raises what entering
    or a transfer raises."""

    async def tell(done: int, total: int | None) -> None:
        await news({"session": session.label, "bytes": done, "total": total})

    snapshot = await _entered(session, tell)
    try:
        archive = getattr(snapshot.content, "archive", None)
        if archive is not None:
            await _fetch_archive(archive, tell)
        else:
            await _fetch_files(snapshot, tell)
    finally:
        snapshot.release()
    return {"session": session.label, "bytes": snapshot.size, "total": snapshot.size}


async def _entered(session: Session, tell: Tell) -> Snapshot:
    """The session's snapshot; one of its handles is ours."""

    async def tell_of_opening() -> None:
        while True:
            await trio.sleep(NEWS_EVERY)
            if (progress := session.progress) is not None:
                await tell(progress.bytes, progress.total)

    error: MountfsError | None = None
    snapshot: Snapshot | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_of_opening)
        try:
            snapshot = await session.enter()
            snapshot.handles += 1  # at once: leaving the nursery waits for the other task
        except MountfsError as exc:  # kept until the nursery is closed, which would wrap it
            error = exc
        nursery.cancel_scope.cancel()
    if snapshot is None:
        raise error or MountfsError(f"{session.label}: the work was stopped", advice="try again")
    return snapshot


async def _fetch_archive(archive: Archive, tell: Tell) -> None:
    with archive.interested():
        for start in range(0, archive.total, FETCH_WINDOW):
            need = Span(start, min(start + FETCH_WINDOW, archive.total))
            ahead = min(FETCH_WINDOW, archive.total - need.stop)
            await archive.ensure(need, ahead=ahead, parallel=FETCH_PARALLEL)
            await tell(archive.kept.present_bytes, archive.total)


async def _fetch_files(snapshot: Snapshot, tell: Tell) -> None:
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
