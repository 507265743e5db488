"""The transport of one provider: questions to its API, archive bytes from wherever they lie.

    ask    -> Answer for every status that is an answer (2xx, 3xx, 4xx); raises for the rest, after retries
    fetch  -> Body for 200, 204 and a 206 that counts; raises Refused, RangeRefused, NotModified, SnapshotLost, …

Every call has an absolute deadline (trio's clock), which bounds it to the head of its answer: queue, attempts, pauses.
Questions and transfers have connections of their own, so that downloads never hold up a lookup. What goes wrong ends
as one ``ServiceError`` whose words hold no key, no path and no query of a URL.

Concurrency: many tasks on one trio loop; ``async with`` opens and closes it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self, cast
from urllib.parse import urlencode

import httpx
import trio

from mountfs.errors import BadAnswer, ServiceError, ServiceFailed, SnapshotLost, Throttled
from mountfs.model import Validator
from mountfs.transport import ranges, retries
from mountfs.transport.body import ENCODINGS, Body, BodyFacts
from mountfs.transport.connect import RESOLVER_THREADS, PooledTransport
from mountfs.transport.failures import AGAIN
from mountfs.transport.messages import (
    Answer,
    Auth,
    NotModified,
    Question,
    RangeRefused,
    Refused,
    Target,
    Want,
    origin_of,
)
from mountfs.transport.quiet import silence
from mountfs.transport.rules import HostRules
from mountfs.transport.scrub import error_text, scrub, store_code
from mountfs.transport.sender import (
    Arrival,
    AttemptFailed,
    Call,
    Hop,
    Line,
    NetworkSettings,
    Sender,
    Surroundings,
    discard,
)
from mountfs.transport.statistics import Statistics

ERROR_BODY = 64 << 10
"""Bytes of an error's body that are looked at."""
ERROR_PATIENCE = 3.0
"""Seconds its words are waited for."""
CLOSE_PATIENCE = 3.0
"""Seconds closing may take: a send that is stuck must not hold up the end."""
PARSE_IN_THREAD = 128 << 10
"""Bytes of JSON above which parsing (about 10 ms a MiB) leaves the loop."""
USER_AGENT = "mountfs"


@dataclass(frozen=True, slots=True)
class Service:
    """Who a transport talks to. ``name``: the provider's, for messages. ``error_fields``: where the service puts its
    error text, the first that holds any wins."""

    name: str
    base_url: str
    auth: Auth
    error_fields: tuple[str, ...] = ("error", "message", "detail")


