"""The life of sessions and their cache against a model (issue 4): any sequence of changes at the service, reads,
listings, evictions, restarts and crashes.

What must hold: complete or error; what one handle reads is one snapshot; nothing stale beyond its bound; disk use
within its own."""

from __future__ import annotations

import math
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import trio
from drives import Drive, MovableClock, OpenHandle, World, zip_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mountfs.daemon import tree
from mountfs.demo import steps
from mountfs.demo.server import Fakes

BOUND = 2 << 20
LIVE = 30.0
NAMES = ("a.txt", "d/b.txt", "c.bin", "big.bin")
SESSIONS = st.sampled_from(["dari/s_0", "dari/s_1", "dari/s_2", "kaizen/s_0", "kaizen/s_1"])
Files = dict[str, bytes]
CURRENT = -math.inf
"""Instead of the time at which a version was replaced."""


def make(version: int, names: list[str]) -> Files:
    """A session's files; each holds its version, so that a mixture shows. ``a.txt`` never changes."""
    choice = random.Random(version)
    made = {name: b"%d:%s " % (version, name.encode()) * 400 for name in names}
    if "big.bin" in made:
        made["big.bin"] = choice.randbytes(300_000)
    return made | {"a.txt": b"the same"}


class Fact:
    """What the service has of one session: every version so far, and when it was replaced (on the drive's clock)."""

    def __init__(self, files: Files, *, live: bool) -> None:
        self.versions: list[tuple[Files, float]] = [(files, CURRENT)]
        self.live = live
        self.gone = False
        self.frozen: Files | None = None
        """What was shown of it after its end: that never changes."""

    @property
    def now(self) -> Files:
        return self.versions[-1][0]


