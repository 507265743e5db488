"""All fakes on loopback, over real HTTP, in a thread of their own.

    with Fakes() as fakes:
        fakes.dari.add("sess_1", zip_bytes)
        httpx.get(f"{fakes.dari.url}/v1/sessions", headers={"authorization": f"Bearer {fakes.dari.key}"})
        assert len(fakes.dari.requests) == 1

Each fake is an origin (127.0.0.1 and a port) of its own. hypercorn's connection handler runs over listeners of ours,
since its own gives no way to reset a connection, nor to end one whose client does not read (it shields its sends).

Concurrency: one trio loop in one thread serves all; ``with`` starts and stops it from sync code. Leaving the context
closes every connection at once, answered or not.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from starlette.types import Scope

from mountfs.demo.browserbase import FakeBrowserbase
from mountfs.demo.dari import FakeDari
from mountfs.demo.fake import EMPTY_ZIP, Fake
from mountfs.demo.kaizen import FakeKaizen
from mountfs.demo.samples import BASE, SAMPLES, Sample
from mountfs.demo.sockets import abort
from mountfs.demo.store import FakeStore
from mountfs.demo.threads import Loop

Sections = Mapping[str, Mapping[str, object]]


class Connections:
    """The open connections of one listener by the client's address, so that one can be cut from inside a request."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], trio.SocketStream] = {}

    def add(self, stream: trio.SocketStream) -> None:
        self._open[_peer(stream.socket.getpeername())] = stream

    def discard(self, stream: trio.SocketStream) -> None:
        self._open = {peer: each for peer, each in self._open.items() if each is not stream}

    def cut(self, scope: Scope, reset: bool) -> None:
        """Ends the connection a request came by."""
        stream = self._open.get(_peer(scope["client"]))
        if stream is not None:
            abort(stream, reset=reset)

    async def close_when_cancelled(self) -> None:
        """Closes them all at the end: a send to a client that does not read is shielded, and would last for ever."""
        try:
            await trio.sleep_forever()
        finally:
            for stream in self._open.values():
                abort(stream, reset=False)


class Fakes:
    """The three services and the object store; a context manager.

    ``samples``: a directory where the demo's archives are made on first use; None: no sessions at all. ``pending``:
    seconds until a sample that is not ready at first can be had. ``wall``: the clock they sign and stamp by.
    """

    def __init__(
        self,
        samples: str | Path | None = None,
        *,
        pending: float = 10.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store = FakeStore(wall=wall)
        self.kaizen = FakeKaizen(self.store, wall=wall)
        self.dari = FakeDari(wall=wall)
        self.browserbase = FakeBrowserbase(self.store, wall=wall)
        self._loop = Loop("mountfs-fakes")
        for sample in SAMPLES if samples is not None else ():
            fake = next(each for each in self.services if each.name == sample.provider)
            _load(fake, sample, Path(samples or ""), pending)

    @property
    def services(self) -> tuple[Fake, ...]:
        """The three that have an API."""
        return (self.kaizen, self.dari, self.browserbase)

    @property
    def all(self) -> tuple[Fake, ...]:
        return (*self.services, self.store)

    def __enter__(self) -> Self:
        self._loop.start(self._serve)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.stop()

    def clear_requests(self) -> None:
        """Of every fake."""
        for fake in self.all:
            fake.clear_requests()

    def config(
        self,
        cache_dir: str | Path,
        *,
        keys_dir: str | Path | None = None,
        providers: Iterable[str] = ("kaizen", "dari", "browserbase"),
        sections: Sections | None = None,
    ) -> str:
        """A configuration (design.md §4) that points at these fakes, as TOML text.

        ``keys_dir``: where key files are written, 0600 (default: the parent of ``cache_dir``). ``sections``: keys to
        add or replace, by table name: ``{"network": {"deadline": "2s"}, "providers.dari": {"paths": ["logs"]}}``.
        """
        where = Path(keys_dir) if keys_dir is not None else Path(cache_dir).parent
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        tables: dict[str, dict[str, object]] = {"cache": {"dir": str(cache_dir)}}
        for fake in self.services:
            if fake.name in providers:
                tables[f"providers.{fake.name}"] = {
                    "type": fake.name,
                    "base_url": fake.url,
                    "api_key_file": str(_key_file(where / f"{fake.name}.key", fake.key)),
                }
        for name, keys in (sections or {}).items():
            tables.setdefault(name, {}).update(keys)
        return "\n".join(_table(name, keys) for name, keys in tables.items())

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        config = Config()
        config.accesslog = None
        config.errorlog = logging.getLogger("mountfs.demo")
        config.include_server_header = False
        config.keep_alive_timeout = 3600
        config.keep_alive_max_requests = 1_000_000
        async with trio.open_nursery() as nursery:
            for fake in self.all:
                await nursery.start(partial(_listen, fake, config))
            task_status.started(None)


async def _listen(fake: Fake, config: Config, *, task_status: trio.TaskStatus[None]) -> None:
    """Serves one fake until cancelled."""
    connections = Connections()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
    port: int = listener.socket.getsockname()[1]
    app = ASGIWrapper(fake.connect(f"http://127.0.0.1:{port}", connections.cut))  # type: ignore[arg-type]

    async def handle(stream: trio.SocketStream) -> None:
        try:
            connections.add(stream)
        except OSError:  # gone before we looked
            return
        try:
            await TCPServer(app, config, WorkerContext(None), ConnectionState({}), stream)  # type: ignore[arg-type]
        finally:
            connections.discard(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connections.close_when_cancelled)
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        task_status.started(None)


def _load(fake: Fake, sample: Sample, directory: Path, pending: float) -> None:
    """Adds one of the demo's sessions."""
    archive = EMPTY_ZIP if sample.state == "empty" else partial(sample.archive, directory)
    session = fake.add(sample.id, archive)
    session.status = sample.status or fake.ended_well
    session.created = BASE.timestamp()
    session.started = session.created + 1
    session.updated = session.created + 3600
    session.ended = session.updated if sample.ended else None
    session.gone = sample.state == "gone"
    if sample.state == "pending":
        session.ready_in(pending)


def _peer(address: tuple[str, int]) -> tuple[str, int]:
    return (address[0], address[1])


def _key_file(path: Path, key: str) -> Path:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(key + "\n")
    return path


def _table(name: str, keys: Mapping[str, object]) -> str:
    """One TOML table; JSON's strings, numbers, booleans and arrays are TOML's too."""
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
    return "\n".join([f"[{name}]", *lines, ""])
