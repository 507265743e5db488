"""A proxy that spoils what passes between a client and a service, as a script of steps tells it.

    with Proxy(fakes.store.url) as proxy:
        fakes.store.public_url = proxy.url
        proxy.inject(steps.Reset(after=1000), ranged=True)

It speaks HTTP to the service through h11 and writes to the client by hand, so that it can send what no server would.
``mode`` is for the faults below HTTP: a port that refuses, a host that takes connections and never answers, TLS that is
none. An address whose connections are never even made is ``sockets.Unanswered``.

Concurrency: one trio loop in a thread of its own; a test's thread sets ``mode``, adds steps and reads the record. Every
request has an upstream connection of its own; the client's are kept alive.
"""

from __future__ import annotations

import enum
import ssl
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urlsplit

import h11
import trio

from mountfs.demo.fake import Recorded
from mountfs.demo.relay import RECEIVE, forward, question, send_reply
from mountfs.demo.sockets import abort
from mountfs.demo.threads import Loop
from mountfs.demo.wire import Ask, Cut, Rule, Script, Step


class Mode(enum.Enum):
    """What the proxy does with connections."""

    SERVE = "passes requests on"
    REFUSE = "the port is closed: connection refused"
    BLACK_HOLE = "connections are taken, nothing is ever answered, until the mode changes"
    HANG_UP = "connections are taken and closed at once"
    NO_TLS = "a TLS handshake is answered with plain text"


