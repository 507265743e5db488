"""Metrics over a real socket, from a file system without a mount."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
from drives import World, zip_of
from mounts import free_port
from prometheus_client.parser import text_string_to_metric_families

from mountfs import daemon
from mountfs.config import Config
from mountfs.demo.server import Fakes
from mountfs.errors import MountfsError
from mountfs.filesystem import Filesystem
from mountfs.metrics import Figures, serving
from mountfs.tree.inodes import ROOT

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
Ask = Callable[[bytes], Awaitable[bytes]]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Fakes of this test's own."""
    with Fakes() as fakes:
        yield World(fakes, tmp_path)


def served(config: Config, listen: str, main: Callable[[Filesystem], Awaitable[None]]) -> None:
    """Runs ``main`` while metrics are served; an assertion that fails is raised as it is."""
    failure: list[BaseException] = []

    async def run() -> None:
        with trio.fail_after(30):
            async with daemon.parts(config) as built:
                figures = Figures(built.filesystem, built.store, built.workers, built.memory_use, "1.2.3")
                async with serving(listen, figures):
                    try:
                        await main(built.filesystem)
                    except (AssertionError, MountfsError, OSError) as exc:  # a nursery would wrap it
                        failure.append(exc)

    trio.run(run)
    if failure:
        raise failure[0]


async def ask(listen: str, request: bytes = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> bytes:
    """The whole answer."""
    if listen.startswith("unix:"):
        stream: trio.abc.Stream = await trio.open_unix_socket(listen.removeprefix("unix:"))
    else:
        host, _, port = listen.rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        await stream.send_all(request)
        answer = b""
        async for chunk in stream:
            answer += chunk
    return answer


async def scrape(listen: str) -> Samples:
    """Every sample, read by Prometheus's own parser."""
    head, _, body = (await ask(listen)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(samples: Samples, metric: str, **labels: str) -> float:
    """One sample; it must be there."""
    return samples[metric, frozenset(labels.items())]


async def look(fs: Filesystem, *names: bytes) -> int:
    """Looks names up one after the other; the last one's inode."""
    inode = ROOT
    for name in names:
        attributes, node = await fs.lookup(inode, name)
        fs.nodes.remember(node)
        inode = attributes.inode
    return int(inode)


def test_figures(world: World, tmp_path: Path) -> None:
    """What was asked, moved and held is told, by provider and status; on a socket only its user and group may use."""
    data = bytes(range(256)) * 40
    world.session("dari", zip_of({"a.bin": data}))
    listen = f"unix:{tmp_path}/m.sock"

    async def main(fs: Filesystem) -> None:
        assert stat.S_IMODE(os.stat(tmp_path / "m.sock").st_mode) == 0o660
        before = await scrape(listen)
        assert value(before, "mountfs_provider_received_bytes_total", provider="dari") == 0
        handle = await fs.open(await look(fs, b"dari", b"s_1", b"a.bin"))
        assert await fs.read(handle, 0, 1 << 20) == data
        samples = await scrape(listen)
        assert value(samples, "mountfs_open_handles", type="file") == 1
        await fs.release(handle)
        assert value(samples, "mountfs_read_bytes_total", source="memory") == len(data)
        assert value(samples, "mountfs_read_bytes_total", source="cache") == 0
        assert (
            value(samples, "mountfs_opens_total", waited="yes") + value(samples, "mountfs_opens_total", waited="no")
            == 1
        )
        assert value(samples, "mountfs_provider_received_bytes_total", provider="dari") > 0
        assert value(samples, "mountfs_provider_requests_total", provider="dari", status="200") >= 1
        assert value(samples, "mountfs_provider_answer_seconds_count", provider="dari", status="200") >= 1
        assert value(samples, "mountfs_provider_unreachable", provider="dari") == 0
        assert value(samples, "mountfs_sessions", provider="dari", state="terminal") == 1
        assert value(samples, "mountfs_cache_bytes", cache="memory") == len(data)
        assert value(samples, "mountfs_cache_bytes", cache="disk") > 0
        assert value(samples, "mountfs_cache_max_bytes", cache="disk") == 10 << 30
        assert value(samples, "mountfs_cache_evictions_total") == 0
        assert value(samples, "mountfs_info", version="1.2.3") == 1
        assert ("process_cpu_seconds_total", frozenset[tuple[str, str]]()) in samples

    served(world.config(), listen, main)
    assert not (tmp_path / "m.sock").exists()


def test_operations(world: World) -> None:
    """The kernel's requests are told by kind and errno, their times as a histogram whose counts add up."""
    listen = f"127.0.0.1:{free_port()}"

    async def main(fs: Filesystem) -> None:
        tally = fs.usage.operations["lookup"]
        for seconds, number in ((0.0, 0), (0.002, errno.ENOENT), (0.002, errno.EOPNOTSUPP), (500.0, errno.ETIMEDOUT)):
            tally.add(seconds, number)
        samples = await scrape(listen)
        for name in ("ok", "ENOENT", "EOPNOTSUPP", "ETIMEDOUT"):
            assert value(samples, "mountfs_operations_total", kind="lookup", errno=name) == 1
        for bound, count in (("0.0001", 1), ("0.001", 1), ("0.003", 3), ("120.0", 3), ("+Inf", 4)):
            assert value(samples, "mountfs_operation_seconds_bucket", kind="lookup", le=bound) == count
        assert value(samples, "mountfs_operation_seconds_sum", kind="lookup") == pytest.approx(500.004)

    served(world.config(), listen, main)


def test_failures(world: World) -> None:
    """A service's failures are told by status; nothing of session, path or key is in any figure."""
    world.fakes.dari.add("s_hidden", zip_of({"secret-name.txt": b"x"}))
    world.fakes.dari.fail_next(503, 1)
    listen = f"127.0.0.1:{free_port()}"

    async def main(fs: Filesystem) -> None:
        with pytest.raises(MountfsError):
            await fs.opendir(await look(fs, b"dari", b"s_hidden"))
        text = (await ask(listen)).decode()
        assert 'mountfs_provider_requests_total{provider="dari",status="503"} 1.0' in text
        for secret in ("hidden", "secret-name", world.fakes.dari.key, world.fakes.dari.url):
            assert secret not in text

    served(world.config(), listen, main)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /metrics?name=x HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n", b"200"),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"\x16\x03\x01\r\n\r\n", b"405"),
        (b"x" * (64 << 10), b""),
    ],
)
def test_requests(world: World, request_: bytes, status: bytes) -> None:
    """What a client may send is answered in kind, and metrics are served after it."""
    listen = f"127.0.0.1:{free_port()}"

    async def main(_fs: Filesystem) -> None:
        try:
            answer = await ask(listen, request_)
        except trio.BrokenResourceError:  # it was cut off
            answer = b""
        assert answer[9:12] == status
        if request_.startswith(b"HEAD"):
            assert answer.endswith(b"\r\n\r\n")
        if b"openmetrics" in request_:
            assert answer.endswith(b"# EOF\n")
        assert await scrape(listen)

    served(world.config(), listen, main)


