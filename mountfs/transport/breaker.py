"""The breaker: when a service cannot be reached at all, say so at once instead of letting everybody wait for it.

It counts only failures to reach the service (connect, DNS, TLS, no first byte), from at least three different
file-system requests in a row: what one of them has fetched at a time, and all its attempts, fail together. Any HTTP
answer closes it. While it is open a probe goes out at least every 5 seconds, as soon as somebody asks (design §2).

Concurrency: plain synchronous state, one instance a provider and kind of host; every method is one step of one task.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mountfs.errors import ServiceError

REQUESTS_TO_OPEN = 3
PROBE_EVERY = 5.0


@dataclass(slots=True)
class Breaker:
    """Closed while ``cause`` is None or fewer than three requests failed. Times are seconds of the trio clock."""

    _failing: set[object] = field(default_factory=set)
    _cause: ServiceError | None = None
    _probed: float = float("-inf")

    @property
    def open(self) -> bool:
        """Whether requests are being answered without being sent."""
        return len(self._failing) >= REQUESTS_TO_OPEN

    @property
    def cause(self) -> ServiceError | None:
        """The last failure to reach the service; None after any answer."""
        return self._cause

    def admit(self, now: float) -> ServiceError | None:
        """None: send it (open: as the probe). Else why not: what ``failed`` was told, a copy of its own."""
        if not self.open or self._cause is None:
            return None
        if now - self._probed >= PROBE_EVERY:
            self._probed = now
            return None
        return self._cause.again()

    def failed(self, request: object, cause: ServiceError, now: float) -> None:
        """The service was not reached by an attempt on behalf of ``request``. ``cause`` will be given to other
        requests, so its words are about the service alone."""
        self._cause = cause
        if not self.open:
            self._failing.add(request)
            self._probed = now

    def answered(self) -> None:
        """Any HTTP answer, a 500 too."""
        self._failing.clear()
        self._cause = None
