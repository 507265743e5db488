"""Questions: answers, retries, deadlines and the breaker, on a scripted network and a clock that jumps."""

from __future__ import annotations

import contextlib
import json
import ssl
from email.utils import formatdate

import httpcore
import pytest
import trio
from clients import HANGS, KEY, Eager, Says, Scripted, network, run_virtually, scripted

from mountfs.errors import (
    BadAnswer,
    DeadlineExceeded,
    ListingTooLarge,
    ServiceError,
    ServiceFailed,
    Throttled,
    Unreachable,
)
from mountfs.model import REQUEST, Request
from mountfs.transport import Answer, Question
from mountfs.transport.connect import NameNotResolved, ProxyUnreachable

QUESTION = Question("/v1/things", "the list of things")


def ask(net: Scripted, *, seconds: float = 100.0, question: Question = QUESTION, retries: int = 4) -> Answer:
    async def main() -> Answer:
        async with scripted(net, net=network(retries=retries)) as transport:
            return await transport.ask(question, deadline=trio.current_time() + seconds)

    return run_virtually(main)


def test_a_question_carries_the_key_and_asks_for_json() -> None:
    """And names no other secret; the body of a POST is JSON."""
    net = Scripted(Says(chunks=(b'{"a":', b"1}")))
    answer = ask(net, question=Question("/x", "x", method="POST", json={"q": 1}, query=(("a", "b&c"),)))
    (request,) = net.requests
    assert answer.data == {"a": 1}
    assert str(request.url) == "https://api.test/x?a=b%26c"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["accept"] == "application/json"
    assert json.loads(request.content) == {"q": 1}
    assert net.closed == 1


def test_a_refusal_is_an_answer_with_its_words() -> None:
    """The one who asked knows what a 404 means here."""
    net = Scripted(Says(404, chunks=(b'{"error": "no such thing; key ' + KEY.encode() + b'"}',)))
    answer = ask(net)
    assert (answer.status, answer.text) == (404, "no such thing; key …")
    assert len(net.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    """With growing pauses: half to the whole of 0.5, 1, 2 s."""
    net = Scripted(Says(status), Says(status), Says(status), Says())
    assert ask(net).status == 200
    pauses = [after - before for before, after in zip(net.times, net.times[1:], strict=False)]
    assert [low <= pause <= 2 * low for low, pause in zip((0.25, 0.5, 1.0), pauses, strict=True)] == [True] * 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 501])
def test_what_does_not_pass_is_asked_once(status: int) -> None:
    """409 means "not ready": the session's business. 501 is the server's last word."""
    net = Scripted(Says(status, chunks=(b'{"error": "why"}',)))
    if status < 500:
        assert ask(net).status == status
    else:
        with pytest.raises(ServiceFailed, match="answered 501: why"):
            ask(net)
    assert len(net.requests) == 1


def test_retries_end_with_the_last_answers_error() -> None:
    """After the configured number."""
    net = Scripted(Says(500), Says(502, chunks=(b'{"error": "bad gateway"}',)))
    with pytest.raises(
        ServiceFailed, match=r"the list of things: https://api\.test answered 502: bad gateway"
    ) as caught:
        ask(net, retries=2)
    assert caught.value.status == 502
    assert len(net.requests) == 3


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", ["30", formatdate(1_800_000_030, usegmt=True)], ids=["seconds", "date"])
def test_retry_after_is_obeyed_within_the_deadline(status: int, after: str) -> None:
    """Neither shortened nor ignored."""
    net = Scripted(Says(status, {"Retry-After": after}), Says())

    async def main() -> None:
        async with scripted(net, wall=lambda: 1_800_000_000.0) as transport:
            assert (await transport.ask(QUESTION, deadline=trio.current_time() + 100)).status == 200

    run_virtually(main)
    assert 30 <= net.times[1] - net.times[0] <= 30.2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_retry_after_beyond_the_deadline_is_busy_at_once(status: int) -> None:
    """It says for how long."""
    net = Scripted(Says(status, {"Retry-After": "300"}))

    async def main() -> None:
        async with scripted(net) as transport:
            before = trio.current_time()
            with pytest.raises(Throttled) as caught:
                await transport.ask(QUESTION, deadline=before + 100)
            assert trio.current_time() == before
            assert caught.value.retry_after == 300
            assert caught.value.status == status

    run_virtually(main)