class Loop:
    """A trio run in a thread, with a tree in it that can be closed or dropped and made again."""

    def __init__(self, world: World, clock: MovableClock) -> None:
        self.world = world
        self.clock = clock
        self.drive: Drive
        self._send, self._receive = trio.open_memory_channel[
            tuple[Callable[[], Awaitable[Any]], list[Any], threading.Event]
        ](100)
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(20)

    def _run(self) -> None:
        trio.run(self._main, clock=self.clock)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with tree(self.world.config()) as filesystem:
            self.drive = Drive(filesystem, self.clock, self.world.fakes, trio.CancelScope())
            self._ready.set()
            async for work, answer, done in self._receive:
                try:
                    with trio.fail_after(30):
                        answer.append(await work())
                except BaseException as exc:  # noqa: BLE001 - handed to the test's thread
                    answer.append(exc)
                done.set()

    def do(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Runs it there; its outcome, or raises what it raised."""
        answer: list[Any] = []
        done = threading.Event()
        assert self._token is not None
        self._token.run_sync_soon(self._send.send_nowait, (work, answer, done))
        assert done.wait(60)
        if isinstance(answer[0], BaseException):
            raise answer[0]
        return answer[0]

    def end(self) -> None:
        assert self._token is not None
        self._token.run_sync_soon(self._send.close)
        self._thread.join(30)
        assert not self._thread.is_alive()


class LifeMachine(RuleBasedStateMachine):
    """The model: every version of every session, with the time until which it may be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="mountfs-life-"))
        self.stack = ExitStack()
        self.fakes = self.stack.enter_context(Fakes())
        self.world = World(self.fakes, self.place)
        self.world.set("cache", max_size=f"{BOUND >> 20}MiB", min_free="0B", memory="1MiB")
        self.world.set("network", deadline="5s", retries=0, lookup_timeout="5s")
        self.clock = MovableClock()
        self.facts: dict[str, Fact] = {}
        self.down = False
        self.handles: list[tuple[OpenHandle, Any, str, str, bytes]] = []
        self.counter = 0

    @initialize(live=st.sets(SESSIONS))
    def begin(self, live: set[str]) -> None:
        """The service's sessions, and the first daemon."""
        for path in ("dari/s_0", "dari/s_1", "dari/s_2", "kaizen/s_0", "kaizen/s_1"):
            provider, id = path.split("/")  # noqa: A001
            files = make(self._next(), list(NAMES))
            session = self.world.fake(provider).add(id, zip_of(files))
            is_live = path in live and provider == "dari"
            if is_live:
                session.status, session.ended = "active", None
            self.facts[path] = Fact(files, live=is_live)
            self.world.sections.setdefault(f"providers.{provider}", {}).setdefault("sessions", []).append(id)  # type: ignore[attr-defined]
        self.loop = Loop(self.world, self.clock)

    def _next(self) -> int:
        self.counter += 1
        return self.counter

    def _session(self, path: str) -> Any:
        provider, id = path.split("/")  # noqa: A001
        return self.world.fake(provider).sessions[id]

    @property
    def drive(self) -> Drive:
        return self.loop.drive

    # -- the service -------------------------------------------------------------------------------------------------

    @rule(path=SESSIONS, names=st.sets(st.sampled_from(NAMES[1:])))
    def replace(self, path: str, names: set[str]) -> None:
        """A live session's archive is another one now."""
        fact = self.facts[path]
        if fact.live:
            files = make(self._next(), sorted(names))
            self._session(path).archive = zip_of(files)
            old, _ = fact.versions[-1]
            fact.versions[-1] = (old, self.clock.current_time())
            fact.versions.append((files, CURRENT))

    @rule(path=SESSIONS)
    def end_session(self, path: str) -> None:
        """A live session ends; its archive stays."""
        fact = self.facts[path]
        if fact.live:
            fact.live = False
            session = self._session(path)
            session.status, session.ended = "completed", 1_760_000_100.0

    @rule(path=SESSIONS)
    def toggle_gone(self, path: str) -> None:
        """It becomes absent, or is there again."""
        fact = self.facts[path]
        fact.gone = not fact.gone
        self._session(path).gone = fact.gone
        self._well_again()

    @rule()
    def toggle_down(self) -> None:
        """The services fail, or work again."""
        self.down = not self.down
        for fake in self.fakes.all:
            fake.script.clear()
            if self.down:
                fake.inject(steps.Answer(503, "down"), times=None)
        self._well_again()

    # -- time and the daemon -----------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 3.0, 31.0, 61.0, 700.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.clock.added += seconds

    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        """The daemon ends, and another one begins; after a crash a spool and half an archive lie about."""
        self._close_handles()
        self.loop.end()
        if crash:
            left = self.place / "cache" / "v1" / "tmp" / "dead"
            left.mkdir(parents=True, exist_ok=True)
            (left / "half").write_bytes(b"x" * 10_000)
        self.loop = Loop(self.world, self.clock)

    @rule()
    def evict(self) -> None:
        """Everything that is not in use goes."""
        sessions = self.drive.fs.providers

        async def clear() -> None:
            for each in sessions:
                each.rest(0.0)
            shop = sessions[0].around.shop
            await shop.workers.disk(shop.store.clear)

        self.loop.do(clear)

    @rule()
    def delete_cache(self) -> None:
        """rm -rf of the cache."""
        shutil.rmtree(self.place / "cache", ignore_errors=True)

    # -- programs ----------------------------------------------------------------------------------------------------

    @rule(path=SESSIONS)
    def copy(self, path: str) -> None:
        """cp -r of a session: one version of it, no older than it may be, or an error."""

        async def read() -> tuple[str, Files]:
            found: Files = {}

            async def everything() -> None:
                async with self.drive.directory(path):  # as cp does: it keeps the top open
                    found.update(await self.drive.tree(path))

            return await self.drive.error(everything()), found

        began = self.clock.current_time()
        error, found = self.loop.do(read)
        fact = self.facts[path]
        if error:
            # A handle of another program may hold a version the service does not have any more.
            assert self.down or fact.gone or error in {"ESTALE", "ENOENT", "EREMOTEIO", "EBUSY"}, error
            return
        found = {name: data for name, data in found.items() if not name.endswith("/")}
        matching = [until for files, until in fact.versions if files == found]
        assert matching, f"{path}: a mixture of versions, or bytes nobody has: {sorted(found)}"
        if fact.frozen is not None:
            assert found == fact.frozen
        if matching[-1] == CURRENT:
            fact.frozen = None if fact.live else found
        elif not (self.down or fact.gone):
            assert began - matching[-1] <= LIVE + 3.0, "stale beyond its bound"

    @rule(path=SESSIONS, name=st.sampled_from(NAMES))
    def open_file(self, path: str, name: str) -> None:
        """A program opens a file and keeps it open; what it reads first says which version it has."""
        if len(self.handles) >= 4:
            return
        drive = self.drive

        async def open_it() -> tuple[str, Any]:
            context = drive.file(f"{path}/{name}")
            opened: list[OpenHandle] = []

            async def enter() -> None:
                opened.append(await context.__aenter__())

            error = await drive.error(enter())
            return error, (opened[0], context, await opened[0].read(0, 100)) if opened else None

        error, made = self.loop.do(open_it)
        if not error:
            handle, context, begun = made
            versions = [files[name] for files, _ in self.facts[path].versions if name in files]
            mine = [data for data in versions if len(data) == handle.size and data.startswith(begun)]
            assert mine, "no version of this file begins so"
            self.handles.append((handle, context, path, name, mine[-1]))

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, 3))
    def read_on(self, number: int) -> None:
        """It reads on: its own version to the end, whatever became of the session; or an error."""
        handle, _, _, _, data = self.handles[number % len(self.handles)]

        async def read() -> tuple[str, bytes]:
            found: list[bytes] = []

            async def everything() -> None:
                found.append(await handle.read_all())

            return await self.drive.error(everything()), found[0] if found else b""

        error, found = self.loop.do(read)
        assert error or found == data

    @precondition(lambda self: self.handles)
    @rule(number=st.integers(0, 3))
    def close_file(self, number: int) -> None:
        """It closes it."""
        self._close(number % len(self.handles))

    @rule()
    def list_provider(self) -> None:
        """ls of a provider: every session the service has and lists, or those known."""

        async def ls() -> tuple[str, list[str]]:
            found: list[str] = []

            async def names() -> None:
                found.extend(await self.drive.ls("dari"))

            return await self.drive.error(names()), found

        error, found = self.loop.do(ls)
        assert error == ""
        assert set(found) == {"s_0", "s_1", "s_2"}, "pinned sessions are always shown"

    # -- inside ------------------------------------------------------------------------------------------------------

    def _well_again(self) -> None:
        """A look that failed is believed as one that succeeded: the bound of what is stale counts from now."""
        now = self.clock.current_time()
        for fact in self.facts.values():
            fact.versions = [(files, until if until == CURRENT else max(until, now)) for files, until in fact.versions]

    def _close(self, number: int) -> None:
        _, context, *_ = self.handles.pop(number)
        self.loop.do(lambda: context.__aexit__(None, None, None))

    def _close_handles(self) -> None:
        while self.handles:
            self._close(0)

    @invariant()
    def the_bound_holds(self) -> None:
        """du is within max_size, or within a second it is."""
        if not hasattr(self, "loop"):
            return
        shop = self.drive.fs.providers[0].around.shop
        used = _du(self.place / "cache")
        if used > BOUND:
            self.loop.do(lambda: shop.workers.disk(shop.store.maintain))
            assert _du(self.place / "cache") <= BOUND

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self._close_handles()
            self.loop.end()
        self.stack.close()
        shutil.rmtree(self.place, ignore_errors=True)


def _du(directory: Path) -> int:
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


TestLife = LifeMachine.TestCase
TestLife.settings = settings(
    max_examples=int(os.environ.get("MOUNTFS_MODEL_EXAMPLES", "8")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