class Transport:
    """``async with Transport(service, settings) as transport: …``"""

    def __init__(self, service: Service, settings: NetworkSettings, around: Surroundings | None = None) -> None:
        base = httpx.URL(service.base_url.rstrip("/"))
        self._service = service
        self._settings = settings
        self._around = around or Surroundings()
        self._rules = HostRules(origin_of(base), settings.allow_private_archive_hosts)
        self._sender = Sender(base, service.auth, self._rules, settings, self._around)
        self._threads = trio.CapacityLimiter(1)
        make = self._around.http or self._pools()
        self._questions = Line(make(), settings.max_connections)
        self._transfers = Line(make(), settings.max_connections)

    def _pools(self) -> Callable[[], httpx.AsyncBaseTransport]:
        return functools.partial(
            PooledTransport,
            tls=self._around.tls or ssl.create_default_context(),
            limiter=trio.CapacityLimiter(RESOLVER_THREADS),
            accepts=self._rules.accepts_address,
            proxies=self._around.proxies,
            resolve=self._around.resolve,
            keep=self._settings.max_connections,
        )

    async def __aenter__(self) -> Self:
        silence()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes every connection; transfers under way end with an error."""
        with trio.move_on_after(CLOSE_PATIENCE, shield=True):
            await self._questions.http.aclose()
            await self._transfers.http.aclose()

    @property
    def base_url(self) -> str:
        """The API's address without a final slash."""
        return str(self._sender.base)

    def statistics(self) -> Statistics:
        """The figures now."""
        return self._sender.counters.snapshot(
            waiting=self._questions.waiting + self._transfers.waiting,
            breaker_open=self._sender.api_breaker.open,
        )

    # -- questions -----------------------------------------------------------------------------------------------

    async def ask(self, question: Question, *, deadline: float) -> Answer:
        """The API's answer, whatever its status below 500 but 408 and 429. ``data`` is JSON wherever a 200 came.

        Raises Unreachable, DeadlineExceeded, ServiceFailed (5xx after retries), Throttled, BadAnswer (no JSON in a
        200, redirects to another host, TLS), ``question.too_large``.
        """
        call = Call(self._subject(question.what), deadline)
        headers = {"accept": "application/json", "accept-encoding": "gzip, deflate", "user-agent": USER_AGENT}
        body = b""
        if question.json is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(question.json).encode()
        headers |= question.headers
        url = self.base_url + question.path + ("?" + urlencode(question.query) if question.query else "")

        async def attempt() -> Answer:
            async with self._questions.places:
                hop = Hop(httpx.URL(url), question.method, headers, body, authorised=True)
                arrival = await self._sender.follow(self._questions, hop, call, abroad=False)
                try:
                    return await self._read(arrival, question, call)
                except ServiceError as error:
                    # A body that broke off may come whole the next time; one that is wrong stays wrong.
                    raise AttemptFailed(error, passing=not isinstance(error, BadAnswer), answered=True) from error
                finally:
                    await arrival.response.aclose()

        return await self._sender.persist(call, attempt)

    async def _read(self, arrival: Arrival, question: Question, call: Call) -> Answer:
        if arrival.status >= 400:
            answer = await self._explain(arrival, call)
            self._raise_if_passing(answer, call)
            return answer
        body = self._body(arrival, self._whole(arrival, call), call)
        whole = bytearray()
        async for chunk in body:
            whole += chunk
            if len(whole) > question.limit:
                long = f"{call.what}: the answer is longer than {question.limit >> 20} MiB"
                raise AttemptFailed(question.too_large(long, advice=self._less(question)), passing=False)
        data = None
        if arrival.status == 200:
            data = await self._parse(bytes(whole), call)
        return Answer(arrival.status, arrival.headers, data)

    def _less(self, question: Question) -> str:
        """What to do about an answer that is too long."""
        if question.too_large is BadAnswer:
            return "check base_url: this may not be the service"
        return f"set list = false and pin session ids: sessions = [...] under [providers.{self._service.name}]"

    async def _parse(self, text: bytes, call: Call) -> object:
        try:
            if len(text) <= PARSE_IN_THREAD:
                return json.loads(text)
            return await trio.to_thread.run_sync(json.loads, text, abandon_on_cancel=True, limiter=self._threads)
        except (ValueError, RecursionError):
            pass  # not the cause of ours: a JSONDecodeError keeps the whole text, credentials and all
        raise BadAnswer(
            f"{call.what}: the service answered something that is not JSON",
            advice="check base_url: this may be a web page's address",
            status=200,
        )

    # -- archive bytes -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def fetch(
        self,
        target: Target,
        want: Want | None = None,
        *,
        pin: Validator | None = None,
        if_none_match: Validator | None = None,
        deadline: float,
    ) -> AsyncIterator[Body]:
        """Archive bytes. ``want`` None: all. ``pin``: the version they must be of. ``if_none_match``: raise NotModified
        if it is still this one. The deadline bounds all until the body starts.

        Raises what ``ask`` raises; Refused (another 4xx), RangeRefused (416), NotModified (304), SnapshotLost (412, or
        another version than ``pin``). A server may answer a range with everything: see ``Body.partial``.
        """
        call = Call(self._subject(target.what), deadline)
        url = self._url(target, call)
        headers = {"accept": "*/*", **target.headers, "accept-encoding": "identity", "user-agent": USER_AGENT}
        headers |= _conditions(want, pin, if_none_match)

        async def attempt() -> tuple[Arrival, Body]:
            await self._transfers.places.acquire()
            arrival: Arrival | None = None
            try:
                hop = Hop(url, target.method, headers, target.body, authorised=target.authorised)
                arrival = await self._sender.follow(self._transfers, hop, call, abroad=True)
                return arrival, await self._judge(arrival, want, pin, call)
            except BaseException:
                self._transfers.places.release()
                if arrival is not None:
                    await discard(arrival.response)
                raise

        arrival, body = await self._sender.persist(call, attempt)
        self._sender.counters.transfers += 1
        try:
            yield body
        finally:
            self._sender.counters.transfers -= 1
            self._transfers.places.release()
            await body.settle()
            await arrival.response.aclose()

    def _url(self, target: Target, call: Call) -> httpx.URL:
        try:
            return httpx.URL(target.url).copy_with(fragment=None)
        except httpx.InvalidURL:  # its words may hold the URL, so it is no cause of ours
            raise BadAnswer(f"{call.what}: the service names an archive URL that is none") from None

    async def _judge(self, arrival: Arrival, want: Want | None, pin: Validator | None, call: Call) -> Body:
        """The body, or the reason why there is none."""
        match arrival.status:
            case 200 | 203 | 204 | 206:
                facts = self._facts(arrival, want, call)
                if pin is not None and _differs(pin, facts):
                    raise self._lost(call, arrival.status)
                return self._body(arrival, facts, call)
            case 304:
                raise NotModified
            case 412:
                raise self._lost(call, 412)
            case 416:
                total = ranges.unsatisfied_total(arrival.headers)
                raise RangeRefused(f"{call.what}: the range was refused", status=416, total=total)
        answer = await self._explain(arrival, call)
        self._raise_if_passing(answer, call)
        says = f" ({answer.text})" if answer.text else ""
        raise Refused(
            f"{call.what}: {call.host} answered {answer.status}{says}",
            answer=answer,
            archive_host=arrival.archive_host,
            ranged=want is not None,
        )

    def _facts(self, arrival: Arrival, want: Want | None, call: Call) -> BodyFacts:
        facts = self._whole(arrival, call)
        if arrival.status == 204:
            return replace(facts, stop=0, total=0)
        if arrival.status != 206:
            return facts
        if want is None or facts.encoded:
            raise RangeRefused(f"{call.what}: a part came where none can be used", status=206)
        try:
            span, total = ranges.served(want, arrival.headers)
        except BadAnswer as error:
            wrong = BadAnswer(f"{call.what}: {call.host}: {error.message}", advice=AGAIN, status=206)
            raise AttemptFailed(wrong, passing=True, answered=True) from error
        return replace(facts, start=span.start, stop=span.stop, total=total, partial=True)

    def _whole(self, arrival: Arrival, call: Call) -> BodyFacts:
        """What a head says of a body that is everything."""
        encoding = arrival.headers.get("content-encoding", "").strip().lower()
        encoded = encoding not in ("", "identity")
        if encoded and encoding not in ENCODINGS:
            wrong = BadAnswer(f"{call.what}: {call.host} sent a content encoding nobody asked for", advice=AGAIN)
            raise AttemptFailed(wrong, passing=False, answered=True)
        length = None if encoded else ranges.content_length(arrival.headers)
        return BodyFacts(
            stop=length,
            total=length,
            validator=ranges.validator_of(arrival.headers),
            encoded=encoded,
            content_type=arrival.headers.get("content-type", "")[:100],
            status=arrival.status,
            location=str(arrival.moved) if arrival.moved is not None and arrival.archive_host else None,
        )

    def _body(self, arrival: Arrival, facts: BodyFacts, call: Call) -> Body:
        stream = arrival.response.stream
        return Body(facts, aiter(cast("httpx.AsyncByteStream", stream)), what=call.what, count=self._count)

    def _count(self, size: int) -> None:
        self._sender.counters.bytes_received += size

    # -- refusals ------------------------------------------------------------------------------------------------

    async def _explain(self, arrival: Arrival, call: Call) -> Answer:
        """An error's words: the API's from the right field, of an archive host the code alone."""
        start = bytearray()
        # The status stands, whatever becomes of the body.
        with contextlib.suppress(ServiceError, AttemptFailed), trio.move_on_after(ERROR_PATIENCE):
            async for chunk in self._body(arrival, self._whole(arrival, call), call):
                start += chunk
                if len(start) > ERROR_BODY:
                    break
        if arrival.archive_host:
            return Answer(arrival.status, arrival.headers, text=store_code(bytes(start)))
        try:
            data = json.loads(bytes(start))
        except (ValueError, RecursionError):
            data = None
        words = scrub(error_text(data, self._service.error_fields), self._secrets)
        return Answer(arrival.status, arrival.headers, data=data, text=words)

    def _raise_if_passing(self, answer: Answer, call: Call) -> None:
        """Ends the attempt where the status may pass by itself, or is the server's own failure."""
        status = answer.status
        if status < 500 and status not in retries.PASSING:
            return
        wait = retries.retry_after(answer.headers, self._around.wall())
        says = f": {answer.text}" if answer.text else ""
        message = f"{call.what}: {call.host} answered {status}{says}"
        if status == 429 or (status == 503 and wait is not None):
            patience = "a while" if wait is None else f"{wait:.0f} s"
            error: ServiceError = Throttled(
                message,
                advice=f"wait {patience}, or lower max_connections under [network]",
                status=status,
                retry_after=wait,
            )
        else:
            error = ServiceFailed(message, advice="the service has a problem: try again later", status=status)
        raise AttemptFailed(error, passing=status in retries.PASSING, answered=True, retry_after=wait)

    def _lost(self, call: Call, status: int) -> SnapshotLost:
        return SnapshotLost(
            f"{call.what}: the archive has changed", advice="open the file again to get the new one", status=status
        )

    def _subject(self, what: str) -> str:
        return f"{self._service.name}: {what}"

    @property
    def _secrets(self) -> tuple[str, ...]:
        key = self._service.auth.key
        return () if key is None else (key.reveal(),)

    def record(self, error: ServiceError) -> None:
        """Remembers an error made from an ``Answer`` as the last one, for ``statistics``."""
        self._sender.counters.failed(error, self._around.wall())


def _differs(pin: Validator, facts: BodyFacts) -> bool:
    """Whether a body must not stand for the pinned version. A part proves itself, as strongly as it was pinned (two
    versions may share a Last-Modified); a whole body may keep silent."""
    if facts.partial and pin.strong and not facts.validator.strong:
        return True
    if facts.partial or facts.validator != Validator():
        return not pin.agrees(facts.validator)
    return False


def _conditions(want: Want | None, pin: Validator | None, if_none_match: Validator | None) -> dict[str, str]:
    """The headers of a range and of preconditions (RFC 9110 §13.1). Weak tags cannot stand in If-Match."""
    headers: dict[str, str] = {}
    if want is not None:
        headers["range"] = ranges.range_header(want)
    if pin is not None and pin.etag is not None and not pin.etag.startswith("W/"):
        headers["if-match"] = pin.etag
    if if_none_match is not None:
        if if_none_match.etag is not None:
            headers["if-none-match"] = if_none_match.etag
        elif if_none_match.last_modified is not None:
            headers["if-modified-since"] = if_none_match.last_modified
    return headers
