"""Sends requests: places, redirects, the breaker and retries. Knows nothing of what an answer means.

A *line* is a set of connections with ``places`` of its own: one for questions, one for transfers. An *attempt* takes
a place, follows redirects by hand, and ends in an ``Arrival`` (an answer's head, its body unread) or in
``AttemptFailed``; ``persist`` repeats attempts as ``retries`` decides, and leaves the place between them.

Credentials are set hop by hop, on hops to the API's origin alone, and never again once a redirect has left it.

Concurrency: many tasks on one trio loop; breakers and counters change in synchronous steps only.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, cast

import httpx
import trio

from mountfs.errors import BadAnswer, DeadlineExceeded, ServiceError, Throttled
from mountfs.model import REQUEST
from mountfs.transport import retries
from mountfs.transport.breaker import Breaker
from mountfs.transport.connect import Resolve, system_addresses
from mountfs.transport.failures import CAUGHT, PRIVATE, explain
from mountfs.transport.messages import Auth, Origin, origin_of
from mountfs.transport.proxies import Proxies
from mountfs.transport.rules import HostRules
from mountfs.transport.statistics import Counters

MAX_REDIRECTS = 5
DISCARD = 16 << 10
DISCARD_PATIENCE = 0.5
"""Bytes and seconds of an unwanted body that are cheaper than a new connection."""
SLACK = 0.05
"""Seconds before a deadline from which an end counts as the deadline's."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TO_GET = frozenset({301, 302, 303})
"""Redirects after which a POST goes on as a GET, as every client does (RFC 9110 §15.4)."""

T = TypeVar("T")


