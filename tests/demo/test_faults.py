"""The fault proxy: what it passes on untouched, and every way it spoils."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from certificates import Certificate

from mountfs.demo import steps
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.server import Fakes
from mountfs.demo.sockets import Unanswered
from mountfs.demo.store import FakeObject
from mountfs.demo.wire import Step

DATA = bytes(range(256)) * 4000


@pytest.fixture
def proxy(fakes: Fakes) -> Iterator[Proxy]:
    with Proxy(fakes.store.url) as running:
        fakes.store.public_url = running.url
        yield running


@pytest.fixture
def url(fakes: Fakes, proxy: Proxy) -> str:
    return fakes.store.sign("archives/x.zip", FakeObject(lambda: DATA))


def test_it_passes_everything_on(fakes: Fakes, proxy: Proxy, client: httpx.Client, url: str) -> None:
    """Status, headers, ranges and bodies, of any framing, over one kept connection."""
    assert url.startswith(proxy.url)
    assert client.get(url).content == DATA
    part = client.get(url, headers={"range": "bytes=-5"})
    assert (part.status_code, part.content) == (206, DATA[-5:])
    assert client.head(url).status_code == 403
    assert proxy.connections == 1
    assert [each.status for each in proxy.requests] == [200, 206, 403]
    assert proxy.requests[1].range == fakes.store.requests[1].range == "bytes=-5"


def test_it_passes_posts_and_chunks_on(fakes: Fakes, client: httpx.Client) -> None:
    """A body with the question, an answer without a length."""
    fakes.dari.add("s1", DATA)
    with Proxy(fakes.dari.url) as proxy:
        place = f"{proxy.url}/v1/sessions/s1/workspace.zip"
        answer = client.get(place, headers={"authorization": f"Bearer {fakes.dari.key}"})
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.content == DATA
    with Proxy(fakes.kaizen.url) as proxy:
        client.post(f"{proxy.url}/executions/list", json={"status": "Completed"})
        assert fakes.kaizen.requests[0].body == b'{"status":"Completed"}'


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (steps.Reset(None), httpx.ReadError),
        (steps.Reset(1000), httpx.ReadError),
        (steps.Truncate(None), httpx.RemoteProtocolError),
        (steps.Truncate(1000), httpx.RemoteProtocolError),
        (steps.Surplus(), None),
        (steps.BlackHole(), httpx.ReadTimeout),
        (steps.Stall(1000), httpx.ReadTimeout),
        (steps.Delay(30), httpx.ReadTimeout),
    ],
)
def test_a_connection_fails_once_and_then_serves(
    proxy: Proxy, client: httpx.Client, url: str, step: Step, error: type[Exception] | None
) -> None:
    """Each step fails one request as it should; the next is well."""
    proxy.inject(step)
    if error is None:  # httpx takes what was announced; the connection is of no more use
        with httpx.Client(trust_env=False, timeout=60) as other:
            assert other.get(url).content == DATA
    else:
        with pytest.raises(error):
            client.get(url, timeout=0.2 if error is httpx.ReadTimeout else 60)
    assert client.get(url).content == DATA


def test_it_spoils_what_comes_through(proxy: Proxy, client: httpx.Client, url: str) -> None:
    """Bytes, headers, the question itself."""
    proxy.inject(steps.FlipByte(500_000))
    flipped = client.get(url).content
    assert len(flipped) == len(DATA)
    assert flipped[500_000] == DATA[500_000] ^ 1
    proxy.inject(steps.Gzip())
    assert client.get(url).headers["content-encoding"] == "gzip"
    proxy.inject(steps.IgnoreRange())
    assert client.get(url, headers={"range": "bytes=0-3"}).status_code == 200
    proxy.inject(steps.wrong_range())
    assert client.get(url, headers={"range": "bytes=4-7"}).headers["content-range"] == "bytes 0-0/1"
    proxy.inject(steps.Answer(503, {"error": "maintenance"}, {"retry-after": "1"}))
    assert client.get(url).headers["retry-after"] == "1"
    proxy.inject(steps.Dribble(interval=0.001, size=2))
    assert client.get(url, headers={"range": "bytes=0-9"}).content == DATA[:10]


def test_rules_choose_their_requests(proxy: Proxy, client: httpx.Client, url: str) -> None:
    """Only ranges; only a path; until cleared."""
    proxy.inject(steps.Answer(500), ranged=True, times=None)
    assert client.get(url).status_code == 200
    assert [client.get(url, headers={"range": "bytes=0-0"}).status_code for _ in range(2)] == [500, 500]
    proxy.clear()
    assert client.get(url, headers={"range": "bytes=0-0"}).status_code == 206
    proxy.inject(steps.Answer(500), path="/elsewhere")
    assert client.get(url).status_code == 200


def test_a_port_refuses_and_serves_again(proxy: Proxy, client: httpx.Client, url: str) -> None:
    """Connection refused, also for the connections kept alive."""
    assert client.get(url).status_code == 200
    proxy.mode = Mode.REFUSE
    for _ in range(2):
        with pytest.raises((httpx.ConnectError, httpx.ReadError)):
            client.get(url)
    with pytest.raises(httpx.ConnectError, match="refused"):
        client.get(url)
    proxy.mode = Mode.SERVE
    assert client.get(url).content == DATA


def test_a_black_hole_takes_connections_and_heals(proxy: Proxy, client: httpx.Client, url: str) -> None:
    """Nothing comes until the mode changes; what waits is then answered."""
    proxy.mode = Mode.BLACK_HOLE
    with pytest.raises(httpx.ReadTimeout):
        client.get(url, timeout=0.1)
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port or 0), timeout=5) as waiting:
        waiting.sendall(f"GET {place.path}?{place.query} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        proxy.mode = Mode.SERVE
        assert waiting.recv(12) == b"HTTP/1.1 200"


def test_a_host_hangs_up(proxy: Proxy, client: httpx.Client, url: str) -> None:
    """Connections are taken and closed without a word."""
    proxy.mode = Mode.HANG_UP
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.get(url)


def test_a_tls_handshake_fails(proxy: Proxy, client: httpx.Client, url: str) -> None:
    """Plain text where TLS is due."""
    proxy.mode = Mode.NO_TLS
    with pytest.raises(httpx.ConnectError, match="SSL"):
        client.get(url.replace("http://", "https://"))
    assert proxy.https_url.startswith("https://127.0.0.1:")


def test_open_transfers_are_reset(proxy: Proxy, client: httpx.Client, url: str) -> None:
    """In the middle of a body."""
    proxy.inject(steps.Stall(1000))
    with client.stream("GET", url) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        proxy.reset_all()
        with pytest.raises(httpx.ReadError):
            next(pieces)


def test_no_service_behind_it(client: httpx.Client) -> None:
    """The client's connection ends too."""
    with Proxy("http://127.0.0.1:9") as proxy, pytest.raises(httpx.RemoteProtocolError):
        client.get(proxy.url)


