"""Connections: names, addresses, proxies, TLS; and that one provider's trouble stays its own."""

from __future__ import annotations

import logging
import shutil
import ssl
import threading
from collections.abc import Iterator

import httpcore
import pytest
import trio
from certificates import Certificate
from clients import KEY, around, network, run, run_virtually, soon

from mountfs.config.secret import Secret
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.server import Fakes
from mountfs.demo.store import FakeObject
from mountfs.errors import BadAnswer, ConfigError, DeadlineExceeded, Unreachable
from mountfs.transport import Auth, Proxies, Question, Service, Surroundings, Target, Transport, from_environment
from mountfs.transport.connect import ATTEMPT_DELAY, RESOLVER_THREADS, AddressForbidden, Backend, NameNotResolved
from mountfs.transport.proxies import Proxy as ProxyChoice

QUESTION = Question("/v1/sessions", "the list of sessions")


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    with Fakes() as made:
        yield made


def transport(base_url: str, key: str = KEY, env: Surroundings | None = None, **net: object) -> Transport:
    service = Service("svc", base_url, Auth("Authorization", "Bearer {key}", Secret(key)))
    return Transport(service, network(**net), env or around())


def nowhere(host: str, port: int) -> list[str]:
    raise OSError(f"nobody knows {host}:{port}")


# -- names and addresses -----------------------------------------------------------------------------------------


def test_a_black_holed_name_server_holds_up_its_own_provider_alone(fakes: Fakes) -> None:
    """A few threads of its own; the others' look-ups, and trio's own threads, are free."""
    release, asked = threading.Event(), threading.Semaphore(0)
    most: list[int] = []

    def black_hole(_host: str, _port: int) -> list[str]:
        asked.release()
        most.append(0)
        release.wait(30)
        return []

    async def main() -> None:
        fakes.dari.add("s1")
        stuck = transport("https://stuck.test", env=around(resolve=black_hole), retries=0)
        fine = transport(
            fakes.dari.url.replace("127.0.0.1", "localhost"),
            fakes.dari.key,
            env=around(resolve=lambda _host, _port: ["127.0.0.1"]),
        )
        async with stuck, fine, trio.open_nursery() as nursery:

            async def hopeless() -> None:
                with pytest.raises((DeadlineExceeded, Unreachable)):
                    await stuck.ask(QUESTION, deadline=soon(20))

            for _ in range(30):
                nursery.start_soon(hopeless)
            for _ in range(RESOLVER_THREADS):
                await trio.to_thread.run_sync(asked.acquire)
            assert (await fine.ask(QUESTION, deadline=soon())).status == 200
            assert len(most) == RESOLVER_THREADS
            assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
            nursery.cancel_scope.cancel()

    try:
        run(main)
    finally:
        release.set()


def test_a_name_that_is_not_known_is_unreachable() -> None:
    """With advice that names DNS."""

    async def main() -> None:
        async with transport("https://api.test", env=around(resolve=nowhere)) as made:
            with pytest.raises(Unreachable, match=r"https://api\.test: its name cannot be resolved") as caught:
                await made.ask(QUESTION, deadline=soon())
            assert "DNS" in caught.value.advice

    run(main)


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["127.0.0.1", "::1"], ["169.254.169.254"], []])
def test_an_archive_host_whose_name_is_private_is_refused(addresses: list[str]) -> None:
    """At the moment of connecting, before a byte is sent; the breaker does not count it."""

    async def main() -> None:
        async with transport("https://api.test", env=around(resolve=lambda _host, _port: addresses)) as made:
            for _ in range(4):
                with pytest.raises(BadAnswer, match="private address") as caught:
                    async with made.fetch(Target("https://store.test/secret-path", "s"), deadline=soon()):
                        pytest.fail("a body")
                assert "allow_private_archive_hosts" in caught.value.advice
                assert "secret-path" not in str(caught.value)

    run(main)


def test_the_setting_lets_private_archive_hosts_in() -> None:
    """Here nothing listens, which is another error."""

    async def main() -> None:
        env = around(resolve=lambda _host, _port: ["127.0.0.1"])
        async with transport("https://api.test", env=env, allow_private_archive_hosts=True, retries=0) as made:
            with pytest.raises(Unreachable, match="cannot connect"):
                async with made.fetch(Target("https://store.test:1/x", "s"), deadline=soon()):
                    pytest.fail("a body")

    run(main)


