"""What all fakes share: the record, the script of faults, latency, bandwidth, a server that starts and stops."""

from __future__ import annotations

import socket
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trio

from mountfs.demo import steps
from mountfs.demo.fake import Fake
from mountfs.demo.server import Fakes
from mountfs.demo.store import FakeObject
from mountfs.demo.wire import Ask, Rule, Script

Auth = Callable[[Fake], dict[str, str]]


def test_every_request_is_recorded(fakes: Fakes, client: httpx.Client, auth: Auth, archive: bytes) -> None:
    """Method, path, query, range, headers, body, status and bytes; also of what no route takes."""
    fakes.dari.add("s 1", archive)
    client.get(f"{fakes.dari.url}/v1/sessions/s%201/workspace.zip?path=logs", headers=auth(fakes.dari))
    client.get(f"{fakes.dari.url}/else", headers={"range": "bytes=0-1"})
    client.post(f"{fakes.kaizen.url}/executions/list", content=b"{}", headers=auth(fakes.kaizen))
    first, second = fakes.dari.requests
    assert (first.method, first.path, first.query) == ("GET", "/v1/sessions/s%201/workspace.zip", "path=logs")
    assert first.status == 200
    assert first.bytes_sent > 22
    assert first.headers["authorization"] == f"Bearer {fakes.dari.key}"
    assert (second.status, second.range) == (404, "bytes=0-1")
    assert fakes.kaizen.requests[0].body == b"{}"
    assert fakes.store.requests == []
    fakes.clear_requests()
    assert fakes.dari.requests == fakes.kaizen.requests == []


def test_a_test_can_wait_for_requests(fakes: Fakes, client: httpx.Client) -> None:
    """With a bound, never a sleep."""
    asker = threading.Thread(target=client.get, args=(f"{fakes.dari.url}/v1/sessions",))
    asker.start()
    assert fakes.dari.wait_requests(1)[0].path == "/v1/sessions"
    asker.join()
    with pytest.raises(TimeoutError, match="dari: 1 of 2 requests"):
        fakes.dari.wait_requests(2, timeout=0.01)


def test_latency_bandwidth_and_how_many_at_once(fakes: Fakes) -> None:
    """Requests overlap while they wait; ``peak`` says how many did."""
    fakes.store.latency = 0.2
    fakes.store.bandwidth = 1_000_000
    url = fakes.store.sign("x", FakeObject(lambda: bytes(range(250)) * 200))

    async def main() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client, trio.open_nursery() as nursery:

            async def ask() -> None:
                assert (await client.get(url)).content == bytes(range(250)) * 200

            for _ in range(8):
                nursery.start_soon(ask)

    trio.run(main)
    assert fakes.store.peak > 1
    assert fakes.store.bytes_sent() == 400_000


def test_a_script_takes_one_limited_rule_a_request() -> None:
    """In the order given; rules without a limit apply besides; a rule that does not match is left."""
    script = Script()
    script.add(Rule(steps.Delay(1), times=None))
    script.add(Rule(steps.Answer(500), times=2))
    script.add(Rule(steps.Answer(404), path="/other"))
    script.add(Rule(steps.Answer(416), ranged=True))
    taken = [[type(step).__name__ for step in script.take(Ask("GET", "/x"))] for _ in range(3)]
    assert taken == [["Answer", "Delay"], ["Answer", "Delay"], ["Delay"]]
    assert script.take(Ask("GET", "/other/1"))[0] == steps.Answer(404)
    assert script.take(Ask("GET", "/x", headers={"range": "bytes=0-"}))[0] == steps.Answer(416)
    script.clear()
    assert script.take(Ask("GET", "/x")) == ()