def test_many_clients(world: World) -> None:
    """Clients that connect and say nothing take no place from the file system, and go."""
    listen = f"127.0.0.1:{free_port()}"

    async def main(fs: Filesystem) -> None:
        silent = [await trio.open_tcp_stream("127.0.0.1", int(listen.rpartition(":")[2])) for _ in range(40)]
        assert await fs.getattr(ROOT)
        for stream in silent[17:]:  # more than may wait: closed at once
            assert await stream.receive_some() == b""
        for stream in silent:
            await stream.aclose()
        while not (await ask(listen)):  # noqa: ASYNC110 - the server sees them go
            await trio.sleep(0.01)

    served(world.config(), listen, main)


def test_port_taken(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An address in use is one line in the log; the mount goes on without metrics."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with caplog.at_level(logging.WARNING):
            served(world.config(), listen, _root)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"metrics are not served on {listen}: {os.strerror(errno.EADDRINUSE)}; "
        "give each mount a metrics.listen of its own"
    )


def test_socket_in_the_way(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A dead daemon's socket is replaced; a live one's, and what is no socket, is left as it is."""
    path = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def main(_fs: Filesystem) -> None:
        assert await scrape(f"unix:{path}")

    served(world.config(), f"unix:{path}", main)
    path.write_text("precious")
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(tmp_path / "live.sock"))
        live.listen()
        with caplog.at_level(logging.WARNING):
            for taken in (path, tmp_path / "live.sock"):
                served(world.config(), f"unix:{taken}", _root)
    assert ["metrics are not served" in record.getMessage() for record in caplog.records] == [True, True]
    assert path.read_text() == "precious"
    assert (tmp_path / "live.sock").exists()


def test_package_missing(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without prometheus-client one line says what to install; the mount goes on."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "mountfs.metrics.collector", raising=False)
    with caplog.at_level(logging.WARNING):
        served(world.config(), f"unix:{tmp_path}/m.sock", _root)
    (record,) = caplog.records
    assert record.getMessage() == (
        "metrics are not served: prometheus-client is not installed; run pip install 'mountfs[metrics]', "
        "or remove metrics.listen"
    )


async def _root(fs: Filesystem) -> None:
    assert await fs.getattr(ROOT)
