"""Whatever the network does, in whatever order: the right bytes or one of our errors, in time, and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Iterator

import httpcore
import pytest
import trio
from clients import HANGS, Says, Scripted, Step, around, network, run, run_virtually, scripted
from hypothesis import given, settings
from hypothesis import strategies as st

from mountfs.config.secret import Secret
from mountfs.demo.server import Fakes
from mountfs.demo.store import FakeObject
from mountfs.errors import ServiceError, Unreachable
from mountfs.model import Span
from mountfs.transport import Auth, NotModified, Question, Service, Target, Transport

DATA = bytes(range(100))
WANT = Span(10, 40)


def part(**changes: str) -> dict[str, str]:
    return {"Content-Range": "bytes 10-39/100", "Content-Length": "30", "ETag": '"a"'} | changes


GOOD = Says(206, part(), (DATA[10:20], DATA[20:40]))
STEPS: tuple[Step | tuple[float, Step], ...] = (
    GOOD,
    Says(200, {"Content-Length": "100"}, (DATA,)),
    Says(206, part(), (DATA[10:20],)),
    Says(206, part(), (DATA[10:40], b"surplus")),
    Says(206, part(), (DATA[10:20], httpcore.ReadError())),
    Says(206, part(), (DATA[10:20], httpcore.ReadTimeout())),
    Says(206, part(), (DATA[10:20], 50.0, DATA[20:40])),
    Says(206, part(**{"Content-Range": "bytes 0-29/100"}), (DATA[:30],)),
    Says(206, {}, (DATA[10:40],)),
    Says(206, part(**{"Content-Encoding": "gzip"}), (b"x",)),
    Says(200, {"Content-Encoding": "gzip"}, (b"not gzip",)),
    Says(204),
    Says(304),
    Says(302, {"Location": "/elsewhere"}),
    Says(302, {"Location": "https://10.0.0.1/x"}),
    Says(302),
    Says(400),
    Says(403, {}, (b"<Code>AccessDenied</Code>", 50.0)),
    Says(416, {"Content-Range": "bytes */100"}),
    Says(429, {"Retry-After": "3"}),
    Says(429, {"Retry-After": "3000"}),
    Says(500, {}, (httpcore.ReadError(),)),
    Says(503),
    httpcore.ConnectError(),
    httpcore.ConnectTimeout(),
    httpcore.ReadTimeout(),
    httpcore.RemoteProtocolError(),
    HANGS,
    (7.0, GOOD),
    (200.0, GOOD),
)


def _check(error: ServiceError) -> None:
    """It says which session, once."""
    assert error.message.startswith("svc: session s: ")
    assert error.message.count("session s") == 1


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=6),
    seconds=st.sampled_from([0.0, 0.5, 5.0, 100.0]),
    leave=st.none() | st.floats(0, 120),
    seed=st.integers(0, 1000),
)
def test_a_fetch_is_complete_or_an_error_in_time(
    steps: list[Step | tuple[float, Step]], seconds: float, leave: float | None, seed: int
) -> None:
    """To the head by the deadline; with one place only, the next one still gets it."""
    net = Scripted(*steps, GOOD)

    async def main() -> None:
        settings_ = network(max_connections=1, retries=3)
        async with scripted(net, net=settings_, rng=random.Random(seed)) as made:
            started = trio.current_time()
            with trio.move_on_after(float("inf") if leave is None else leave):
                try:
                    target = Target("https://store.test/x", "session s")
                    async with made.fetch(target, WANT, deadline=started + seconds) as body:
                        assert trio.current_time() <= started + seconds
                        got = await body.read(1000)
                        assert got == (b"" if body.status == 204 else DATA[body.start : body.stop])
                except ServiceError as error:
                    _check(error)
                    assert trio.current_time() <= started + seconds + 50.0
                except NotModified:
                    pass
            figures = made.statistics()
            assert (figures.transfers, figures.waiting) == (0, 0)
            net.steps = (GOOD,)
            await trio.sleep(6)
            async with made.fetch(target, WANT, deadline=trio.current_time() + 10) as body:
                assert await body.read(1000) == DATA[10:40]

    run_virtually(main)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=6),
    seconds=st.sampled_from([0.0, 0.5, 5.0, 100.0]),
    leave=st.none() | st.floats(0, 120),
)
def test_a_question_is_answered_or_an_error_in_time(
    steps: list[Step | tuple[float, Step]], seconds: float, leave: float | None
) -> None:
    """By the deadline, its body included."""
    net = Scripted(*steps, Says())

    async def main() -> None:
        async with scripted(net, net=network(max_connections=1, retries=3)) as made:
            started = trio.current_time()
            with trio.move_on_after(float("inf") if leave is None else leave):
                try:
                    answer = await made.ask(Question("/x", "session s"), deadline=started + seconds)
                    assert answer.status != 200 or answer.data == {}
                except ServiceError as error:
                    _check(error)
                assert trio.current_time() <= started + seconds
            net.steps = (Says(),)
            await trio.sleep(6)
            assert (await made.ask(Question("/x", "x"), deadline=trio.current_time() + 10)).data == {}

    run_virtually(main)


def test_a_dead_store_does_not_make_the_api_look_dead() -> None:
    """Each has a breaker of its own."""
    net = Scripted(httpcore.ConnectError())

    async def main() -> None:
        async with scripted(net, net=network(retries=0)) as made:
            for number in range(5):
                target = Target("https://store.test/x", f"session {number}")
                with pytest.raises(Unreachable):
                    async with made.fetch(target, deadline=trio.current_time() + 50 + number):
                        pass
            assert len(net.requests) == 3
            net.steps = (Says(),)
            assert (await made.ask(Question("/x", "x"), deadline=trio.current_time() + 10)).status == 200

    run_virtually(main)


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    with Fakes() as made:
        yield made


def test_a_storm_of_cancellations_loses_no_connection_and_no_place(fakes: Fakes) -> None:
    """Real sockets, moments chosen at random; then everything still works, through the same few places."""
    data = bytes(random.Random(1).randbytes(2 << 20))
    url = fakes.store.sign("x", FakeObject(lambda: data))
    dice = random.Random(5)

    async def main() -> None:
        service = Service("svc", fakes.dari.url, Auth("Authorization", "Bearer {key}", Secret(fakes.dari.key)))
        async with Transport(service, network(max_connections=3), around()) as made:

            async def once() -> None:
                with trio.move_on_after(dice.random() * 0.02):
                    async with made.fetch(Target(url, "s"), deadline=trio.current_time() + 20) as body:
                        assert await body.read(3 << 20) == data
                with trio.move_on_after(dice.random() * 0.005):
                    await made.ask(Question("/v1/sessions", "x"), deadline=trio.current_time() + 20)

            for _ in range(10):
                async with trio.open_nursery() as nursery:
                    for _task in range(12):
                        nursery.start_soon(once)
            assert made.statistics().transfers == 0

            async def whole() -> None:
                async with made.fetch(Target(url, "s"), deadline=trio.current_time() + 20) as body:
                    assert await body.read(3 << 20) == data

            async with trio.open_nursery() as nursery:
                for _task in range(6):
                    nursery.start_soon(whole)

    run(main)
