"""What tests of the transport and of providers share: short settings, dice that do not wait, and a scripted network.

Concurrency: one trio run a test, bounded.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import httpx
import trio
import trio.testing

from mountfs.config.schema import Network, ProviderSettings
from mountfs.config.secret import Secret
from mountfs.demo.fake import Fake
from mountfs.providers import Provider, make
from mountfs.transport import Auth, Service, Surroundings, Transport

KEY = "key-TRANSPORTSECRET-77aa"
T = TypeVar("T")


class Eager(random.Random):
    """Dice that always choose the shortest pause: none."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


def network(**changes: Any) -> Network:
    """[network] with little patience."""
    return Network(**{"connect_timeout": 2.0, "read_timeout": 2.0, "retries": 2, "max_connections": 8} | changes)


TLS = ssl.create_default_context()
"""Made once: it takes 25 ms."""


def around(**changes: Any) -> Surroundings:
    """Surroundings whose retries do not wait."""
    return replace(Surroundings(rng=Eager(), tls=TLS), **changes)


def run(main: Callable[[], Awaitable[T]], *, limit: float = 30.0) -> T:
    """Runs it on real time; a test that hangs fails."""

    async def bounded() -> T:
        with trio.fail_after(limit):
            return await main()

    return trio.run(bounded)


def run_virtually(main: Callable[[], Awaitable[T]]) -> T:
    """Runs it on a clock that jumps: only for tests that wait for no socket, thread or file."""

    async def bounded() -> T:
        with trio.fail_after(100_000):
            return await main()

    return trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))


def soon(seconds: float = 10.0) -> float:
    """A deadline."""
    return trio.current_time() + seconds


def settings(fake: Fake, *, key: str | None = None, base_url: str = "", **changes: Any) -> ProviderSettings:
    """What a configuration would say of a fake service."""
    facts: dict[str, Any] = {
        "name": fake.name,
        "type": fake.name,
        "base_url": base_url or fake.url,
        "key": Secret(fake.key if key is None else key),
    }
    return ProviderSettings(**facts | changes)


def provider(fake: Fake, *, net: Network | None = None, env: Surroundings | None = None, **changes: Any) -> Provider:
    """The provider of a fake service."""
    return make(settings(fake, **changes), net or network(), env or around())


# -- a network without sockets -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Says:
    """One scripted answer. ``chunks``: its body; an exception in it is raised there, a number is waited for."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: tuple[bytes | Exception | float, ...] = (b"{}",)


HANGS = Says(0)
"""Never answers."""

Step = Says | Exception | float


class Scripted(httpx.AsyncBaseTransport):
    """A network that answers by a list: the n-th request gets the n-th step, the last step is for all after it. A
    number is a wait before the step that follows it. ``requests``: what came."""

    def __init__(self, *steps: Step | tuple[float, Step]) -> None:
        self.steps = steps
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        number = min(len(self.requests), len(self.steps) - 1)
        self.requests.append(request)
        self.times.append(trio.current_time())
        step = self.steps[number]
        if isinstance(step, tuple):
            await trio.sleep(step[0])
            step = step[1]
        if step is HANGS:
            await trio.sleep_forever()
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, Says)
        return httpx.Response(step.status, headers=step.headers, stream=_Chunks(step.chunks, self))


class _Chunks(httpx.AsyncByteStream):
    def __init__(self, chunks: Iterable[bytes | Exception | float], owner: Scripted) -> None:
        self._chunks = iter(chunks)
        self._owner = owner

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if isinstance(chunk, bytes):
                return chunk
            await trio.sleep(chunk)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._owner.closed += 1


def scripted(
    network_: Scripted, *, base_url: str = "https://api.test", net: Network | None = None, **changes: Any
) -> Transport:
    """A transport over a scripted network, its dice real unless given."""
    service = Service("svc", base_url, Auth("Authorization", "Bearer {key}", Secret(KEY)))
    surroundings = replace(Surroundings(http=lambda: network_, rng=random.Random(7)), **changes)
    return Transport(service, net or network(), surroundings)