class Proxy:
    """A context manager. ``upstream``: the service's origin. ``tls``: a server context, then ``url`` is https;
    ``NO_TLS`` needs none, only a client that is told https: ``https_url``. ``hosts``: asked to CONNECT, the origins
    that names ("api.test:443") lead to; any other leads to ``upstream``."""

    def __init__(
        self, upstream: str, *, tls: ssl.SSLContext | None = None, hosts: Mapping[str, str] | None = None
    ) -> None:
        self.script = Script()
        self.connections = 0
        """Connections taken so far."""
        self._upstream = urlsplit(upstream)
        self._hosts = {name: urlsplit(origin) for name, origin in (hosts or {}).items()}
        self._tls = tls
        self._mode = Mode.SERVE
        self._changed = trio.Event()
        self._closed = trio.Event()
        self._port = 0
        self._listening: trio.CancelScope | None = None
        self._streams: set[trio.SocketStream] = set()
        self._requests: list[Recorded] = []
        self._lock = threading.Lock()
        self._nursery: trio.Nursery
        self._loop = Loop("mountfs-faults")

    # -- for tests -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._loop.start(self._serve)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def https_url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def inject(
        self, step: Step, *, times: int | None = 1, path: str = "", ranged: bool | None = None, method: str = ""
    ) -> None:
        """Spoils the next ``times`` requests (None: all) whose path contains ``path``; ``ranged``: only those with
        (True) or without (False) a Range."""
        self.script.add(Rule(step, times, path, ranged, method))

    def clear(self) -> None:
        """No faults any more: no steps, and the mode that serves."""
        self.script.clear()
        self.mode = Mode.SERVE

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        """In force when this returns. Open connections are reset, except into and out of a black hole, which keeps
        them silent and then answers, as a network does that heals."""
        self._loop.call(lambda: self._set_mode(mode))

    def present(self, tls: ssl.SSLContext) -> None:
        """Shows another certificate from now on; open connections are reset."""
        self._tls = tls
        self.reset_all()

    def reset_all(self) -> None:
        """Every open connection gets a TCP reset now."""
        self._loop.call(self._reset_all)

    @property
    def requests(self) -> list[Recorded]:
        with self._lock:
            return list(self._requests)

    # -- in the loop ---------------------------------------------------------------------------------------------

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._listen)
            task_status.started(None)
            await trio.sleep_forever()  # while the port refuses, nothing else keeps the nursery open

    async def _listen(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Takes connections until ``_listening`` is cancelled; those taken live on."""
        (listener,) = await trio.open_tcp_listeners(self._port, host="127.0.0.1", backlog=1024)
        self._port = listener.socket.getsockname()[1]
        self._closed = trio.Event()
        with trio.CancelScope() as self._listening:
            task_status.started(None)
            await trio.serve_listeners(self._connection, [listener], handler_nursery=self._nursery)
        self._closed.set()

    async def _set_mode(self, mode: Mode) -> None:
        before, self._mode = self._mode, mode
        if Mode.BLACK_HOLE not in {before, mode}:
            await self._reset_all()
        if mode is Mode.REFUSE and self._listening is not None:
            self._listening.cancel()
            await self._closed.wait()
            self._listening = None
        elif mode is not Mode.REFUSE and self._listening is None:
            await self._nursery.start(self._listen)
        self._changed.set()
        self._changed = trio.Event()

    async def _reset_all(self) -> None:
        for stream in list(self._streams):
            abort(stream, reset=True)

    async def _connection(self, raw: trio.SocketStream) -> None:
        self.connections += 1
        self._streams.add(raw)
        try:
            await self._through_black_hole()
            if self._mode is Mode.NO_TLS:
                await raw.receive_some(RECEIVE)
                await raw.send_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            elif self._mode is Mode.SERVE:
                await self._requests_of(raw)
        except Cut as cut:
            abort(raw, reset=cut.reset)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, OSError):
            pass  # the client left, or was no HTTP: nobody to tell
        finally:
            self._streams.discard(raw)
            with trio.move_on_after(1, shield=True):
                await trio.aclose_forcefully(raw)

    async def _through_black_hole(self) -> None:
        while self._mode is Mode.BLACK_HOLE:
            await self._changed.wait()

    async def _requests_of(self, raw: trio.SocketStream) -> None:
        """One request after the other, as long as the client keeps the connection."""
        stream: trio.abc.Stream = raw
        if self._tls is not None:
            stream = trio.SSLStream(raw, self._tls, server_side=True, https_compatible=True)
        early = b""
        while True:
            ask, early = await question(stream, early)
            if ask is None:
                return
            record = Recorded(ask.method, ask.path, ask.query, dict(ask.headers), ask.body, time.monotonic())
            with self._lock:
                self._requests.append(record)
            await self._through_black_hole()
            if ask.method == "CONNECT" and not self.script.has(ask):
                await self._tunnel(stream, self._hosts.get(ask.path, self._upstream))
                return
            try:
                if not await self._exchange(stream, ask, record):
                    return
            finally:
                record.ended = time.monotonic()

    async def _exchange(self, stream: trio.abc.Stream, ask: Ask, record: Recorded) -> bool:
        """One request and its reply; False if the connection ends with it."""
        steps = self.script.take(ask)
        for step in steps:
            ask = step.ask(ask)
        reply = next((made for step in steps if (made := step.instead(ask)) is not None), None)
        upstream = None
        try:
            if reply is None:
                upstream = await self._open(self._upstream)
                reply = await forward(upstream, ask, self._upstream.netloc)
            for step in steps:
                reply = step.reply(ask, reply)
            return await send_reply(stream, reply, ask, record)
        finally:
            if upstream is not None:
                await trio.aclose_forcefully(upstream)

    async def _open(self, origin: SplitResult) -> trio.SocketStream:
        """A connection to the service; where there is none, the client's ends too."""
        try:
            return await trio.open_tcp_stream(origin.hostname or "", origin.port or 80)
        except OSError as error:
            raise Cut(reset=False) from error

    async def _tunnel(self, stream: trio.abc.Stream, origin: SplitResult) -> None:
        """As a forward proxy: bytes both ways."""
        upstream = await self._open(origin)
        async with upstream:
            await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pipe, stream, upstream, nursery.cancel_scope)
                nursery.start_soon(_pipe, upstream, stream, nursery.cancel_scope)


async def _pipe(source: trio.abc.ReceiveStream, target: trio.abc.SendStream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(RECEIVE):
            await target.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()
