"""Connections of one provider: its own name resolution, its own pools, its own rules on where they may lead.

``httpcore`` connects through a *network backend*; ours resolves the name in threads under a limiter of this provider
alone (trio's default limiter is shared, and an abandoned look-up keeps its token: one black-holed name server would
take the whole daemon's threads), judges each address by the host rules, and races the addresses (RFC 8305).
``PooledTransport`` is the httpx side: it chooses between direct connections and proxies.

Concurrency: everything runs on the trio loop; only getaddrinfo leaves it.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpcore
import httpx
import trio

from mountfs.errors import ConfigError
from mountfs.transport.proxies import Proxies, Proxy
from mountfs.transport.streams import Incoming, Stream

KEEPALIVE = 60.0
"""Seconds an idle connection is kept: httpx's 5 s would pay TLS again at nearly every command a person types."""
RESOLVER_THREADS = 4
ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside the last (RFC 8305 §5)."""

AcceptsAddress = Callable[[str, str], bool]
Resolve = Callable[[str, int], list[str]]


class NameNotResolved(httpcore.ConnectError):
    """The host's name has no address."""


class ProxyUnreachable(httpcore.ConnectError):
    """The proxy the environment names has no address, or cannot be connected to."""


class AddressForbidden(httpcore.ConnectError):
    """The host's name leads to an address the rules do not allow."""


class Backend(httpcore.AsyncNetworkBackend):
    """Resolves, judges, connects. One a pool; the limiter is shared by a provider's pools."""

    def __init__(self, limiter: trio.CapacityLimiter, accepts: AcceptsAddress, resolve: Resolve) -> None:
        self._limiter = limiter
        self._accepts = accepts
        self._blocking_resolve = resolve
        self._inner = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002  (we set neither)
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            addresses = await self._resolve(host, port)
            allowed = [address for address in addresses if self._accepts(host, address)]
            if not allowed:
                raise AddressForbidden("the name leads to a private address")
            return Stream(await self._race(allowed, port))
        raise httpcore.ConnectTimeout("no connection in time")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            rows = await trio.to_thread.run_sync(
                self._blocking_resolve, host, port, abandon_on_cancel=True, limiter=self._limiter
            )
        except (OSError, UnicodeError) as error:
            raise NameNotResolved(f"the name cannot be resolved ({type(error).__name__})") from error
        return rows

    async def _race(self, addresses: list[str], port: int) -> httpcore.AsyncNetworkStream:
        winners: list[httpcore.AsyncNetworkStream] = []
        failures: list[Exception] = []

        async def attempt(address: str, failed: trio.Event) -> None:
            try:
                stream = await self._inner.connect_tcp(address, port)
            except httpcore.ConnectError as error:
                failures.append(error)
                failed.set()
                return
            winners.append(stream)
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                for address in addresses:
                    failed = trio.Event()
                    nursery.start_soon(attempt, address, failed)
                    with trio.move_on_after(ATTEMPT_DELAY):
                        await failed.wait()
            if not winners:
                raise failures[-1]
            return winners.pop(0)
        finally:
            with trio.CancelScope(shield=True):
                for loser in winners:
                    await loser.aclose()


class ProxyBackend(Backend):
    """The way to a proxy: the user named it, so it may be anywhere; and what fails on it is told as the proxy's, since
    looking for the service would be in vain."""

    def __init__(self, limiter: trio.CapacityLimiter, resolve: Resolve) -> None:
        super().__init__(limiter, lambda _host, _address: True, resolve)

    async def connect_tcp(self, host: str, port: int, *args: Any, **more: Any) -> httpcore.AsyncNetworkStream:
        try:
            return await super().connect_tcp(host, port, *args, **more)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise ProxyUnreachable("the proxy cannot be reached") from error


def system_addresses(host: str, port: int) -> list[str]:
    """The addresses of a name, in the resolver's order of preference, none twice. Blocks: runs in a thread."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


class _Outgoing:
    """A request's body, which may be left unsent: httpx's own would leave an unfinished generator for the collector."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Outgoing(self._data)

    async def __anext__(self) -> bytes:
        if not self._data:
            raise StopAsyncIteration
        data, self._data = self._data, b""
        return data


class PooledTransport(httpx.AsyncBaseTransport):
    """httpx's way to the network: one pool for direct connections, and one for each proxy in use.

    The pools have no lid of their own: the transport above counts what is under way (a pool's queue cannot be seen,
    and a request cancelled in it has been seen to be lost).
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        limiter: trio.CapacityLimiter,
        accepts: AcceptsAddress,
        proxies: Proxies,
        keep: int,
        resolve: Resolve = system_addresses,
    ) -> None:
        self._tls = tls
        self._limiter = limiter
        self._resolve = resolve
        self._proxies = proxies
        self._keep = keep
        self._direct = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=keep,
            keepalive_expiry=KEEPALIVE,
            network_backend=Backend(limiter, accepts, resolve),
        )
        self._proxied: dict[Proxy, httpcore.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        proxy = self._proxies.choose(url.scheme, url.host, url.port)
        pool = self._direct if proxy is None else self._through(proxy)
        answer = await pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=_Outgoing(request.content),
                extensions=request.extensions,
            )
        )
        silence = request.extensions.get("timeout", {}).get("read") or math.inf
        incoming = Incoming(answer, silence)
        return httpx.Response(answer.status, headers=answer.headers, stream=incoming, extensions=answer.extensions)

    async def aclose(self) -> None:
        for pool in (self._direct, *self._proxied.values()):
            await pool.aclose()

    def _through(self, proxy: Proxy) -> httpcore.AsyncConnectionPool:
        pool = self._proxied.get(proxy)
        if pool is None:
            pool = self._proxied[proxy] = self._proxy_pool(proxy)
        return pool

    def _proxy_pool(self, proxy: Proxy) -> httpcore.AsyncConnectionPool:
        # What lies behind it, it resolves itself.
        common: dict[str, Any] = {
            "proxy_url": proxy.url,
            "proxy_auth": proxy.auth,
            "ssl_context": self._tls,
            "max_connections": None,
            "max_keepalive_connections": self._keep,
            "keepalive_expiry": KEEPALIVE,
            "network_backend": ProxyBackend(self._limiter, self._resolve),
        }
        if not proxy.url.startswith("socks5"):
            return httpcore.AsyncHTTPProxy(**common)
        try:
            return httpcore.AsyncSOCKSProxy(**common)
        except ImportError as error:
            raise ConfigError(
                "the environment names a SOCKS proxy, and the package socksio is not installed",
                advice="install httpx[socks], or name an http:// proxy in HTTPS_PROXY",
            ) from error