def test_the_last_answer_wins_over_the_deadline() -> None:
    """A service that said 500 and then fell silent is a service that fails, not one that is slow."""
    with pytest.raises(ServiceFailed) as caught:
        ask(Scripted(Says(500), HANGS), seconds=10)
    assert caught.value.status == 500


def test_silence_is_the_deadline() -> None:
    """Even if a connection failed before it: that was no answer."""
    with pytest.raises(DeadlineExceeded, match=r"https://api\.test gave no answer in time"):
        ask(Scripted(httpcore.ConnectError(), HANGS), seconds=10)


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (httpcore.ConnectError(), Unreachable),
        (httpcore.ConnectTimeout(), Unreachable),
        (httpcore.ProxyError(), Unreachable),
        (httpcore.ReadTimeout(), DeadlineExceeded),
        (httpcore.ReadError(), ServiceFailed),
        (httpcore.RemoteProtocolError(), ServiceFailed),
        (httpcore.LocalProtocolError(), BadAnswer),
    ],
)
def test_every_failure_of_the_network_becomes_one_of_ours(cause: Exception, error: type[ServiceError]) -> None:
    """The cause is chained, and the words name host and subject."""
    with pytest.raises(error) as caught:
        ask(Scripted(cause))
    assert type(caught.value) is error
    assert caught.value.__cause__ is cause
    assert caught.value.message.startswith("svc: the list of things: https://api.test: ")


def test_a_broken_body_is_asked_for_again() -> None:
    """A list that broke off may come whole the next time."""
    net = Scripted(Says(chunks=(b"[1,", httpcore.ReadError())), Says(chunks=(b"[1,2]",)))
    assert ask(net).data == [1, 2]


@pytest.mark.parametrize("body", [b"<html>", b"[" * 200_000, b'{"a": 1', b"\xff\xfe", b""])
def test_what_is_no_json_is_a_bad_answer(body: bytes) -> None:
    """Asked once: it would stay wrong. Nested ten thousand deep is no JSON for us either."""
    net = Scripted(Says(chunks=(body,)))
    with pytest.raises(BadAnswer, match="not JSON"):
        run_in_real_time(net)
    assert len(net.requests) == 1


def run_in_real_time(net: Scripted) -> Answer:
    """A large body is parsed in a thread, which a clock that jumps does not wait for."""

    async def main() -> Answer:
        async with scripted(net) as transport:
            return await transport.ask(QUESTION, deadline=trio.current_time() + 20)

    return trio.run(main)


def test_a_large_answer_is_parsed_off_the_loop() -> None:
    """And comes out the same."""
    records = [{"id": f"s{number}", "pad": "x" * 100} for number in range(3000)]
    assert run_in_real_time(Scripted(Says(chunks=(json.dumps(records).encode(),)))).data == records


def test_a_body_over_its_bound_ends_there() -> None:
    """A gigabyte of JSON is not waited for; decoded bytes count."""
    net = Scripted(Says(chunks=(b"[", *([b" " * 1000] * 5000))))
    with pytest.raises(ListingTooLarge, match="longer than"):
        ask(net, question=Question("/x", "x", limit=100_000, too_large=ListingTooLarge))
    assert len(net.requests) == 1
    assert net.closed == 1


def test_another_origin_is_never_asked() -> None:
    """The key must not go there, and an answer from there would be somebody else's."""
    net = Scripted(Says(302, {"Location": "https://login.test/?next=1"}))
    with pytest.raises(BadAnswer, match=r"https://api\.test redirects to https://login\.test") as caught:
        ask(net)
    assert "next" not in str(caught.value)
    assert len(net.requests) == 1


