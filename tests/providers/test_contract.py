"""One suite for every provider that is found through the door: what the layers above rely on, whichever service it is.

A new provider joins by a row in ``BENCHES``; one that is found and has no row fails the first test.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import trio
from clients import around, network, provider, run, settings, soon

from mountfs.config.schema import ProviderSettings
from mountfs.demo.fake import Fake
from mountfs.demo.server import Fakes
from mountfs.demo.steps import Answer, BlackHole, Endless
from mountfs.errors import (
    Absent,
    AccessDenied,
    BadAnswer,
    DeadlineExceeded,
    KeyRejected,
    ListingTooLarge,
    ListingUnsupported,
    NoKey,
    NotReady,
    RequestRefused,
    ServiceError,
    ServiceFailed,
    Throttled,
    Unreachable,
)
from mountfs.model import Phase, SessionInfo
from mountfs.providers import Provider, available, load, make
from mountfs.transport import Suffix

T = TypeVar("T")
DATA = b"PK\x05\x06" + bytes(18) + b"not really a zip, but nobody here looks inside" * 100


@dataclass(frozen=True)
class Bench:
    """A provider's fake, and what its service cannot do. ``tells_status``: by a question about one session;
    ``refuses_unready``: 409 rather than an empty zip."""

    fake: Callable[[Fakes], Fake]
    ids: tuple[str, str]
    live: str = ""
    tells_status: bool = True
    refuses_unready: bool = True


UUIDS = ("0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002")
BENCHES = {
    "kaizen": Bench(lambda fakes: fakes.kaizen, ("sess_1", "sess_2"), "InProgress", tells_status=False),
    "dari": Bench(lambda fakes: fakes.dari, ("sess_1", "sess_2"), "active"),
    "browserbase": Bench(lambda fakes: fakes.browserbase, UUIDS, "RUNNING", refuses_unready=False),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Fakes]:
    with Fakes() as made:
        yield made


@pytest.fixture
def fakes(served: Fakes) -> Fakes:
    for fake in served.all:
        fake.sessions.clear()
        fake.script.clear()
    served.clear_requests()
    return served


@pytest.fixture(params=sorted(BENCHES))
def bench(request: pytest.FixtureRequest) -> Bench:
    return BENCHES[request.param]


@pytest.fixture
def fake(fakes: Fakes, bench: Bench) -> Fake:
    return bench.fake(fakes)


def using(fake: Fake, question: Callable[[Provider], Awaitable[T]], **changes: Any) -> T:
    """Opens a provider, asks, closes."""

    async def main() -> T:
        async with provider(fake, **({"list": True} | changes)) as made:
            return await question(made)

    return run(main)


def listing(made: Provider) -> Awaitable[tuple[SessionInfo, ...]]:
    return made.sessions(deadline=soon())


def status_of(session_id: str) -> Callable[[Provider], Awaitable[SessionInfo]]:
    return lambda made: made.session(session_id, deadline=soon())


def content_of(session_id: str) -> Callable[[Provider], Awaitable[bytes]]:
    async def read(made: Provider) -> bytes:
        async with made.zip_source(session_id).open(deadline=soon()) as body:
            return await body.read(1 << 20)

    return read


def test_every_provider_found_is_tested_here() -> None:
    """The built-ins come through the same door as plug-ins."""
    assert set(available()) - {"http"} == set(BENCHES)
    assert all(issubclass(load(kind), Provider) and load(kind).type == kind for kind in available())


def test_the_list_has_live_and_ended_sessions(fake: Fake, bench: Bench) -> None:
    """With their times, in seconds; of an unknown status it is said that it is live."""
    done, busy = bench.ids
    fake.add(done).created = fake.sessions[done].started = 1_760_000_000.0
    fake.add(busy).status = "SOMETHING_NEW_2027"
    found = {info.id: info for info in using(fake, listing)}
    assert set(found) == {done, busy}
    assert found[done].phase is Phase.TERMINAL
    assert found[busy].phase is Phase.LIVE
    assert found[done].created == 1_760_000_000.0
    assert len(fake.requests) == 1


def test_a_list_with_strange_records_is_read_all_the_same(fake: Fake, bench: Bench) -> None:
    """Fields may be missing, null or of another type; what has no usable id is left out."""
    done, busy = bench.ids
    fake.add(done).omit = frozenset({"status", "createdAt", "created_at", "startTime", "startedAt", "endedAt"})
    fake.add(busy).extra = {"status": 7, "createdAt": "soon", "created_at": {}, "startTime": [], "updatedAt": True}
    fake.add("../etc")
    fake.add(".hidden")
    found = using(fake, listing)
    assert {info.id for info in found} == {done, busy}
    assert all(info.phase is Phase.LIVE for info in found)


def test_an_empty_list_is_empty(fake: Fake) -> None:
    """Not an error."""
    assert using(fake, listing) == ()


@pytest.mark.parametrize("body", [{"sessions": 7}, "text", {"unexpected": []}, {}])
def test_a_list_of_another_form_is_a_bad_answer(fake: Fake, body: object) -> None:
    """Never "no sessions"."""
    fake.inject(Answer(200, body if isinstance(body, dict) else '"text"'), times=None)
    with pytest.raises(BadAnswer):
        using(fake, listing)


def test_a_list_route_that_is_not_there_is_said_to_be_missing(fake: Fake) -> None:
    """In one clear message that says what to do."""
    fake.fail_next(404, times=9)
    with pytest.raises(ListingUnsupported, match=rf"{fake.name}: this server has no .*list") as caught:
        using(fake, listing)
    assert "sessions = [...]" in caught.value.advice


def test_a_list_without_end_is_cut_off(fake: Fake) -> None:
    """Bounded in bytes, and never asked for twice."""
    fake.inject(Endless(opening=b"[", size=64 << 20))
    with pytest.raises(ListingTooLarge):
        using(fake, listing)
    assert len(fake.requests) == 1


def test_one_session_is_asked_for_alone(fake: Fake, bench: Bench) -> None:
    """One request, no listing; a 409 is a live session."""
    done, busy = bench.ids
    fake.add(done)
    fake.add(busy).status = bench.live
    fake.sessions[busy].ready = False
    assert using(fake, status_of(done)).phase is Phase.TERMINAL
    assert len(fake.requests) == 1
    assert using(fake, status_of(busy)).phase is Phase.LIVE
    assert len(fake.requests) == 2


def test_the_archive_is_what_the_service_has(fake: Fake, bench: Bench) -> None:
    """Byte for byte, after no request that was not needed."""
    fake.add(bench.ids[0], DATA)
    assert using(fake, content_of(bench.ids[0])) == DATA
    assert len(fake.requests) == 1


def test_the_tail_is_enough_where_there_are_ranges(fake: Fake, bench: Bench) -> None:
    """And where there are none, everything comes: the caller sees which."""
    fake.add(bench.ids[0], DATA)

    async def tail(made: Provider) -> tuple[bytes, bool, int | None]:
        async with made.zip_source(bench.ids[0]).open(Suffix(100), deadline=soon()) as body:
            data = await body.read(1 << 20)
            assert body.start == len(DATA) - len(data)
            return data, body.partial, body.total

    for ranges in (True, False):
        fake.ranges = ranges
        data, partial, total = using(fake, tail)
        assert data == (DATA[-100:] if partial else DATA)
        assert not partial or total == len(DATA)
    fake.ranges = False


def test_an_archive_that_is_not_ready_says_so(fake: Fake, bench: Bench) -> None:
    """By NotReady, or by an archive without members; and it becomes ready."""
    fake.add(bench.ids[0], DATA).pending = 1
    if bench.refuses_unready:
        with pytest.raises(NotReady) as caught:
            using(fake, content_of(bench.ids[0]))
        assert caught.value.status == 409
        assert "ready_wait" in caught.value.advice
    else:
        assert len(using(fake, content_of(bench.ids[0]))) == 22
    assert using(fake, content_of(bench.ids[0])) == DATA


ERRORS: tuple[tuple[int, type[ServiceError]], ...] = (
    (400, RequestRefused),
    (401, KeyRejected),
    (402, AccessDenied),
    (403, AccessDenied),
    (404, Absent),
    (410, Absent),
    (418, ServiceFailed),
    (422, RequestRefused),
    (429, Throttled),
    (500, ServiceFailed),
    (501, ServiceFailed),
    (503, ServiceFailed),
)


@pytest.mark.parametrize(("status", "error"), ERRORS)
@pytest.mark.parametrize("question", [status_of, content_of])
def test_every_status_has_its_error(
    fake: Fake, bench: Bench, status: int, error: type[ServiceError], question: Callable[[str], object]
) -> None:
    """For the question about a session and for its archive alike: provider, session, status and the service's words
    are in the message, and what to do about it in the advice."""
    fake.add(bench.ids[0], DATA)
    fake.fail_next(status, times=9)
    with pytest.raises(error) as caught:
        using(fake, question(bench.ids[0]))  # type: ignore[arg-type]
    assert type(caught.value) is error
    assert caught.value.status == status
    message = str(caught.value)
    assert message.startswith(f"{fake.name}: session {bench.ids[0]}: ")
    assert f"answered {status}: injected {status}" in message
    assert caught.value.advice


def test_a_wrong_key_is_rejected_and_not_repeated_in_the_message(fake: Fake, bench: Bench) -> None:
    """Also when the service echoes it."""
    fake.add(bench.ids[0])
    wrong = "wrong-PLANTEDSECRET-1234"
    fake.inject(Answer(401, fake.error_body(401, f"bad key {wrong}")), times=1)
    with pytest.raises(KeyRejected) as caught:
        using(fake, status_of(bench.ids[0]), key=wrong)
    assert wrong not in str(caught.value)
    with pytest.raises(KeyRejected):
        using(fake, status_of(bench.ids[0]), key=wrong)


@pytest.mark.parametrize("question", [listing, status_of("x"), content_of("x")])
def test_without_a_key_nothing_is_asked(fake: Fake, question: Callable[[Provider], Awaitable[object]]) -> None:
    """And the advice names the settings."""
    facts = settings(fake)

    async def main() -> None:
        bare = ProviderSettings(facts.name, facts.type, facts.base_url, None, list=True)
        async with make(bare, network(), around()) as made:
            await question(made)

    with pytest.raises(NoKey) as caught:
        run(main)
    assert "api_key_env" in caught.value.advice
    assert fake.requests == []


def test_a_dead_service_is_unreachable(fake: Fake, bench: Bench) -> None:
    """Not an answer of any kind."""
    with pytest.raises(Unreachable):
        using(fake, status_of(bench.ids[0]), base_url="http://127.0.0.1:1")


def test_silence_ends_by_the_deadline(fake: Fake, bench: Bench) -> None:
    """Whatever read_timeout and retries would allow."""
    fake.inject(BlackHole(), times=None)

    async def brief(made: Provider) -> SessionInfo:
        return await made.session(bench.ids[0], deadline=trio.current_time() + 0.2)

    with pytest.raises(DeadlineExceeded, match=bench.ids[0]):
        using(fake, brief)


def test_the_services_secrets_stay_outside(fake: Fake, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Session JSON holds credentials, URLs are signed, the key is a key: none is in a value, a message, a traceback or
    a log line at DEBUG."""
    caplog.set_level(logging.DEBUG)
    done, busy = bench.ids
    fake.add(done, DATA)
    fake.add(busy).gone = True
    planted = "PLANTED-CREDENTIAL-9876"
    for session in fake.sessions.values():
        session.extra = dict.fromkeys(("connectUrl", "signingKey", "seleniumRemoteUrl", "liveViewUrl"), planted)
    texts = [repr(using(fake, listing)), repr(using(fake, status_of(done)))]
    using(fake, content_of(done))
    for failing in (status_of(busy), content_of(busy)):
        try:
            using(fake, failing)
        except ServiceError:
            texts.append("".join(traceback.format_exception(*sys.exc_info())))
    everything = "\n".join([*texts, caplog.text])
    for secret in (planted, fake.key, "Signature", "X-Amz", "SECRET"):
        assert secret not in everything


