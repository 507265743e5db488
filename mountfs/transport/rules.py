"""Where archive bytes may come from (design §5, network rules): https, to a public address.

An archive's URL is a service's word, and a service may be made to say "http://169.254.169.254/". So a URL that is not
the API's own origin must be https and lead to a public address; a literal address is judged by its URL, a name by
what it resolves to, at the moment of connecting (so a name that changes its mind is judged again).
Loopback APIs (the demo, tests) may send anybody to loopback. Concurrency: pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from mountfs.transport.messages import Origin

_NAT64 = ip_network("64:ff9b::/96")


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """The literal address a host is, None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine by its form alone."""
    address = address_of(host)
    if address is not None:
        return _embedded(address).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def is_public(address: str) -> bool:
    """Whether an address is one of the Internet's: no private, loopback, link-local, multicast or reserved one, also
    not inside a mapped, 6to4, Teredo or NAT64 address."""
    inner = _embedded(ip_address(address.partition("%")[0]))
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


@dataclass(frozen=True, slots=True)
class HostRules:
    """One provider's rules. ``api``: the origin of its base URL, which the user chose and which is always allowed."""

    api: Origin
    allow_private: bool = False

    @property
    def local(self) -> bool:
        """Whether the API itself is on this machine."""
        return is_loopback(self.api.host)

    def objection(self, origin: Origin) -> str:
        """Why this URL may not be asked for; empty if it may be, as far as its text tells."""
        if origin == self.api:
            return ""
        loopback = is_loopback(origin.host)
        if origin.scheme != "https" and not (loopback and (self.local or self.allow_private)):
            return f"{origin} is not https"
        literal = address_of(origin.host)
        if loopback or (literal is not None and not is_public(str(literal))):
            return "" if self.local or self.allow_private else f"{origin} is a private address"
        return ""

    def accepts_address(self, host: str, address: str) -> bool:
        """Whether a connection for ``host`` may go to this address, which its name resolved to."""
        return host == self.api.host or self.local or self.allow_private or is_public(address)
