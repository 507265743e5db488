"""``mountfs fetch``: whole sessions into the cache, several at once; through the daemon that serves them, or directly.

What came stays: a fetch that was stopped goes on where it was.

Concurrency: runs inside trio; a daemon is asked by a thread, which a cancelled fetch leaves behind (the end of the
process closes its socket, and that ends the work in the daemon).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from mountfs.cli.common import common_options, log_level, usable_config
from mountfs.cli.progress import Bar, Board, board, size
from mountfs.errors import MountfsError, NotFound

if TYPE_CHECKING:
    from mountfs.cli.daemons import Daemon
    from mountfs.config import Config
    from mountfs.daemon import Parts
    from mountfs.session import Sessions

AT_ONCE = 4
"""Sessions: each uses up to six connections, of the sixteen a provider has."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """How the sessions of one provider are fetched: which there are, and one of them, telling its bar."""

    sessions: Callable[[], Awaitable[list[str]]]
    fetch: Callable[[str, Bar], Awaitable[Row]]


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-j",
    "at_once",
    metavar="N",
    type=click.IntRange(1, 64),
    default=AT_ONCE,
    show_default=True,
    help="Sessions at once.",
)
@common_options
def command(paths: Sequence[str], at_once: int) -> int:
    """Bring sessions wholly into the cache.

    PATH is provider/session, provider (all that it shows), or a path inside a mount; a path deeper inside means its
    session.
    """
    import trio

    from mountfs.cli.logs import configure_logging

    configure_logging(log_level("error"), os.environ)
    with board() as shown:
        return trio.run(Fetcher(shown, at_once).run, list(paths))


class Fetcher:
    """One run of the verb. Ways are found once a provider."""

    def __init__(self, shown: Board, at_once: int) -> None:
        self._board = shown
        self._at_once = at_once
        self._ways: dict[tuple[str, str], Way] = {}
        self._config: Config | None = None
        self._built: Parts | None = None
        self._identities: dict[str, str] | None = None
        self._failed = False

    async def run(self, paths: list[str]) -> int:
        """Everything; answers the exit status."""
        import trio

        limiter = trio.CapacityLimiter(self._at_once)
        async with AsyncExitStack() as stack:
            jobs: dict[str, tuple[Way, str]] = {}
            for path in paths:
                try:
                    jobs |= await self._jobs(path, stack)
                except MountfsError as error:
                    self._tell(path, error)
            async with trio.open_nursery() as nursery:
                for label, (way, session_id) in jobs.items():
                    nursery.start_soon(self._one, limiter, label, way, session_id)
        return 1 if self._failed else 0

    async def _jobs(self, path: str, stack: AsyncExitStack) -> dict[str, tuple[Way, str]]:
        from mountfs.cli.daemons import split

        mountpoint, inner = split(path)
        provider, _, rest = inner.partition("/")
        if not provider:
            raise NotFound("names no session", advice="write provider/session, or provider for all of its sessions")
        way = self._ways.get((mountpoint, provider))
        if way is None:
            way = self._ways[mountpoint, provider] = await self._way(mountpoint, provider, stack)
        session_id = rest.partition("/")[0]
        ids = [session_id] if session_id else await way.sessions()
        return {f"{provider}/{each}": (way, each) for each in ids}

    async def _way(self, mountpoint: str, provider: str, stack: AsyncExitStack) -> Way:
        from mountfs.cli.daemons import daemon_at

        if mountpoint:
            return _through(daemon_at(mountpoint), provider)
        daemon = self._serving(provider)
        if daemon is not None:
            return _through(daemon, provider)
        if self._built is None:
            from mountfs import daemon as built_in

            self._built = await stack.enter_async_context(built_in.parts(self._configured()))
        for sessions in self._built.filesystem.providers:
            if sessions.name == provider:
                return _directly(sessions)
        names = ", ".join(sessions.name for sessions in self._built.filesystem.providers)
        raise NotFound(f"no provider {provider!r}", advice=f"configured: {names}")

    def _configured(self) -> Config:
        if self._config is None:
            self._config = usable_config()
        return self._config

    def _serving(self, provider: str) -> Daemon | None:
        """The daemon that shows the very sessions this configuration's provider has."""
        from mountfs.cli.daemons import identities, running

        daemons = running()
        if not daemons:
            return None
        config = self._configured()
        if self._identities is None:
            self._identities = identities(config, daemons)
        for daemon in daemons:
            try:
                told = daemon.answer("status")
            except MountfsError:
                continue
            if os.path.realpath(told["cache"]["dir"]) != os.path.realpath(config.cache.dir):
                continue
            if any(
                row["identity"] == self._identities.get(provider) and not row["offline"] for row in told["providers"]
            ):
                return daemon
        return None

    async def _one(self, limiter: Any, label: str, way: Way, session_id: str) -> None:
        async with limiter:
            bar = self._board.bar(label)
            try:
                row = await way.fetch(session_id, bar)
            except MountfsError as error:
                self._failed = True
                bar.finish(str(error), failed=True)
            else:
                bar.update(row["bytes"], row["total"])
                bar.finish(f"{size(row['bytes'])} in the cache")

    def _tell(self, path: str, error: MountfsError) -> None:
        self._failed = True
        self._board.say(f"mountfs: {path}: {error}")


def _through(daemon: Daemon, provider: str) -> Way:
    import trio

    async def sessions() -> list[str]:
        told = await trio.to_thread.run_sync(daemon.answer, "sessions", {"path": provider}, abandon_on_cancel=True)
        ids: list[str] = told["sessions"]
        return ids

    def follow(session_id: str, bar: Bar) -> Row:
        row: Row = {}
        for row in daemon.ask("fetch", {"path": f"{provider}/{session_id}"}):
            bar.update(row["bytes"], row["total"])
        return row

    async def fetch(session_id: str, bar: Bar) -> Row:
        return await trio.to_thread.run_sync(follow, session_id, bar, abandon_on_cancel=True)

    return Way(sessions, fetch)


def _directly(shown: Sessions) -> Way:
    from mountfs.control import fetch_session

    async def sessions() -> list[str]:
        return [session.id for session in await shown.names()]

    async def tell(bar: Bar, news: Row) -> None:
        bar.update(news["bytes"], news["total"])

    async def fetch(session_id: str, bar: Bar) -> Row:
        return await fetch_session(await shown.lookup(session_id), partial(tell, bar))

    return Way(sessions, fetch)
