"""The parts of the matrix: a service in one of its forms, the operations on it, and how one is carried out.

Every operation has a provider table and a session of its own, so that no belief, breaker or log line of one is
another's; all of them reach their service through the same proxies. What waits for a silent service does not wait in
real time: when nothing moves any more, the drive's clock goes on by a deadline.

Concurrency: the operations of one test run at once in one trio loop; the proxies serve from threads of their own.
"""

from __future__ import annotations

import base64
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field

import trio
import trio.testing
from drives import TLS, Drive, OpenHandle, World, zip_of
from faults.roads import ALIAS, API, STORE, Names, Road, Way
from zips import Part, archive

from mountfs.demo import steps
from mountfs.demo.fake import Fake, FakeSession
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.wire import Step
from mountfs.transport import Surroundings, from_environment

DEADLINE = 80.0
"""Seconds, as configured; a silent service costs none of them in real time, and no busy machine is so slow."""
CONNECT_TIMEOUT = 15.0
LOOKUP_TIMEOUT = 25.0
READ_TIMEOUT = 40.0
GRACE = 1.0
"""Seconds by which a deadline may be overrun where nothing else ends a wait (``filesystem.waiting``)."""
JUMPS = (CONNECT_TIMEOUT, LOOKUP_TIMEOUT, READ_TIMEOUT, DEADLINE, DEADLINE + GRACE)
"""Seconds after the beginning to which the clock is moved on, a little beyond each patience in turn."""
BEYOND = 0.05
FRESHNESS = {"failing": 50.0, "absent": 60.0, "refused": 70.0}
"""Seconds an answer is believed; as long as no busy machine takes for a test."""
IDLE = 6.0
"""Seconds after which a download nobody waits for has given its connection back."""
QUIET = 0.1
"""Seconds without a request or a byte, after which what still waits is waiting for its deadline."""
STORED = os.urandom(3 << 19)
PACKED = base64.b64encode(os.urandom(5 << 18))
SMALL = b"small\n" * 50
ARCHIVE = archive(
    Part("stored.bin", STORED, method=0),
    Part("packed.txt", PACKED, method=8),
    Part("small.txt", SMALL, method=8),
    Part("filler.bin", os.urandom(2 << 20), method=0),  # never read: a smaller archive would be fetched whole
)
TINY = zip_of({"small.txt": SMALL})
EARLY = 5 << 18
"""Beyond what an open brings."""
LATE = len(STORED) - 70_000
LATE_PACKED = len(PACKED) - 70_000
PIECE = 64 << 10
PACKED_AT = 5000
"""A byte of packed.txt's data, counted from where its first window begins."""
SECRETS = ("Signature", "X-Amz", "SECRET", "token=", "nonce")


@dataclass(frozen=True)
class Form:
    """One way in which one service gives its content. ``files``: a URL a file, so there are no ranges of an archive."""

    name: str
    service: str
    options: dict[str, object] = field(default_factory=dict)

    @property
    def files(self) -> bool:
        return self.name == "files"

    @property
    def redirected(self) -> bool:
        """Whether the API leads to the archive by a redirect."""
        return self.name == "redirected"

    @property
    def signed(self) -> bool:
        """Whether the archive lies at another host than the API."""
        return self.name == "kaizen" or self.redirected


FORMS = (
    Form("kaizen", "kaizen", {"list": True}),
    Form("dari", "dari"),
    Form("browserbase", "browserbase", {"files": "zip"}),
    Form("files", "browserbase", {"files": "api"}),
)
SIGNED = FORMS[:1]
REDIRECTED = Form("redirected", "browserbase", {"files": "zip"})
QUESTIONS = ("list", "lookup", "enter")
TRANSFERS = ("readdir", "open", "early", "late", "packed")


@dataclass
class Outcome:
    """What one operation came to. ``errno``: its name, "" for success; ``seconds``: on the drive's clock."""

    errno: str
    seconds: float


