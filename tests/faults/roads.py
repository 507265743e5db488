"""What lies between us and a service that has a name: name servers, TLS, a proxy in the environment.

``PLAIN``: loopback by its address, as all other tests have it. ``NAMED``: https by a name, which a name server of the
test's resolves. ``PROXIED``: https by names that only the proxy in the environment can resolve.

Concurrency: ``Names`` is asked in threads of the transport's; a test changes it from another.
"""

from __future__ import annotations

import enum
import ssl
import threading
import time
from dataclasses import dataclass, field

from certificates import Certificate

API, STORE, PRIVATE = "api.test", "store.test", "private.test"
ALIAS = "alias.test"
"""The API again: what is cached of it under one name is not shown under the other."""
HOSTS = tuple(f"DNS:{name}" for name in (API, ALIAS, STORE))


class Way(enum.Enum):
    """How a service is reached."""

    PLAIN = "http to an address"
    NAMED = "https to a name"
    PROXIED = "https through a proxy"


@dataclass
class Road:
    """Certificates for every host here: one that is trusted, and one that is nobody's."""

    right: Certificate
    wrong: Certificate
    trust: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self.trust = self.right.trusting()


class Names:
    """A name server. ``known``: False, it knows nobody; ``silent()``: it does not answer, until ``heal()``; ``delay``:
    seconds every answer takes, as on a machine that has no time for the thread that asks."""

    def __init__(self) -> None:
        self.known = True
        self.delay = 0.0
        self._answering = threading.Event()
        self._answering.set()

    def silent(self) -> None:
        self._answering.clear()

    def heal(self) -> None:
        self.known = True
        self._answering.set()

    @property
    def answering(self) -> bool:
        """Whether who asks now is answered."""
        return self._answering.is_set()

    def resolve(self, host: str, _port: int) -> list[str]:
        """Blocks, as getaddrinfo does."""
        self._answering.wait()
        time.sleep(self.delay)
        if not self.known:
            raise OSError("no such name")
        return {PRIVATE: ["10.1.2.3"], "127.0.0.1": ["127.0.0.1"]}.get(host, ["127.0.0.1"])

    def refuse(self, host: str, _port: int) -> list[str]:
        """For a client that has a proxy to ask: only the proxy's own address is known here."""
        if host != "127.0.0.1":
            raise OSError("the proxy should ask that")
        return [host]
