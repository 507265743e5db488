"""Which proxy a request goes through: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, read once, decided here.

httpx's own reading of the environment is off (it would send loopback through HTTP_PROXY); loopback is never proxied.
A proxy's URL may hold a password, so no repr shows it. Concurrency: immutable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from urllib.parse import unquote, urlsplit, urlunsplit

from mountfs.errors import ConfigError
from mountfs.transport.messages import PORTS
from mountfs.transport.rules import address_of, is_loopback

_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy: its URL without user and password, and these apart."""

    url: str
    auth: tuple[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Proxies:
    """The environment's proxies: ``https`` for https URLs, ``http`` for others; ``bypass``: NO_PROXY's words."""

    https: Proxy | None = None
    http: Proxy | None = None
    bypass: tuple[str, ...] = ()

    def choose(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        """The proxy for a URL, None for a direct connection."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None or is_loopback(host) or self._bypassed(host.lower().rstrip("."), port or PORTS.get(scheme)):
            return None
        return proxy

    def _bypassed(self, host: str, port: int | None) -> bool:
        return any(_matches(word, host, port) for word in self.bypass)


def _matches(word: str, host: str, port: int | None) -> bool:
    """NO_PROXY as curl reads it: a name and its subdomains, an address, a network (10.0.0.0/8), ``*``, ``:port``."""
    if word == "*":
        return True
    address = address_of(host)
    if address is not None and "/" in word:
        try:
            return address in ip_network(word, strict=False)
        except ValueError:
            return False
    name, colon, tail = word.rpartition(":")
    if colon and tail.isdecimal() and not (":" in name and not name.endswith("]")):
        if int(tail) != port:
            return False
        word = name
    word = word.strip("[]")
    if address is not None:
        return address_of(word) == address
    word = word.removeprefix("*").removeprefix(".")
    return bool(word) and (host == word or host.endswith("." + word))


def from_environment(environ: Mapping[str, str]) -> Proxies:
    """Reads the variables (lower case wins, as in curl). Raises ConfigError for a proxy URL that is none."""

    def first(*names: str) -> str:
        return next((environ[name] for name in names if environ.get(name)), "")

    fallback = ("all_proxy", "ALL_PROXY")
    words = first("no_proxy", "NO_PROXY").replace(",", " ").split()
    return Proxies(
        https=_proxy(first("https_proxy", "HTTPS_PROXY", *fallback)),
        http=_proxy(first("http_proxy", "HTTP_PROXY", *fallback)),
        bypass=tuple(word.lower().rstrip(".") for word in words),
    )


def _proxy(text: str) -> Proxy | None:
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if not host or parts.scheme not in _SCHEMES:
        raise ConfigError(
            "the proxy named in the environment is not a URL we can use",
            advice="write http://HOST:PORT into HTTPS_PROXY (and HTTP_PROXY, ALL_PROXY), or unset it",
        )
    netloc = f"[{host}]" if ":" in host else host
    if port is None:
        port = {"http": 80, "https": 443}.get(parts.scheme, 1080)
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    return Proxy(urlunsplit((parts.scheme, f"{netloc}:{port}", "", "", "")), auth)