def test_an_address_that_never_connects(client: httpx.Client) -> None:
    """The SYN is dropped, so only the connect timeout ends it."""
    with Unanswered() as hole, pytest.raises(httpx.ConnectTimeout):
        client.get(hole.url, timeout=0.2)


def test_it_serves_as_a_forward_proxy(fakes: Fakes, proxy: Proxy) -> None:
    """What a proxy in the environment sees: absolute targets of http, CONNECT of https."""
    with httpx.Client(trust_env=False, timeout=60, proxy=proxy.url) as client:
        assert client.get("http://store.example/none?x=1").status_code == 403
    assert proxy.requests[-1].path == fakes.store.requests[-1].path == "/none"
    with httpx.Client(trust_env=False, timeout=60, proxy=proxy.url) as client, pytest.raises(httpx.ConnectError):
        client.get("https://store.example/none")  # the store speaks no TLS
    assert (proxy.requests[-1].method, proxy.requests[-1].path) == ("CONNECT", "store.example:443")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate")
def test_it_speaks_tls_with_a_certificate_of_its_own(fakes: Fakes, tmp_path: Path) -> None:
    """One the system does not trust is refused; one that is trusted serves."""
    certificate = Certificate(tmp_path, "IP:127.0.0.1")
    with Proxy(fakes.store.url, tls=certificate.serving) as proxy:
        fakes.store.public_url = proxy.url
        url = fakes.store.sign("x", FakeObject(lambda: DATA))
        assert url.startswith("https://")
        with (
            httpx.Client(trust_env=False, timeout=60, verify=ssl.create_default_context()) as client,
            pytest.raises(httpx.ConnectError, match="certificate"),
        ):
            client.get(url)
        with httpx.Client(trust_env=False, timeout=60, verify=certificate.trusting()) as client:
            assert client.get(url).content == DATA
            proxy.inject(steps.Reset(5000))
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                client.get(url)
