"""Serves the metrics on the daemon's loop: HTTP/1.1, one request a connection, ``GET /metrics``.

The client library's own server runs in threads, and what it tells belongs to the trio thread; the few lines of HTTP
that a scrape needs are here instead. A port is bound on loopback only; a socket file may be used by the daemon's user
and group. Where metrics cannot be served, one line in the log says so, and the mount goes on without.

Concurrency: a task a connection, at most MOST_CLIENTS, each under PATIENCE.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable

import trio

from mountfs.metrics.figures import Figures

log = logging.getLogger(__name__)

PATIENCE = 5.0
MOST_CLIENTS = 16
HEAD = 16 << 10
BACKLOG = 16

Expose = Callable[[str], tuple[bytes, str]]


@contextlib.asynccontextmanager
async def serving(listen: str, figures: Figures) -> AsyncIterator[None]:
    """Answers on ``listen`` (``[metrics] listen``, as checked; empty: nowhere) while the context is open."""
    if not listen:
        yield
        return
    try:
        from mountfs.metrics.collector import exposition
    except ImportError:
        log.warning(
            "metrics are not served: prometheus-client is not installed; run pip install 'mountfs[metrics]', "
            "or remove metrics.listen"
        )
        yield
        return
    try:
        listeners = await _listeners(listen)
    except OSError as error:
        why = error.strerror or error
        log.warning("metrics are not served on %s: %s; give each mount a metrics.listen of its own", listen, why)
        yield
        return
    try:
        async with trio.open_nursery() as nursery:
            server = _Server(exposition(figures), figures, nursery)
            nursery.start_soon(figures.watch_loop)
            nursery.start_soon(trio.serve_listeners, server.serve, listeners)
            log.info("metrics on %s", listen)
            yield
            nursery.cancel_scope.cancel()
    finally:
        if listen.startswith("unix:"):
            with contextlib.suppress(OSError):
                os.unlink(listen.removeprefix("unix:"))


async def _listeners(listen: str) -> list[trio.SocketListener]:
    """Raises OSError."""
    if listen.startswith("unix:"):
        return [await _unix(listen.removeprefix("unix:"))]
    host, _, port = listen.rpartition(":")
    # No name is looked up: what "localhost" is has been settled in RFC 6761.
    address = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    return await trio.open_tcp_listeners(int(port), host=address, backlog=BACKLOG)


async def _unix(path: str) -> trio.SocketListener:
    _remove_dead(path)
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o117)
    try:
        await listener.bind(path)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(old)
    listener.listen(BACKLOG)
    return trio.SocketListener(listener)


def _remove_dead(path: str) -> None:
    """Takes away a socket nobody listens on, and nothing else. Raises OSError where somebody does."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "something that is no socket is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its queue is full: it is alive
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


class _Server:
    def __init__(self, expose: Expose, figures: Figures, nursery: trio.Nursery) -> None:
        self._expose = expose
        self._figures = figures
        self._nursery = nursery
        self._clients = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection. Nothing it does may end the daemon."""
        self._clients += 1
        try:
            with trio.move_on_after(PATIENCE):
                async with stream:
                    if self._clients <= MOST_CLIENTS:
                        await self._answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it left: nothing is owed to it
        except Exception:
            log.exception("serving metrics failed inside mountfs")
        finally:
            self._clients -= 1

    async def _answer(self, stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = await stream.receive_some(4096)
            if not more or len(head) > HEAD:
                return
            head += more
        lines = head.decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            await stream.send_all(_response("405 Method Not Allowed", b"ask with GET\n"))
        elif path not in ("/", "/metrics"):
            await stream.send_all(_response("404 Not Found", b"ask for /metrics\n"))
        else:
            await self._figures.look(self._nursery)
            body, content_type = self._expose(_field(lines, "accept"))
            await stream.send_all(_response("200 OK", body, content_type, send=method == "GET"))
        await _drained(stream)


def _field(lines: list[str], wanted: str) -> str:
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == wanted:
            return value.strip()
    return ""


def _response(status: str, body: bytes, content_type: str = "text/plain; charset=utf-8", *, send: bool = True) -> bytes:
    fields = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*fields, "", "")).encode("latin-1") + (body if send else b"")


async def _drained(stream: trio.SocketStream) -> None:
    """Closing with unread bytes would reset the connection under the answer: the client ends it."""
    await stream.send_eof()
    while await stream.receive_some(4096):
        pass