def test_the_content_key_is_the_archive_request_without_the_key(fake: Fake) -> None:
    """Another service, another content; another key, another account but the same content."""
    first = provider(fake)
    assert first.content_key == provider(fake, key="other").content_key
    assert first.content_key == provider(fake, base_url=fake.url + "/").content_key
    assert first.content_key != provider(fake, base_url="https://elsewhere.example").content_key
    assert fake.key not in first.content_key
    assert fake.key not in repr(first.service)


PROBES = (".git", ".hidden", ".Trash-1000", "autorun.inf", "HEAD", "node_modules", "Makefile", "pyproject.toml")


def test_names_that_programs_probe_are_not_worth_a_question(fake: Fake, bench: Bench) -> None:
    """Neither is what cannot be an id."""
    made = provider(fake)
    assert all(made.worth_asking(session_id) and made.valid_id(session_id) for session_id in bench.ids)
    assert not any(made.worth_asking(name) for name in (*PROBES, "", "a/b", "a b", "ä", "x" * 129, "..", "-x"))


def test_the_configuration_can_narrow_the_names(fake: Fake) -> None:
    """``id_pattern`` is for the whole name."""
    made = provider(fake, id_pattern="run-[0-9]+")
    assert made.worth_asking("run-12")
    assert not made.worth_asking("run-12x")
    assert made.valid_id("anything")


def test_what_the_configuration_says_is_what_it_is(fake: Fake) -> None:
    """Name, pinned ids, listing on or off; the type's own default where it says nothing."""
    made = provider(fake, name="mine", sessions=("a", "b"), list=False)
    assert (made.name, made.pinned, made.listing) == ("mine", ("a", "b"), False)
    assert provider(fake).listing is (fake.name != "kaizen")
    assert provider(fake).has_status is (fake.name != "kaizen")


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "tab\there"])
def test_a_key_that_no_header_can_carry_is_no_key(fake: Fake, key: str) -> None:
    """Said before any request, without repeating it."""
    with pytest.raises(NoKey, match="characters") as caught:
        using(fake, listing, key=key)
    assert key not in str(caught.value)
    assert fake.requests == []