def test_a_redirect_within_the_api_is_followed_with_the_key() -> None:
    """As a GET where the status says so."""
    net = Scripted(Says(303, {"Location": "/v2/things"}), Says())
    assert ask(net, question=Question("/v1", "x", method="POST", json={})).status == 200
    assert [request.method for request in net.requests] == ["POST", "GET"]
    assert net.requests[1].headers["authorization"]
    assert "content-type" not in net.requests[1].headers
    assert str(net.requests[1].url) == "https://api.test/v2/things"


def test_a_redirect_loop_ends() -> None:
    """After five."""
    net = Scripted(Says(302, {"Location": "/again"}))
    with pytest.raises(BadAnswer, match="redirects"):
        ask(net)
    assert len(net.requests) == 6


def test_a_dead_service_answers_at_once_and_is_tried_again_soon() -> None:
    """Three requests pay; then one in five seconds does; one answer and all is well."""
    net = Scripted(*[httpcore.ConnectTimeout()] * 6, Says())

    async def main() -> None:
        async with scripted(net, net=network(retries=0), rng=Eager()) as transport:

            async def fails() -> None:
                await trio.sleep(0.001)
                with pytest.raises(Unreachable):
                    await transport.ask(QUESTION, deadline=trio.current_time() + 50)

            for _ in range(3):
                await fails()
            assert len(net.requests) == 3
            assert transport.statistics().breaker_open
            for _ in range(100):
                await fails()
            assert len(net.requests) == 3
            for sent in (4, 5, 6):
                await trio.sleep(5)
                await fails()
                await fails()
                assert len(net.requests) == sent
            await trio.sleep(5)
            for _ in range(2):
                assert (await transport.ask(QUESTION, deadline=trio.current_time() + 50)).status == 200
            assert not transport.statistics().breaker_open

    run_virtually(main)


def test_a_black_hole_opens_the_breaker_too() -> None:
    """Deadlines without a first byte count; also when the caller's own scope ends a moment before."""
    net = Scripted(HANGS)

    async def main() -> None:
        async with scripted(net) as transport:
            for number in range(3):
                deadline = trio.current_time() + 5 + number
                with trio.move_on_at(deadline - 0.01):
                    await transport.ask(QUESTION, deadline=deadline)
            assert transport.statistics().breaker_open
            before = trio.current_time()
            with pytest.raises(DeadlineExceeded) as caught:
                await transport.ask(Question("/other", "session s9"), deadline=before + 50)
            assert trio.current_time() == before
            assert caught.value.message == "svc: session s9: https://api.test gave no answer in time"

    run_virtually(main)


def test_what_one_file_system_request_asks_for_is_one_failure() -> None:
    """A read has several ranges fetched at a time, each under a deadline of its own: that is one request in vain."""
    net = Scripted(httpcore.ConnectError())

    async def main() -> None:
        async with scripted(net, net=network(retries=0)) as transport:

            async def fails(number: int) -> None:
                REQUEST.set(Request(number, 0, "svc/s1"))
                with pytest.raises(Unreachable):
                    await transport.ask(QUESTION, deadline=trio.current_time() + 50)
                await trio.sleep(0.001)

            for number, is_open in [(1, False)] * 5 + [(2, False)] * 5 + [(3, True)]:
                await fails(number)
                assert transport.statistics().breaker_open is is_open

    run_virtually(main)


def test_a_caller_who_goes_away_says_nothing_about_the_service() -> None:
    """Ctrl-C is no failure."""
    net = Scripted(HANGS)

    async def main() -> None:
        async with scripted(net) as transport:
            for number in range(10):
                with trio.move_on_after(1):
                    await transport.ask(QUESTION, deadline=trio.current_time() + 50 + number)
            assert not transport.statistics().breaker_open
            assert transport.statistics().waiting == 0

    run_virtually(main)