class NetworkSettings(Protocol):
    """What a transport needs of [network]; times in seconds. ``config.Network`` fits."""

    @property
    def connect_timeout(self) -> float: ...
    @property
    def read_timeout(self) -> float: ...
    @property
    def retries(self) -> int: ...
    @property
    def max_connections(self) -> int: ...
    @property
    def allow_private_archive_hosts(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a transport takes from outside, so that a test can give it others. ``wall``: seconds since 1970, for dates
    in headers. ``http``: makes the way to the network of one line; None: pooled connections. ``resolve``: host and
    port -> addresses; it blocks, and runs in a thread. ``tls``: None makes one from the system's trust store."""

    proxies: Proxies = field(default_factory=Proxies)
    tls: ssl.SSLContext | None = None
    http: Callable[[], httpx.AsyncBaseTransport] | None = None
    resolve: Resolve = system_addresses
    wall: Callable[[], float] = time.time
    rng: random.Random = field(default_factory=random.Random)


class AttemptFailed(Exception):
    """One attempt's end. ``passing``: another attempt may succeed. ``at_once``: the second one without
    a pause. ``answered``: the service said so itself."""

    def __init__(
        self,
        error: ServiceError,
        *,
        passing: bool,
        at_once: bool = False,
        answered: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__()
        self.error = error
        self.passing = passing
        self.at_once = at_once
        self.answered = answered
        self.retry_after = retry_after


@dataclass(slots=True)
class Call:
    """One ask or fetch under way. ``host``: where its last attempt went. ``cause``: the file-system request it is for,
    where there is one."""

    what: str
    deadline: float
    host: str = "the service"
    cause: object = field(init=False)

    def __post_init__(self) -> None:
        self.cause = REQUEST.get() or self.deadline


@dataclass(slots=True)
class Hop:
    """One request of a chain of redirects. ``authorised``: it may carry the key, if it goes to the API's origin."""

    url: httpx.URL
    method: str
    headers: dict[str, str]
    body: bytes
    authorised: bool


@dataclass(slots=True)
class Arrival:
    """An answer's head. Whoever has it closes ``response``. ``archive_host``: another origin than the API gave it.
    ``moved``: the URL it came from, where a redirect led there."""

    response: httpx.Response
    headers: Mapping[str, str]
    archive_host: bool
    moved: httpx.URL | None

    @property
    def status(self) -> int:
        return self.response.status_code


def _late(host: str) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{host} gave no answer in time",
        advice="the service is slow, or every connection is in use: raise deadline or max_connections"
        " under [network], or try again",
    )


def _about(call: Call, cause: ServiceError) -> ServiceError:
    """The same failure, of this call."""
    error = type(cause)(f"{call.what}: {cause.message}", advice=cause.advice)
    error.__cause__ = cause.__cause__
    return error


class Line:
    """Connections for one purpose, and the places in front of them."""

    def __init__(self, http: httpx.AsyncBaseTransport, places: int) -> None:
        self.http = http
        self.places = trio.Semaphore(places)

    @property
    def waiting(self) -> int:
        """Tasks in the queue for a place."""
        return self.places.statistics().tasks_waiting


async def discard(response: httpx.Response) -> None:
    """Closes an answer nobody reads. A short one is read to its end first, so that its connection can be used again."""
    try:
        with trio.move_on_after(DISCARD_PATIENCE), contextlib.suppress(*CAUGHT):
            size = 0
            async for chunk in cast("httpx.AsyncByteStream", response.stream):
                size += len(chunk)
                if size > DISCARD:
                    break
    finally:
        await response.aclose()


class Sender:
    """The sending half of a ``Transport``."""

    def __init__(
        self, base: httpx.URL, auth: Auth, rules: HostRules, settings: NetworkSettings, around: Surroundings
    ) -> None:
        self.base = base
        self.counters = Counters()
        self.api_breaker = Breaker()
        self.archive_breaker = Breaker()
        self._auth = auth
        self._rules = rules
        self._settings = settings
        self._around = around
        self._timeouts = {
            "connect": settings.connect_timeout,
            "read": settings.read_timeout,
            "write": settings.read_timeout,
            "pool": None,
        }

    # -- attempts ------------------------------------------------------------------------------------------------

    async def persist(self, call: Call, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempts until one succeeds, is refused for good, or the deadline comes. Raises ServiceError.

        Where the deadline ends it, what the service answered last wins over DeadlineExceeded (design §2).
        """
        failures = 0
        last: AttemptFailed | None = None
        while True:
            with trio.move_on_at(call.deadline) as scope:
                try:
                    return await attempt()
                except AttemptFailed as failure:
                    last = failure
            if scope.cancelled_caught:
                raise self._failed(self._out_of_time(call, last))
            if last is not None:
                failures += 1
                await trio.sleep(self._next(call, last, failures))
                self.counters.retries += 1

    def _next(self, call: Call, last: AttemptFailed, failures: int) -> float:
        """Seconds until the next attempt; raises when there is none."""
        if not last.passing:
            raise self._failed(last.error)
        decision = retries.decide(
            failures=failures,
            retries=self._settings.retries,
            retry_after=last.retry_after,
            now=trio.current_time(),
            deadline=call.deadline,
            rng=self._around.rng,
            at_once=last.at_once,
        )
        if isinstance(decision, retries.Pause):
            return decision.seconds
        if decision.busy and not isinstance(last.error, Throttled):
            raise self._failed(
                Throttled(
                    last.error.message,
                    advice=last.error.advice,
                    status=last.error.status,
                    retry_after=last.retry_after,
                )
            ) from last.error
        raise self._failed(last.error)

    def _out_of_time(self, call: Call, last: AttemptFailed | None) -> ServiceError:
        return last.error if last is not None and last.answered else _about(call, _late(call.host))

    def _failed(self, error: ServiceError) -> ServiceError:
        self.counters.failed(error, self._around.wall())
        return error

    # -- one attempt ---------------------------------------------------------------------------------------------

    async def follow(self, line: Line, hop: Hop, call: Call, *, abroad: bool) -> Arrival:
        """Sends, and follows redirects; to other origins only where ``abroad``. The line's place is the caller's."""
        moved: httpx.URL | None = None
        for _ in range(MAX_REDIRECTS + 1):
            origin = self._permitted(hop.url, call)
            response = await self._send(line, hop, origin, call)
            if response.status_code not in REDIRECTS or "location" not in response.headers:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Arrival(response, headers, origin != self._rules.api or not hop.authorised, moved)
            await discard(response)
            hop = self._redirected(hop, response, origin, call, abroad=abroad)
            moved = hop.url
        loop = BadAnswer(f"{call.what}: more than {MAX_REDIRECTS} redirects", advice="check base_url")
        raise AttemptFailed(loop, passing=False)

    def _permitted(self, url: httpx.URL, call: Call) -> Origin:
        try:
            origin = origin_of(url)
        except ValueError as error:
            wrong = BadAnswer(f"{call.what}: the service names an archive URL that is not http or https")
            raise AttemptFailed(wrong, passing=False) from error
        objection = self._rules.objection(origin)
        if objection:
            wrong = BadAnswer(f"{call.what}: the service sends us to another place: {objection}", advice=PRIVATE)
            raise AttemptFailed(wrong, passing=False)
        return origin

    def _redirected(self, hop: Hop, response: httpx.Response, origin: Origin, call: Call, *, abroad: bool) -> Hop:
        try:
            url = hop.url.join(response.headers["location"]).copy_with(fragment=None)
            target = origin_of(url)
        except (httpx.InvalidURL, ValueError):  # its words may hold the URL, so it is no cause of ours
            wrong = BadAnswer(f"{call.what}: a redirect to something that is no http or https URL")
            raise AttemptFailed(wrong, passing=False) from None
        if target != origin and not abroad:
            wrong = BadAnswer(
                f"{call.what}: {origin} redirects to {target}, where the key must not go", advice="check base_url"
            )
            raise AttemptFailed(wrong, passing=False)
        to_get = response.status_code in TO_GET and hop.method != "GET"
        return Hop(
            url=url,
            method="GET" if to_get else hop.method,
            headers={name: value for name, value in hop.headers.items() if not to_get or name != "content-type"},
            body=b"" if to_get else hop.body,
            authorised=hop.authorised and target == self._rules.api,
        )

    async def _send(self, line: Line, hop: Hop, origin: Origin, call: Call) -> httpx.Response:
        is_api = origin == self._rules.api
        breaker = self.api_breaker if is_api else self.archive_breaker
        started = trio.current_time()
        refused = breaker.admit(started)
        if refused is not None:
            raise AttemptFailed(_about(call, refused), passing=False)
        headers = dict(hop.headers)
        if hop.authorised and is_api:
            headers |= self._auth.headers()
        request = httpx.Request(
            hop.method, hop.url, headers=headers, content=hop.body or None, extensions={"timeout": self._timeouts}
        )
        call.host = str(origin)
        try:
            response = await line.http.handle_async_request(request)
        except trio.Cancelled:
            # By the deadline, not by a caller who went away: the service kept silent. A caller's own scope may end a
            # moment before ours, so about then is good enough.
            if trio.current_time() >= call.deadline - SLACK:
                self.counters.requests[0] += 1
                breaker.failed(call.cause, _late(call.host), trio.current_time())
            raise
        except CAUGHT as error:
            self.counters.requests[0] += 1
            row = explain(error)
            failure = row.error(f"{origin}: {row.says}", advice=row.advice)
            failure.__cause__ = error
            if not row.reached:
                breaker.failed(call.cause, failure, trio.current_time())
            passing = row.passing and not breaker.open
            raise AttemptFailed(_about(call, failure), passing=passing, at_once=row.at_once) from error
        breaker.answered()
        self.counters.answered(response.status_code, trio.current_time() - started)
        return response