def test_a_black_hole_lets_go_when_the_client_leaves(fakes: Fakes, client: httpx.Client) -> None:
    """A request that is never answered ends with its connection; an endless body too."""
    fakes.dari.inject(steps.BlackHole())
    with pytest.raises(httpx.ReadTimeout):
        client.get(fakes.dari.url, timeout=0.05)
    fakes.dari.inject(steps.Endless(b'{"sessions": ['))
    with client.stream("GET", fakes.dari.url) as answer:
        assert next(answer.iter_raw()).startswith(b'{"sessions": [')
    bound = time.monotonic() + 5
    while fakes.dari.active and time.monotonic() < bound:
        time.sleep(0.005)
    assert fakes.dari.active == 0


def test_a_flood_has_the_size_it_is_told(fakes: Fakes, client: httpx.Client) -> None:
    """JSON that is too large to take."""
    fakes.dari.inject(steps.Endless(b"[", size=1_000_000))
    with client.stream("GET", fakes.dari.url) as answer:
        assert sum(len(chunk) for chunk in answer.iter_raw()) >= 1_000_000


def test_redirects_and_headers(fakes: Fakes, client: httpx.Client) -> None:
    """To another place, to itself for ever, and a header replaced or taken away."""
    url = fakes.store.sign("x", FakeObject(lambda: b"data"))
    fakes.store.inject(steps.Redirect("https://example.org/x"))
    assert client.get(url).headers["location"] == "https://example.org/x"
    fakes.store.inject(steps.Redirect(), times=None)
    with pytest.raises(httpx.TooManyRedirects):
        client.get(url, follow_redirects=True)
    fakes.store.script.clear()
    fakes.store.inject(steps.changed_etag('"z"'))
    assert client.get(url).headers["etag"] == '"z"'
    fakes.store.inject(steps.Header("ETag", None))
    assert "etag" not in client.get(url).headers
    fakes.store.inject(steps.IgnoreRange())
    assert client.get(url, headers={"range": "bytes=0-0"}).content == b"data"


def test_stopping_does_not_wait_for_anyone() -> None:
    """Neither for a request that is never answered, nor for a client that does not read."""
    before = set(threading.enumerate())  # others' fakes may run for a whole session of tests
    with Fakes() as fakes, socket.socket() as silent, socket.socket() as deaf:
        url = fakes.store.sign("x", FakeObject(lambda: bytes(64 << 20)))
        fakes.dari.inject(steps.BlackHole())
        silent.connect(("127.0.0.1", int(fakes.dari.url.rpartition(":")[2])))
        silent.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", int(fakes.store.url.rpartition(":")[2])))
        deaf.sendall(f"GET {url.removeprefix(fakes.store.url)} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        fakes.dari.wait_requests(1)
        fakes.store.wait_requests(1)
    assert not [each for each in set(threading.enumerate()) - before if each.name == "mountfs-fakes"]


def test_fakes_work_from_a_trio_program(fakes: Fakes, archive: bytes, auth: Auth) -> None:
    """Real sockets: any client, any loop."""
    fakes.dari.add("s1", archive)

    async def main() -> bytes:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = await client.get(f"{fakes.dari.url}/v1/sessions/s1/workspace.zip", headers=auth(fakes.dari))
            return answer.content

    assert trio.run(main) == archive


def test_a_configuration_points_at_the_fakes(fakes: Fakes, tmp_path: Path) -> None:
    """Key files are 0600; sections are added or replaced."""
    text = fakes.config(
        tmp_path / "cache",
        sections={"network": {"deadline": "2s"}, "providers.dari": {"paths": ["logs"], "list": False}},
    )
    made = tomllib.loads(text)
    assert set(made["providers"]) == {"kaizen", "dari", "browserbase"}
    assert made["providers"]["dari"]["paths"] == ["logs"]
    assert made["providers"]["dari"]["base_url"] == fakes.dari.url
    assert made["network"]["deadline"] == "2s"
    key = Path(made["providers"]["dari"]["api_key_file"])
    assert key.read_text().strip() == fakes.dari.key
    assert key.stat().st_mode & 0o777 == 0o600
    assert set(tomllib.loads(fakes.config(tmp_path / "c", providers=["dari"]))["providers"]) == {"dari"}