class Addresses(httpcore.AsyncNetworkBackend):
    """A network where each address has a fate: seconds until it connects, None for never, "refused"."""

    def __init__(self, fates: dict[str, float | str | None]) -> None:
        self.fates = fates
        self.tried: list[tuple[str, float]] = []
        self.closed: list[str] = []

    async def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        self.tried.append((host, trio.current_time()))
        fate = self.fates[host]
        if fate == "refused":
            raise httpcore.ConnectError("refused")
        await trio.sleep(float("inf") if fate is None else float(fate))
        return Connected(host, self)


class Connected(httpcore.AsyncNetworkStream):
    def __init__(self, host: str, owner: Addresses) -> None:
        self.host, self.owner = host, owner

    async def aclose(self) -> None:
        self.owner.closed.append(self.host)


@pytest.mark.parametrize(
    ("fates", "winner", "delays"),
    [
        ({"a": 0.1}, "a", [0]),
        ({"a": 0.1, "b": 0.0}, "a", [0]),
        ({"a": None, "b": 0.1}, "b", [0, ATTEMPT_DELAY]),
        ({"a": "refused", "b": 0.1}, "b", [0, 0]),
        ({"a": None, "b": None, "c": 1.0}, "c", [0, ATTEMPT_DELAY, 2 * ATTEMPT_DELAY]),
        ({"a": 1.0, "b": "refused", "c": 5.0}, "a", [0, ATTEMPT_DELAY, ATTEMPT_DELAY]),
        ({"a": "refused", "b": "refused"}, None, [0, 0]),
    ],
)
def test_addresses_are_raced(fates: dict[str, float | str | None], winner: str | None, delays: list[float]) -> None:
    """Each starts a moment after the last, or as soon as it failed; the first to connect wins, the rest are left."""
    net = Addresses(fates)

    async def main() -> None:
        backend = Backend(trio.CapacityLimiter(1), lambda _host, _address: True, nowhere)
        backend._inner = net  # type: ignore[assignment]
        started = trio.current_time()
        if winner is None:
            with pytest.raises(httpcore.ConnectError):
                await backend._race(list(fates), 443)
        else:
            won = await backend._race(list(fates), 443)
            assert isinstance(won, Connected)
            assert won.host == winner
        assert [time - started for _, time in net.tried] == pytest.approx(delays)

    run_virtually(main)


def test_a_race_that_is_called_off_leaves_nothing_open() -> None:
    """Also when two connected at the same moment."""
    net = Addresses({"a": ATTEMPT_DELAY + 1, "b": 1.0})

    async def main() -> None:
        backend = Backend(trio.CapacityLimiter(1), lambda _host, _address: True, nowhere)
        backend._inner = net  # type: ignore[assignment]
        won = await backend._race(["a", "b"], 443)
        assert isinstance(won, Connected)
        assert set(net.closed) <= {"a", "b"} - {won.host}

    run_virtually(main)


def test_only_allowed_addresses_are_tried() -> None:
    """A name may lead to both kinds."""

    async def main() -> None:
        net = Addresses({"1.1.1.1": 0.0})
        backend = Backend(trio.CapacityLimiter(1), lambda _host, address: address == "1.1.1.1", mixed)
        backend._inner = net  # type: ignore[assignment]
        await backend.connect_tcp("store.test", 443, timeout=5)
        assert [host for host, _ in net.tried] == ["1.1.1.1"]
        backend = Backend(trio.CapacityLimiter(1), lambda _host, _address: False, mixed)
        with pytest.raises(AddressForbidden):
            await backend.connect_tcp("store.test", 443, timeout=5)
        backend = Backend(trio.CapacityLimiter(1), lambda _host, _address: True, nowhere)
        with pytest.raises(NameNotResolved):
            await backend.connect_tcp("store.test", 443, timeout=5)

    run(main)


def mixed(_host: str, _port: int) -> list[str]:
    return ["10.0.0.1", "1.1.1.1"]


# -- TLS and proxies ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate")
    return Certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1", "DNS:api.test")


@pytest.fixture
def secure(fakes: Fakes, certificate: Certificate) -> Iterator[Proxy]:
    """Dari behind TLS."""
    with Proxy(fakes.dari.url, tls=certificate.serving) as made:
        yield made


@pytest.fixture
def trusting(certificate: Certificate) -> ssl.SSLContext:
    return certificate.trusting()


def test_tls_is_verified(fakes: Fakes, secure: Proxy, trusting: ssl.SSLContext) -> None:
    """By the system's trust, and by the host's name; a failure is not tried again."""

    async def main() -> None:
        async with transport(secure.url, fakes.dari.key, env=around(tls=trusting)) as made:
            assert (await made.ask(QUESTION, deadline=soon())).status == 200
        before = secure.connections
        async with transport(secure.url, fakes.dari.key) as made:
            with pytest.raises(BadAnswer, match="TLS failed") as caught:
                await made.ask(QUESTION, deadline=soon())
            assert "CA certificates" in caught.value.advice
        other = secure.url.replace("127.0.0.1", "localhost")
        async with transport(other, fakes.dari.key, env=around(tls=trusting)) as made:
            with pytest.raises(BadAnswer, match="TLS failed"):
                await made.ask(QUESTION, deadline=soon())
        assert secure.connections - before == 2

    run(main)