class Rig:
    """One form of one service behind proxies. ``api`` and ``host``: where questions go and where archives lie (the same
    but for signed URLs)."""

    def __init__(
        self, world: World, form: Form, stack: ExitStack, *, read_timeout: float, way: Way, road: Road | None
    ) -> None:
        self.world = world
        self.form = form
        self.way = way
        self.road = road
        self.names = Names()
        stack.callback(self.names.heal)
        self.fake: Fake = world.fake(form.service)
        tls = None if road is None else road.right.serving
        self.api = stack.enter_context(Proxy(self.fake.url, tls=tls))
        self.host = self.api
        if form.signed:
            self.host = stack.enter_context(Proxy(world.fakes.store.url, tls=tls))
            world.fakes.store.public_url = self._url(self.host, STORE)
            world.fakes.browserbase.redirect = form.redirected
        else:
            self.fake.ranges, self.fake.etags = True, "strong"
            if form.service == "dari":
                world.fakes.dari.chunked = False
        leads = {f"{API}:443": self.api.url, f"{ALIAS}:443": self.api.url, f"{STORE}:443": self.host.url}
        self.forward = stack.enter_context(Proxy(self.api.url, hosts=leads)) if way is Way.PROXIED else None
        timeouts = {
            "deadline": DEADLINE,
            "lookup_timeout": LOOKUP_TIMEOUT,
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": read_timeout,
            "linger": 1.0,
        }
        world.set("network", retries=0, **{name: f"{seconds:g}s" for name, seconds in timeouts.items()})
        world.set("freshness", **{name: f"{seconds:g}s" for name, seconds in FRESHNESS.items()})
        world.set("limits", max_archive_size="16MiB")

    def _url(self, proxy: Proxy, name: str) -> str:
        """The origin by which a client knows what stands behind a proxy of faults. By name, both are ports of one host:
        that a store's name leads to loopback is forbidden."""
        match self.way:
            case Way.PLAIN:
                return proxy.url
            case Way.NAMED:
                return proxy.url.replace("127.0.0.1", API if name == STORE else name)
            case Way.PROXIED:
                return f"https://{name}"

    def network(self) -> Surroundings:
        """What lies between the client and the services. Where they are on loopback, a proxy is named that is dead: it
        must not be asked."""
        if self.road is None:
            dead = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
            return Surroundings(proxies=from_environment(dead), tls=TLS, resolve=self.names.resolve)
        if self.forward is None:
            return Surroundings(tls=self.road.trust, resolve=self.names.resolve)
        proxies = from_environment({"HTTPS_PROXY": self.forward.url.replace("//", "//user:SECRET@")})
        return Surroundings(proxies=proxies, tls=self.road.trust, resolve=self.names.refuse)

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        found = dict.fromkeys([self.api, self.host, self.forward])
        return tuple(proxy for proxy in found if proxy is not None)

    def set_proxy(self, fault: Mode | Step) -> None:
        """Spoils the proxy of the environment; what goes through it now is cut off."""
        assert self.forward is not None
        self.reset()
        if isinstance(fault, Mode):
            self.forward.mode = fault
        else:
            self.forward.inject(fault, times=None)

    def redirect(self, proxy: Proxy) -> None:
        """Whoever asks there is sent to another origin, where somebody listens who would like to see the key."""
        proxy.inject(steps.Redirect(f"{self.world.fakes.store.url}/x"), times=None)

    def reset(self) -> None:
        """Every connection is cut: the next request needs a new one."""
        for proxy in self.proxies:
            proxy.reset_all()

    def id_of(self, operation: str) -> str:
        return (
            str(uuid.uuid5(uuid.NAMESPACE_OID, operation)) if self.form.service == "browserbase" else f"s-{operation}"
        )

    def place(self, operation: str) -> str:
        """The session's directory."""
        return f"at-{operation}/{self.id_of(operation)}"

    def add(self, operation: str, content: bytes) -> FakeSession:
        """A session, and a provider table through which this operation alone comes to it."""
        session = self.fake.add(self.id_of(operation), content)
        keys: dict[str, object] = {
            "type": self.form.service,
            "base_url": self._url(self.api, ALIAS if operation == "list" else API),
            "api_key_file": str(self.world.place / "keys" / f"{self.form.service}.key"),
            **self.form.options,
        }
        if operation == "enter":
            keys["sessions"] = [session.id]
        session.listed = operation != "lookup"
        self.world.set(f"providers.at-{operation}", **keys)
        return session

    def clear(self) -> None:
        """All is well again; what hung on a connection is cut off, as a network does that heals."""
        self.names.heal()
        self.world.fakes.store.lifetime = 300.0
        for proxy in self.proxies:
            proxy.clear()
            if self.road is not None and proxy is not self.forward:
                proxy.present(self.road.right.serving)
        self.reset()

    def idle(self) -> bool:
        """Whether nothing is being sent. (Tunnels stay open.)"""
        return all(each.ended for proxy in {self.api, self.host} for each in proxy.requests)

    def moved(self) -> tuple[int, ...]:
        """What has come and gone so far."""
        proxies = self.proxies
        sent = sum(record.bytes_sent // (1 << 12) for proxy in proxies for record in proxy.requests)
        return (sent, *(len(proxy.requests) for proxy in proxies), *(proxy.connections for proxy in proxies))


@contextmanager
def rigged(
    world: World,
    form: Form,
    *,
    read_timeout: float = READ_TIMEOUT,
    way: Way = Way.PLAIN,
    road: Road | None = None,
) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(world, form, stack, read_timeout=read_timeout, way=way, road=road)


# -- operations ----------------------------------------------------------------------------------------------------


class Cell:
    """One operation: made ready before the fault, carried out under it, and again afterwards."""

    def __init__(self, rig: Rig, drive: Drive, operation: str) -> None:
        self.operation = operation
        self._rig = rig
        self._drive = drive
        self._place = rig.place(operation)
        self._held: OpenHandle | None = None

    async def prepare(self, stack: AsyncExitStack) -> None:
        """Everything before the operation proper."""
        if self.operation not in QUESTIONS:
            await self._drive.ls(f"at-{self.operation}")
        if self.operation in ("open", "early", "late", "packed", "whole"):
            await self._drive.ls(self._place)
        if self.operation in ("early", "late", "packed"):
            self._held = await stack.enter_async_context(self._drive.file(f"{self._place}/{self._file}"))

    @property
    def _file(self) -> str:
        return "packed.txt" if self.operation in ("packed", "whole") else "stored.bin"

    @property
    def _whole(self) -> bytes:
        return PACKED if self.operation in ("packed", "whole") else STORED

    async def act(self) -> None:
        """The operation; what it gives is compared with what is right."""
        drive, place = self._drive, self._place
        match self.operation:
            case "list":
                listed = [session.id for session in self._rig.fake.sessions.values() if session.listed]
                assert await drive.ls("at-list") == sorted(listed)
            case "lookup":
                await drive.stat(place)
            case "enter" | "readdir":
                assert "small.txt" in await drive.ls(place)
            case "open":
                async with drive.file(f"{place}/{self._file}"):
                    pass
            case "whole":
                assert await drive.cat(f"{place}/{self._file}") == self._whole
            case _:
                offset = {"early": EARLY, "late": LATE, "packed": LATE_PACKED}[self.operation]
                assert self._held is not None
                assert await self._held.read(offset, PIECE) == self._whole[offset : offset + PIECE]

    async def again(self) -> None:
        """The same, when all is well: through a new handle, and all of the bytes."""
        if self.operation in ("list", "lookup"):
            await self.act()
        elif self.operation in ("enter", "readdir"):
            await self.act()
            assert await self._drive.cat(f"{self._place}/small.txt") == SMALL
        else:
            assert await self._drive.cat(f"{self._place}/{self._file}") == self._whole
            assert await self._drive.cat(f"{self._place}/small.txt") == SMALL


class Bench:
    """The cells of one test, carried out at once."""

    def __init__(self, rig: Rig, drive: Drive, operations: Iterable[str], log: list[logging.LogRecord]) -> None:
        self._rig = rig
        self._drive = drive
        self._log = log
        self.cells = [Cell(rig, drive, operation) for operation in operations]

    async def prepare(self, stack: AsyncExitStack) -> None:
        async with trio.open_nursery() as nursery:
            for cell in self.cells:
                nursery.start_soon(cell.prepare, stack)
        await self._quiet()
        self._drive.later(IDLE)
        await self._drive.settle(self._rig.idle, seconds=20)
        await self._quiet()
        self._log.clear()

    async def act(self, *, silent: bool) -> dict[str, Outcome]:
        """Every operation at once. ``silent``: when nothing moves any more, a time-out goes by."""
        outcomes: dict[str, Outcome] = {}
        async with trio.open_nursery() as nursery:
            with self._drive.standing_still() if silent else nullcontext():
                began = trio.current_time()
                for cell in self.cells:
                    nursery.start_soon(self._timed, cell.operation, cell.act, outcomes)
                for after in JUMPS if silent else ():
                    await self._quiet(lambda: len(outcomes) == len(self.cells))
                    if len(outcomes) < len(self.cells):
                        self._drive.later(began + after + BEYOND - trio.current_time())
        return outcomes

    async def heal(self) -> None:
        """The fault is gone."""
        self._rig.clear()
        await self._quiet()

    async def again(self) -> dict[str, Outcome]:
        """Every operation once more, at once."""
        outcomes: dict[str, Outcome] = {}
        async with trio.open_nursery() as nursery:
            for cell in self.cells:
                nursery.start_soon(self._timed, cell.operation, cell.again, outcomes)
        return outcomes

    async def until_right(self) -> None:
        """Every operation again, until all succeed; what the service is asked for meanwhile may take a while."""
        until = time.monotonic() + 60
        while wrong := {outcome.errno for outcome in (await self.again()).values()} - {""}:
            assert wrong == {"ESTALE"}
            assert time.monotonic() < until

    async def _timed(self, name: str, work: Callable[[], Awaitable[None]], outcomes: dict[str, Outcome]) -> None:
        began = trio.current_time()
        try:
            errno = await self._drive.error(work())
        except AssertionError as exc:
            errno = f"WRONG {str(exc)[:200]}"
        outcomes[name] = Outcome(errno, trio.current_time() - began)

    async def _quiet(self, done: Callable[[], bool] = lambda: False) -> None:
        """Until nothing moves: no byte, and no thread but those that a silent name server keeps."""
        seen, since, bound = self._rig.moved(), time.monotonic(), time.monotonic() + 20
        while not done() and time.monotonic() - since < QUIET:
            assert time.monotonic() < bound
            await trio.testing.wait_all_tasks_blocked(0.005)
            busy = trio.testing.active_thread_count() > 0 and self._rig.names.answering
            if (now := self._rig.moved()) != seen or busy:
                seen, since = now, time.monotonic()

    def told(self, operation: str) -> list[str]:
        """The lines this operation left in the log, but for debug's."""
        lines = [record.getMessage() for record in self._log if record.levelno >= logging.INFO]
        return [line for line in lines if f"at-{operation}:" in line or f"at-{operation}/" in line]
