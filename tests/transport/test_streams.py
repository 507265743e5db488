"""Bodies read into a buffer: past h11 and the usual way, plain and by TLS, whole and broken."""

from __future__ import annotations

import random
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from certificates import Certificate
from clients import KEY, around, network, run, soon

from mountfs.config.secret import Secret
from mountfs.demo.faults import Proxy
from mountfs.demo.server import Fakes
from mountfs.demo.steps import Dribble, Gzip, Reset, Stall, Surplus, Truncate
from mountfs.demo.store import FakeObject
from mountfs.demo.wire import Step
from mountfs.errors import DeadlineExceeded, ServiceFailed
from mountfs.model import Span
from mountfs.transport import Auth, Body, Service, Target, Transport, Want
from mountfs.transport.streams import Incoming, Stream

DATA = random.Random(3).randbytes(3 << 20)
BUFFER = 300_007


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    with Fakes() as made:
        made.store.ranges, made.store.etags = True, "strong"
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate")
    return Certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@dataclass
class Road:
    """A way to the store. ``straight``: bytes that were read past h11."""

    fakes: Fakes
    proxy: Proxy
    trust: ssl.SSLContext | None
    straight: int = 0

    def transport(self, **net: Any) -> Transport:
        service = Service("svc", self.fakes.dari.url, Auth("Authorization", "Bearer {key}", Secret(KEY)))
        return Transport(service, network(**net), around(tls=self.trust) if self.trust else around())

    def target(self) -> Target:
        self.fakes.store.public_url = self.proxy.url
        return Target(self.fakes.store.sign("a.zip", FakeObject(lambda: DATA)), "session s")

    def fetch(self, want: Want | None = None, *steps: Step, **net: Any) -> bytes:
        """One fetch through a small buffer, and another on the same connection if the first went well."""
        target = self.target()
        for step in steps:
            self.proxy.inject(step)

        async def main() -> bytes:
            async with self.transport(retries=0, **net) as made:
                async with made.fetch(target, want, deadline=soon()) as body:
                    whole = await poured(body)
                before = self.proxy.connections
                async with made.fetch(target, Span(0, 10), deadline=soon()) as body:
                    assert await poured(body) == DATA[:10]
                assert self.proxy.connections == before, "the connection was not used again"
                return whole

        try:
            return run(main)
        finally:
            self.proxy.clear()


async def poured(body: Body) -> bytes:
    """All of a body, by way of one buffer."""
    buffer, whole = memoryview(bytearray(BUFFER)), bytearray()
    while size := await body.read_into(buffer):
        whole += buffer[:size]
    assert await body.read_into(buffer) == 0  # the end stays the end
    return bytes(whole)


@pytest.fixture(params=["plain", "tls"])
def road(
    request: pytest.FixtureRequest, fakes: Fakes, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Road]:
    secure = request.param == "tls"
    with Proxy(fakes.store.url, tls=certificate.serving if secure else None) as proxy:
        made = Road(fakes, proxy, certificate.trusting() if secure else None)
        read_into = Stream.read_into

        async def counted(stream: Stream, buffer: memoryview, timeout: float) -> int:
            size = await read_into(stream, buffer, timeout)
            made.straight += size
            return size

        monkeypatch.setattr(Stream, "read_into", counted)
        yield made


@pytest.fixture(params=[True, False], ids=["straight", "usual"])
def either(request: pytest.FixtureRequest, road: Road, monkeypatch: pytest.MonkeyPatch) -> Road:
    """Also where h11's count cannot be seen."""
    if not request.param:
        monkeypatch.setattr(Incoming, "_left", lambda _: None)
    return road


def test_everything_and_the_connection_again(either: Road) -> None:
    assert either.fetch() == DATA


def test_a_part(either: Road) -> None:
    assert either.fetch(Span(1000, 2_000_000)) == DATA[1000:2_000_000]


def test_most_of_it_goes_past_h11(road: Road) -> None:
    """All but what came with the head: what is private to h11 is where it was."""
    assert road.fetch() == DATA
    assert road.straight > len(DATA) // 2


@pytest.mark.parametrize("at", [10, 700_000, len(DATA) - 1])
@pytest.mark.parametrize("step", [Reset, Truncate])
def test_a_broken_body(either: Road, step: type[Reset | Truncate], at: int) -> None:
    """Never taken for a whole one, wherever it breaks."""
    with pytest.raises(ServiceFailed):
        either.fetch(None, step(at))


def test_silence(either: Road) -> None:
    with pytest.raises(DeadlineExceeded, match="silence"):
        either.fetch(None, Stall(500_000), read_timeout=0.3)


def test_a_slow_body(either: Road) -> None:
    """Lives as long as it moves, in whatever pieces it comes."""
    assert either.fetch(Span(0, 3000), Dribble(size=500, interval=0.01), read_timeout=5.0) == DATA[:3000]


def test_an_encoded_body(either: Road) -> None:
    assert either.fetch(None, Gzip()) == DATA


def test_left_in_the_middle(either: Road) -> None:
    """It leaves no place taken, and the connection to nobody."""
    target = either.target()

    async def main() -> None:
        async with either.transport(max_connections=1) as made:
            buffer = memoryview(bytearray(1000))
            for _ in range(3):
                async with made.fetch(target, deadline=soon()) as body:
                    assert await body.read_into(buffer) == 1000
                    assert await body.read_into(buffer) == 1000
                    assert bytes(buffer) == DATA[1000:2000]
            async with made.fetch(target, deadline=soon()) as body:
                assert await body.read_into(buffer) == 1000
                assert await body.read(len(DATA)) == DATA[1000:]

    run(main)


def test_more_than_was_announced_is_left(either: Road) -> None:
    """What follows the body is nobody's: it is not given out, and its connection not used again."""
    target = either.target()
    either.proxy.inject(Surplus())

    async def main() -> None:
        async with either.transport(retries=1) as made:
            async with made.fetch(target, deadline=soon()) as body:
                assert await poured(body) == DATA
            async with made.fetch(target, Span(5, 10), deadline=soon()) as body:
                assert await poured(body) == DATA[5:10]

    run(main)