def test_tls_bodies_can_be_left_in_the_middle(fakes: Fakes, secure: Proxy, trusting: ssl.SSLContext) -> None:
    """As plain ones."""
    fakes.dari.add("big", bytes(3 << 20))

    async def main() -> None:
        async with transport(secure.url, fakes.dari.key, env=around(tls=trusting), max_connections=1) as made:
            target = Target(f"{secure.url}/v1/sessions/big/workspace.zip", "session big", authorised=True)
            for _ in range(3):
                async with made.fetch(target, deadline=soon()) as body:
                    async for _chunk in body:
                        break
            async with made.fetch(target, deadline=soon()) as body:
                assert len(await body.read(4 << 20)) == 3 << 20

    run(main)


def test_a_proxy_is_asked_to_connect_and_resolves_the_name_itself(
    fakes: Fakes, secure: Proxy, trusting: ssl.SSLContext
) -> None:
    """It sees neither key nor path."""
    with Proxy(secure.url) as forward:

        async def main() -> None:
            env = around(
                tls=trusting, resolve=only_literals, proxies=Proxies(https=ProxyChoice(forward.url, ("u", "p")))
            )
            async with transport("https://api.test", fakes.dari.key, env=env) as made:
                for _ in range(2):
                    assert (await made.ask(QUESTION, deadline=soon())).status == 200
            assert [(each.method, each.path) for each in forward.requests] == [("CONNECT", "api.test:443")]
            assert fakes.dari.key not in str(forward.requests[0].headers)
            assert forward.requests[0].headers["proxy-authorization"].startswith("Basic ")
            forward.mode = Mode.REFUSE
            async with transport("https://api.test", fakes.dari.key, env=env) as made:
                with pytest.raises(Unreachable):
                    await made.ask(QUESTION, deadline=soon())

        run(main)


def only_literals(host: str, _port: int) -> list[str]:
    if host != "127.0.0.1":
        raise OSError("the proxy should do that")
    return [host]


def test_loopback_does_not_go_through_the_environments_proxy(fakes: Fakes) -> None:
    """httpx by itself would send it there."""

    async def main() -> None:
        proxies = from_environment(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1"))
        async with transport(fakes.dari.url, fakes.dari.key, env=around(proxies=proxies)) as made:
            assert (await made.ask(QUESTION, deadline=soon())).status == 200

    run(main)


def test_a_socks_proxy_without_its_package_is_a_matter_of_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback."""

    def missing(**_: object) -> object:
        raise ImportError("socksio")

    monkeypatch.setattr(httpcore, "AsyncSOCKSProxy", missing)

    async def main() -> None:
        env = around(proxies=from_environment({"ALL_PROXY": "socks5://127.0.0.1:1"}))
        async with transport("https://api.test", env=env) as made:
            with pytest.raises(ConfigError, match="socksio"):
                await made.ask(QUESTION, deadline=soon())

    run(main)


# -- kept connections, and what is written down ------------------------------------------------------------------


def test_a_stale_connection_is_not_noticed(fakes: Fakes) -> None:
    """The service restarted between two questions."""
    with Proxy(fakes.dari.url) as proxy:

        async def main() -> None:
            async with transport(proxy.url, fakes.dari.key, retries=1) as made:
                for _ in range(3):
                    assert (await made.ask(QUESTION, deadline=soon())).status == 200
                    proxy.reset_all()

        run(main)


def test_no_url_and_no_key_reaches_a_log(fakes: Fakes, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, of every logger there is."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "httpcore.proxy"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    url = fakes.store.sign("very-secret-object", FakeObject(lambda: b"x" * 1000))

    async def main() -> None:
        async with transport(fakes.dari.url, fakes.dari.key) as made:
            await made.ask(QUESTION, deadline=soon())
            async with made.fetch(Target(url, "session s"), deadline=soon()) as body:
                await body.read(1000)
            text = repr((made, Target(url, "s"), QUESTION, body, made.statistics(), made._service))
            assert "very-secret-object" not in text
            assert fakes.dari.key not in text

    run(main)
    assert "very-secret-object" not in caplog.text
    assert fakes.dari.key not in caplog.text
    assert "Signature" not in caplog.text
