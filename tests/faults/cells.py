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
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field

import trio
from drives import Drive, OpenHandle, World, zip_of
from zips import Part, archive

from mountfs.demo.fake import Fake, FakeSession
from mountfs.demo.faults import Proxy

DEADLINE = 20.0
"""Seconds, as configured; a silent service costs none of them in real time."""
READ_TIMEOUT = 10.0
JUMPS = (READ_TIMEOUT + 0.2, DEADLINE - READ_TIMEOUT)
"""Seconds by which the clock is moved on: beyond the silence that is borne, then to the deadline."""
IDLE = 6.0
"""Seconds after which a download nobody waits for has given its connection back."""
QUIET = 0.1
"""Seconds without a request or a byte, after which what still waits is waiting for its deadline."""
LATER = 4000.0
"""Seconds: longer than any belief and than the Retry-After of these tests."""
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
    def signed(self) -> bool:
        """Whether the archive lies at another host than the API."""
        return self.name == "kaizen"


FORMS = (
    Form("kaizen", "kaizen", {"list": True}),
    Form("dari", "dari"),
    Form("browserbase", "browserbase", {"files": "zip"}),
    Form("files", "browserbase", {"files": "api"}),
)
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

    def __init__(self, world: World, form: Form, stack: ExitStack, *, read_timeout: float) -> None:
        self.world = world
        self.form = form
        self.fake: Fake = world.fake(form.service)
        self.api = stack.enter_context(Proxy(self.fake.url))
        self.host = self.api
        if form.signed:
            self.host = stack.enter_context(Proxy(world.fakes.store.url))
            world.fakes.store.public_url = self.host.url
        else:
            self.fake.ranges, self.fake.etags = True, "strong"
            if form.service == "dari":
                world.fakes.dari.chunked = False
        timeouts = {
            "deadline": DEADLINE,
            "lookup_timeout": 5.0,
            "connect_timeout": 60.0,
            "read_timeout": read_timeout,
            "linger": 1.0,
        }
        world.set("network", retries=0, **{name: f"{seconds:g}s" for name, seconds in timeouts.items()})
        world.set("limits", max_archive_size="16MiB")

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
            "base_url": self.api.url,
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
        for proxy in {self.api, self.host}:
            proxy.clear()
            proxy.reset_all()

    def moved(self) -> tuple[int, ...]:
        """What has come and gone so far."""
        proxies = (self.api, self.host)
        sent = sum(record.bytes_sent // (1 << 12) for proxy in proxies for record in proxy.requests)
        return (sent, *(len(proxy.requests) for proxy in proxies), *(proxy.connections for proxy in proxies))


@contextmanager
def rigged(world: World, form: Form, *, read_timeout: float = READ_TIMEOUT) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(world, form, stack, read_timeout=read_timeout)


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
        if self.operation in TRANSFERS:
            await self._drive.ls(f"at-{self.operation}")
        if self.operation in ("open", "early", "late", "packed"):
            await self._drive.ls(self._place)
        if self.operation in ("early", "late", "packed"):
            self._held = await stack.enter_async_context(self._drive.file(f"{self._place}/{self._file}"))

    @property
    def _file(self) -> str:
        return "packed.txt" if self.operation == "packed" else "stored.bin"

    @property
    def _whole(self) -> bytes:
        return PACKED if self.operation == "packed" else STORED

    async def act(self) -> None:
        """The operation; what it gives is compared with what is right."""
        drive, place = self._drive, self._place
        match self.operation:
            case "list":
                assert await drive.ls("at-list") == sorted(map(self._rig.id_of, ("enter", "list")))
            case "lookup":
                await drive.stat(place)
            case "enter" | "readdir":
                assert "small.txt" in await drive.ls(place)
            case "open":
                async with drive.file(f"{place}/{self._file}"):
                    pass
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
        await self._quiet()
        self._log.clear()

    async def act(self, *, silent: bool) -> dict[str, Outcome]:
        """Every operation at once. ``silent``: when nothing moves any more, a time-out goes by."""
        outcomes: dict[str, Outcome] = {}
        async with trio.open_nursery() as nursery:
            for cell in self.cells:
                nursery.start_soon(self._timed, cell.operation, cell.act, outcomes)
            for seconds in JUMPS if silent else ():
                await self._quiet(lambda: len(outcomes) == len(self.cells))
                if len(outcomes) < len(self.cells):
                    self._drive.later(seconds)
        return outcomes

    async def again(self) -> dict[str, Outcome]:
        self._rig.clear()
        await self._quiet()
        self._drive.later(LATER)
        outcomes: dict[str, Outcome] = {}
        async with trio.open_nursery() as nursery:
            for cell in self.cells:
                nursery.start_soon(self._timed, cell.operation, cell.again, outcomes)
        return outcomes

    async def _timed(self, name: str, work: Callable[[], Awaitable[None]], outcomes: dict[str, Outcome]) -> None:
        began = trio.current_time()
        try:
            errno = await self._drive.error(work())
        except AssertionError as exc:
            errno = f"WRONG {str(exc)[:200]}"
        outcomes[name] = Outcome(errno, trio.current_time() - began)

    async def _quiet(self, done: Callable[[], bool] = lambda: False) -> None:
        """Until nothing moves."""
        seen, since, bound = self._rig.moved(), time.monotonic(), time.monotonic() + 20
        while not done() and time.monotonic() - since < QUIET:
            assert time.monotonic() < bound
            await trio.sleep(0.005)
            if (now := self._rig.moved()) != seen:
                seen, since = now, time.monotonic()

    def told(self, operation: str) -> list[str]:
        """The lines this operation left in the log, but for debug's."""
        lines = [record.getMessage() for record in self._log if record.levelno >= logging.INFO]
        return [line for line in lines if f"at-{operation}:" in line or f"at-{operation}/" in line]