def certificate() -> httpcore.ConnectError:
    """As httpcore tells of TLS that fails."""
    error = httpcore.ConnectError("TLS")
    error.__cause__ = ssl.SSLCertVerificationError("unknown CA")
    return error


@pytest.mark.parametrize(
    ("met", "opens"),
    [
        (httpcore.ConnectError(), True),
        (httpcore.ConnectTimeout(), True),
        (NameNotResolved(), True),
        (certificate(), True),
        (ProxyUnreachable(), True),
        (httpcore.ReadTimeout(), True),
        (httpcore.ReadError(), True),
        (httpcore.RemoteProtocolError(), True),
        (Says(500), False),
        (Says(401), False),
        (Says(404), False),
        (Says(429), False),
        (Says(302, {"Location": "https://10.0.0.1/"}), False),
        (Says(chunks=(b"<html>",)), False),
        (Says(chunks=(b"[", httpcore.ReadError())), False),
        (Says(chunks=(b"[", httpcore.ReadTimeout())), False),
    ],
    ids=lambda value: getattr(value, "status", None) or type(value).__name__,
)
def test_what_opens_the_breaker(met: Says | Exception, opens: bool) -> None:
    """Only failures to get a first byte; whatever came after it, the service is there."""

    async def main() -> None:
        async with scripted(Scripted(met), net=network(retries=0)) as transport:
            for number in range(5):
                with contextlib.suppress(ServiceError):
                    await transport.ask(QUESTION, deadline=trio.current_time() + 10 + number)
            assert transport.statistics().breaker_open is opens

    run_virtually(main)


@pytest.mark.parametrize("status", [200, 304, 401, 404, 429, 500, 503])
def test_any_status_is_an_answer_to_the_breaker(status: int) -> None:
    """A service that fails is there."""
    net = Scripted(httpcore.ConnectError(), httpcore.ConnectError(), Says(status), httpcore.ConnectError())

    async def main() -> None:
        async with scripted(net, net=network(retries=0)) as transport:
            for number in range(4):
                with contextlib.suppress(ServiceError):
                    await transport.ask(QUESTION, deadline=trio.current_time() + 10 + number)
            assert len(net.requests) == 4
            assert not transport.statistics().breaker_open

    run_virtually(main)


def test_requests_queue_for_places_under_their_own_deadlines() -> None:
    """``max_connections`` are under way; who waits longer than it may is told so."""
    net = Scripted((10.0, Says()))

    async def main() -> None:
        async with scripted(net, net=network(max_connections=2, retries=0)) as transport:
            results: list[str] = []

            async def one(seconds: float) -> None:
                try:
                    await transport.ask(QUESTION, deadline=trio.current_time() + seconds)
                    results.append("ok")
                except DeadlineExceeded:
                    results.append("late")

            async with trio.open_nursery() as nursery:
                for seconds in (100, 101, 5, 102):
                    nursery.start_soon(one, seconds)
                    await trio.sleep(0.001)
                assert len(net.requests) == 2
                assert transport.statistics().waiting == 2
            assert results == ["late", "ok", "ok", "ok"]
            assert len(net.requests) == 3

    run_virtually(main)


def test_figures_are_kept() -> None:
    """By status, with the last error's words."""
    net = Scripted(Says(500), Says(chunks=(b"[1]",)), Says(404), httpcore.ConnectError("x"))

    async def main() -> None:
        async with scripted(net, net=network(retries=1), wall=lambda: 1234.0) as transport:
            for _ in range(2):
                await transport.ask(QUESTION, deadline=trio.current_time() + 50)
            with pytest.raises(Unreachable):
                await transport.ask(QUESTION, deadline=trio.current_time() + 50)
            figures = transport.statistics()
            assert figures.requests == {500: 1, 200: 1, 404: 1, 0: 2}
            assert figures.retries == 2
            assert figures.bytes_received == 2 + 3 + 2
            assert figures.last_error == "svc: the list of things: https://api.test: cannot connect"
            assert figures.last_error_at == 1234.0

    run_virtually(main)
