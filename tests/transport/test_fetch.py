"""Archive bytes over real HTTP, from fakes and through the fault-injecting proxy."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from clients import KEY, Says, Scripted, around, network, run, run_virtually, scripted, soon

from mountfs.config.secret import Secret
from mountfs.demo.fake import Recorded
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.server import Fakes
from mountfs.demo.sockets import Unanswered
from mountfs.demo.steps import (
    Answer,
    BlackHole,
    Dribble,
    Gzip,
    Header,
    Redirect,
    Reset,
    Stall,
    Surplus,
    Truncate,
    changed_etag,
    wrong_range,
)
from mountfs.demo.store import FakeObject
from mountfs.demo.wire import Step
from mountfs.errors import (
    BadAnswer,
    DeadlineExceeded,
    ServiceError,
    ServiceFailed,
    SnapshotLost,
    Throttled,
    Unreachable,
)
from mountfs.model import Span, Validator
from mountfs.transport import (
    Auth,
    Body,
    NotModified,
    RangeRefused,
    Refused,
    Service,
    Suffix,
    Target,
    Transport,
    Want,
)

DATA = bytes(range(256)) * 4096  # 1 MiB
LIMIT = len(DATA) + 1000


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Fakes, Proxy]]:
    with Fakes() as fakes, Proxy(fakes.store.url) as proxy:
        yield fakes, proxy


@pytest.fixture
def fakes(shared: tuple[Fakes, Proxy]) -> Fakes:
    made, proxy = shared
    made.store.public_url = proxy.url
    made.store.ranges, made.store.etags = True, "strong"
    made.clear_requests()
    return made


@pytest.fixture
def proxy(shared: tuple[Fakes, Proxy], fakes: Fakes) -> Iterator[Proxy]:
    """In front of the store."""
    shared[1].clear()
    yield shared[1]
    shared[1].clear()


def url_of(fakes: Fakes, data: bytes = DATA, key: str = "a/b.zip") -> str:
    return fakes.store.sign(key, FakeObject(lambda: data))


def transport(fakes: Fakes, **net: Any) -> Transport:
    service = Service("svc", fakes.dari.url, Auth("Authorization", "Bearer {key}", Secret(KEY)))
    return Transport(service, network(**net), around())


def fetch(
    fakes: Fakes, want: Want | None = None, *, url: str = "", seconds: float = 10.0, net: dict[str, Any] | None = None,
    look: Callable[[Body], None] = lambda _: None, **more: Any
) -> bytes:  # fmt: skip
    """The bytes of one fetch."""

    async def main() -> bytes:
        async with transport(fakes, **(net or {})) as made:
            target = Target(url or url_of(fakes), "session s1")
            async with made.fetch(target, want, deadline=soon(seconds), **more) as body:
                look(body)
                return await body.read(LIMIT)

    return run(main)


def ranges_sent(requests: list[Recorded]) -> list[str | None]:
    return [request.range for request in requests]


def test_everything(fakes: Fakes) -> None:
    """A 200 is the whole body, with its length and version."""

    def look(body: Body) -> None:
        assert (body.start, body.stop, body.total, body.partial) == (0, len(DATA), len(DATA), False)
        assert body.validator.strong
        assert not body.encoded

    assert fetch(fakes, look=look) == DATA
    (request,) = fakes.store.requests
    assert request.headers["accept-encoding"] == "identity"
    assert fakes.store.leaks() == []


@pytest.mark.parametrize(
    ("want", "start", "stop"),
    [(Span(100, 5000), 100, 5000), (Suffix(1000), len(DATA) - 1000, len(DATA)), (Suffix(2 * len(DATA)), 0, len(DATA))],
)
def test_a_part(fakes: Fakes, want: Want, start: int, stop: int) -> None:
    """A 206 says where it lies, and brings just that."""

    def look(body: Body) -> None:
        assert (body.start, body.stop, body.total, body.partial) == (start, stop, len(DATA), True)

    assert fetch(fakes, want, look=look) == DATA[start:stop]


def test_a_server_without_ranges_gives_everything(fakes: Fakes) -> None:
    """That is the whole body: it is not asked for again."""
    fakes.store.ranges = False
    assert fetch(fakes, Span(100, 200), look=lambda body: _assert(not body.partial)) == DATA
    assert len(fakes.store.requests) == 1


def _assert(true: bool) -> None:
    assert true


def test_a_range_beyond_the_end_tells_the_length(fakes: Fakes) -> None:
    """416 with ``bytes */N``."""
    with pytest.raises(RangeRefused) as caught:
        fetch(fakes, Span(len(DATA) + 5, len(DATA) + 6))
    assert caught.value.total == len(DATA)


def test_the_pin_holds(fakes: Fakes) -> None:
    """If-Match with the tag; another version is SnapshotLost, by 412 or by its own tag."""
    url = url_of(fakes)
    tags: list[Validator] = []
    fetch(fakes, Span(0, 10), url=url, look=lambda body: tags.append(body.validator))
    assert fetch(fakes, Span(0, 10), url=url, pin=tags[0]) == DATA[:10]
    assert fakes.store.requests[-1].headers["if-match"] == tags[0].etag
    with pytest.raises(SnapshotLost):
        fetch(fakes, Span(0, 10), url=url, pin=Validator(etag='"other"'))


def test_a_changed_tag_on_a_part_is_not_joined(fakes: Fakes, proxy: Proxy) -> None:
    """Also where the server ignores If-Match, or sends no tag at all."""
    tags: list[Validator] = []
    fetch(fakes, Span(0, 10), look=lambda body: tags.append(body.validator))
    for step in (changed_etag(), Header("etag", None)):
        proxy.inject(step, times=None)
        with pytest.raises(SnapshotLost):
            fetch(fakes, Span(0, 10), pin=tags[0])
        proxy.clear()


def test_a_weak_tag_is_never_sent_as_if_match(fakes: Fakes) -> None:
    """It would always fail (RFC 9110 §13.1.1)."""
    fakes.store.etags = "weak"
    tags: list[Validator] = []
    fetch(fakes, look=lambda body: tags.append(body.validator))
    assert not tags[0].strong
    assert fetch(fakes, pin=tags[0]) == DATA
    assert "if-match" not in fakes.store.requests[-1].headers


def test_not_modified(fakes: Fakes) -> None:
    """An outcome of its own: there is no body."""
    tags: list[Validator] = []
    fetch(fakes, look=lambda body: tags.append(body.validator))
    with pytest.raises(NotModified):
        fetch(fakes, Suffix(100), if_none_match=tags[0])
    with pytest.raises(NotModified):
        fetch(fakes, if_none_match=Validator(last_modified=tags[0].last_modified))
    assert fetch(fakes, if_none_match=Validator(etag='"other"')) == DATA


def patience(step: Step) -> float:
    """A read_timeout under which only that fails by silence which is silent, also on a loaded machine."""
    return {BlackHole: 0.2, Stall: 2.0}.get(type(step), 9.0)


@pytest.mark.parametrize(
    ("step", "error", "attempts"),
    [
        (Truncate(5000), ServiceFailed, 1),
        (Reset(5000), ServiceFailed, 1),
        (Stall(5000), DeadlineExceeded, 1),
        (wrong_range(), BadAnswer, 3),
        (Header("content-range", None), BadAnswer, 3),
        (Header("content-encoding", "br"), BadAnswer, 1),
        (Reset(None), ServiceFailed, 3),
        (Answer(500, b"oops"), ServiceFailed, 3),
        (Answer(503, b"slow", {"Retry-After": "3600"}), Throttled, 1),
        (BlackHole(), DeadlineExceeded, 3),
        (Redirect("ftp://x/"), BadAnswer, 1),
        (Redirect("http://127.0.0.1:1/"), Unreachable, 3),
        (Redirect(), BadAnswer, 6),
        (Redirect("http://example.com/x"), BadAnswer, 1),
    ],
)
def test_faults_are_errors(fakes: Fakes, proxy: Proxy, step: Step, error: type[ServiceError], attempts: int) -> None:
    """Each step its own error, after as many requests as make sense; and all is well once it is gone."""
    url = url_of(fakes)
    proxy.inject(step, times=None)
    before = len(proxy.requests)
    with pytest.raises(error) as caught:
        fetch(fakes, Span(0, 100_000), url=url, net={"read_timeout": patience(step), "retries": 2})
    assert type(caught.value) is error
    assert len(proxy.requests) - before == attempts
    assert "Signature" not in str(caught.value)
    assert "a/b.zip" not in str(caught.value)
    proxy.clear()
    assert fetch(fakes, Span(0, 100_000), url=url) == DATA[:100_000]


def test_a_fault_that_passes_is_not_noticed(fakes: Fakes, proxy: Proxy) -> None:
    """Before the body starts."""
    for step in (Reset(None), Answer(503), wrong_range(), BlackHole()):
        proxy.inject(step)
    got = fetch(fakes, Span(0, 1000), net={"retries": 8, "read_timeout": 1.0})
    assert got == DATA[:1000]


def test_surplus_bytes_are_not_given_out(fakes: Fakes, proxy: Proxy) -> None:
    """Never more than was announced."""
    proxy.inject(Surplus())
    assert fetch(fakes, Span(0, 1000)) == DATA[:1000]


def test_an_encoded_body_is_decoded_and_said_to_be(fakes: Fakes, proxy: Proxy) -> None:
    """GCS may do this; there are no ranges of it, so a part so encoded is refused as one."""
    proxy.inject(Gzip(), times=2)
    assert fetch(fakes, look=lambda body: _assert(body.encoded and body.total is None)) == DATA
    with pytest.raises(RangeRefused):
        fetch(fakes, Span(0, 1000))


def test_a_slow_body_lives_as_long_as_it_moves(fakes: Fakes, proxy: Proxy) -> None:
    """The deadline ends with the head; only silence ends a body."""
    proxy.inject(Dribble(interval=0.05, size=10))
    assert fetch(fakes, Span(0, 600), seconds=2.0, net={"read_timeout": 2.0}) == DATA[:600]


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (400, "ExpiredToken"), (404, "NoSuchKey"), (401, "Nope")]
)
def test_a_store_that_refuses_is_told_apart_from_the_api(fakes: Fakes, proxy: Proxy, status: int, code: str) -> None:
    """Of its words only the code is kept."""
    body = f"<Error><Code>{code}</Code><Message>secret {KEY}</Message></Error>"
    proxy.inject(Answer(status, body))
    with pytest.raises(Refused) as caught:
        fetch(fakes)
    assert caught.value.archive_host
    assert caught.value.answer.text == code
    assert KEY not in str(caught.value)


def test_the_apis_own_refusal_has_its_words(fakes: Fakes) -> None:
    """From its own field."""
    fakes.dari.add("gone").gone = True

    async def main() -> None:
        async with transport(fakes) as made:
            target = Target(f"{fakes.dari.url}/v1/sessions/gone/workspace.zip", "session gone", authorised=True)
            with pytest.raises(Refused) as caught:
                async with made.fetch(target, deadline=soon()):
                    pytest.fail("a body")
            assert not caught.value.archive_host

    run(main)
    assert fakes.dari.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_a_redirect_to_a_store_leaves_the_key_behind(fakes: Fakes) -> None:
    """And tells where it led, for the next time."""
    url = url_of(fakes)
    fakes.dari.inject(Redirect(url))

    async def main() -> None:
        async with transport(fakes) as made:
            target = Target(f"{fakes.dari.url}/v1/anything", "session s", authorised=True)
            async with made.fetch(target, Span(0, 10), deadline=soon()) as body:
                assert body.location == url
                assert await body.read(LIMIT) == DATA[:10]

    run(main)
    assert "authorization" in fakes.dari.requests[-1].headers
    assert fakes.store.leaks() == []
    assert ranges_sent(fakes.store.requests) == ["bytes=0-9"]


def test_a_redirect_back_to_the_api_gets_no_key() -> None:
    """Whoever sends us there may choose the path."""
    net = Scripted(
        Says(302, {"Location": "https://store.test/x"}), Says(302, {"Location": "https://api.test/v1/delete"}), Says()
    )

    async def main() -> None:
        async with scripted(net) as made:
            target = Target("https://api.test/zip", "session s", authorised=True)
            async with made.fetch(target, deadline=soon()):
                pass

    run_virtually(main)
    assert ["authorization" in request.headers for request in net.requests] == [True, False, False]


def test_refused_connections(fakes: Fakes, proxy: Proxy) -> None:
    """Unreachable; and reachable again when it listens."""
    url = url_of(fakes)
    proxy.mode = Mode.REFUSE
    with pytest.raises(Unreachable, match="cannot connect"):
        fetch(fakes, url=url)
    proxy.mode = Mode.SERVE
    assert fetch(fakes, url=url) == DATA


def test_an_address_that_never_answers(fakes: Fakes) -> None:
    """Ends by connect_timeout."""
    with Unanswered() as nowhere, pytest.raises(Unreachable, match="connect_timeout"):
        fetch(fakes, url=nowhere.url, net={"connect_timeout": 0.2, "retries": 0})


def test_no_tls_where_tls_is_due(fakes: Fakes, proxy: Proxy) -> None:
    """A bad answer, tried once."""
    proxy.mode = Mode.NO_TLS
    before = proxy.connections
    with pytest.raises(BadAnswer, match="TLS failed"):
        fetch(fakes, url=f"{proxy.https_url}/x")
    assert proxy.connections - before == 1


def test_leaving_in_the_middle_frees_the_place_and_warns_of_nothing(fakes: Fakes) -> None:
    """By break, by an error, by cancellation: no generator is left to the garbage collector, no place is lost."""
    url = url_of(fakes)

    async def main() -> None:
        async with transport(fakes, max_connections=1) as made:
            target = Target(url, "session s")
            for _ in range(3):
                async with made.fetch(target, deadline=soon()) as body:
                    assert made.statistics().transfers == 1
                    async for _chunk in body:
                        break
                with contextlib.suppress(ZeroDivisionError):
                    async with made.fetch(target, deadline=soon()) as body:
                        await anext(aiter(body))
                        raise ZeroDivisionError
                with trio.CancelScope() as scope:
                    async with made.fetch(target, deadline=soon()) as body:
                        await anext(aiter(body))
                        scope.cancel()
                        await trio.sleep_forever()
            assert made.statistics().transfers == 0
            gc.collect()
            async with made.fetch(target, deadline=soon()) as body:
                assert await body.read(LIMIT) == DATA

    run(main)


def test_small_bodies_share_a_connection(fakes: Fakes, proxy: Proxy) -> None:
    """A handshake a range would double the latency."""
    url = url_of(fakes)
    before = proxy.connections

    async def main() -> None:
        async with transport(fakes) as made:
            for number in range(10):
                async with made.fetch(Target(url, "s"), Span(number, number + 10), deadline=soon()) as body:
                    await body.read(LIMIT)

    run(main)
    assert proxy.connections - before == 1


def test_a_reader_that_stops_at_its_last_byte_keeps_the_connection(fakes: Fakes, proxy: Proxy) -> None:
    """It does not ask for the end; nor do outcomes without a body cost a connection."""
    url = url_of(fakes)
    before = proxy.connections

    async def main() -> None:
        async with transport(fakes) as made:
            target = Target(url, "s")
            for _ in range(5):
                got = 0
                async with made.fetch(target, Span(0, 300_000), deadline=soon()) as body:
                    async for chunk in body:
                        got += len(chunk)
                        if got == 300_000:
                            break
                with pytest.raises(NotModified):
                    async with made.fetch(target, if_none_match=body.validator, deadline=soon()):
                        pass
                with pytest.raises(SnapshotLost):
                    async with made.fetch(target, Span(0, 9), pin=Validator(etag='"x"'), deadline=soon()):
                        pass
                with pytest.raises(RangeRefused):
                    async with made.fetch(target, Span(2 * LIMIT, 3 * LIMIT), deadline=soon()):
                        pass

    run(main)
    assert proxy.connections - before == 1


def test_transfers_never_hold_up_questions(fakes: Fakes, proxy: Proxy) -> None:
    """All places taken by bodies nobody reads, and a question is answered."""
    fakes.dari.add("s1")
    url = url_of(fakes)
    proxy.inject(Stall(10), times=None)

    async def main() -> None:
        from mountfs.transport import Question

        async with transport(fakes, max_connections=2) as made, trio.open_nursery() as nursery:

            async def hold(task_status: trio.TaskStatus[None]) -> None:
                async with made.fetch(Target(url, "s"), deadline=soon()):
                    task_status.started()
                    await trio.sleep_forever()

            for _ in range(2):
                await nursery.start(hold)
            with pytest.raises(DeadlineExceeded):
                async with made.fetch(Target(url, "s"), deadline=soon(0.2)):
                    pass
            await made.ask(Question("/v1/sessions", "the list"), deadline=soon(5))
            nursery.cancel_scope.cancel()

    run(main)
