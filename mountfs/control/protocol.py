"""The protocol of the control socket, both ends.

A unix socket in the runtime directory, 0600 in a 0700 directory, one for each mount. A client sends one line of JSON,
``{"v": 1, "verb": "status", "args": {…}}``; the daemon answers lines of JSON: any number of ``{"news": …}``
(progress) and ``{"alive": true}`` (every 2 s, so that silence means that its loop hangs), then one ``{"done": …}`` or
``{"error": {"message", "advice", "errno"}}``, and closes. A line is at most 16 MiB. A client that closes its end ends
its request. Only the owner of the daemon (and root) is answered: the kernel tells who asks (SO_PEERCRED).

Concurrency: the server is a task on the daemon's loop, a task a connection; the client is blocking, for the command
line, every wait under a timeout: a daemon that hangs is told as such.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import trio

from mountfs import errnos
from mountfs.config import mount_name
from mountfs.errors import MountfsError

log = logging.getLogger(__name__)

VERSION = 1
LINE = 16 << 20
REQUEST_TIMEOUT = 10.0
ALIVE = 2.0
CREDENTIALS = struct.Struct("3i")

News = Callable[[Any], Awaitable[None]]
Verb = Callable[[Mapping[str, Any], News], Awaitable[Any]]
"""A verb takes its arguments, gives out news as it goes on, and answers its result: JSON values."""


class ControlError(MountfsError):
    """The daemon could not be asked, or refused. ``number``: the errno it gave, 0 where it gave none."""

    def __init__(self, message: str, *, advice: str = "", number: int = 0) -> None:
        super().__init__(message, advice=advice)
        self.number = number


def socket_path(directory: str, mountpoint: str) -> str:
    """Where the daemon of ``mountpoint`` listens. ``directory``: the runtime directory."""
    return os.path.join(directory, f"{mount_name(mountpoint)}.sock")


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """``path`` as bind and connect take it, which know 107 bytes (unix(7)): by way of its directory's descriptor."""
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


# -- the daemon's end --------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listen(path: str, verbs: Mapping[str, Verb]) -> AsyncIterator[None]:
    """Answers on ``path`` while the context is open. A socket left by a dead daemon is replaced."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        with _short(path) as short:
            await listener.bind(short)
    finally:
        os.umask(old)
    listener.listen(16)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                trio.serve_listeners, lambda stream: _serve(stream, verbs), [trio.SocketListener(listener)]
            )
            yield
            nursery.cancel_scope.cancel()
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


async def _serve(stream: trio.SocketStream, verbs: Mapping[str, Verb]) -> None:
    """One connection: one request."""
    try:
        async with stream:
            if not _may_ask(stream):
                return
            request = None
            with trio.move_on_after(REQUEST_TIMEOUT):
                request = await _receive(stream)
            if request is not None:
                await _answer(_Client(stream), request, verbs)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client left: nothing is owed to it


def _may_ask(stream: trio.SocketStream) -> bool:
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    uid = CREDENTIALS.unpack(raw)[1]
    return uid in {0, os.geteuid()}


async def _receive(stream: trio.SocketStream) -> Any:
    data = b""
    while b"\n" not in data:
        more = await stream.receive_some(65536)
        if not more or len(data) > LINE:
            return None
        data += more
    try:
        return json.loads(data)
    except ValueError:
        return {}


class _Client:
    """The asking end, while a verb works for it. ``scope``: cancelled once it has left."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.scope = trio.CancelScope()
        self._stream = stream
        self._turn = trio.Lock()

    async def send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        async with self._turn:
            try:
                await self._stream.send_all(line)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.scope.cancel()
                await trio.lowlevel.checkpoint_if_cancelled()

    async def news(self, news: Any) -> None:
        await self.send({"news": news})

    async def until_gone(self) -> None:
        """Ends its request when the client closes its end."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._stream.receive_some(4096):
                pass
        self.scope.cancel()

    async def show_life(self) -> None:
        while True:
            await trio.sleep(ALIVE)
            await self.send({"alive": True})


async def _answer(client: _Client, request: Any, verbs: Mapping[str, Verb]) -> None:
    if not isinstance(request, dict) or request.get("v") != VERSION:
        await client.send(_error("another version of the control protocol", advice="mountfs was upgraded: mount again"))
        return
    verb = verbs.get(str(request.get("verb")))
    if verb is None:
        await client.send(_error(f"no such request: {request.get('verb')}", advice="mountfs was upgraded: mount again"))
        return
    with client.scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.until_gone)
            nursery.start_soon(client.show_life)
            await client.send(await _outcome(verb, request.get("args") or {}, client.news))
            nursery.cancel_scope.cancel()


async def _outcome(verb: Verb, args: Mapping[str, Any], news: News) -> dict[str, Any]:
    try:
        return {"done": await verb(args, news)}
    except MountfsError as exc:
        return _error(exc.message, advice=exc.advice, number=errnos.errno_of(exc))
    except Exception:  # a task of the daemon's nursery: a bug here must not end the mount
        log.exception("a request on the control socket failed inside mountfs")
        return _error("the request failed inside mountfs", advice="see the daemon's log, report it")


def _error(message: str, *, advice: str, number: int = 0) -> dict[str, Any]:
    return {"error": {"message": message, "advice": advice, "errno": number}}


# -- the client's end --------------------------------------------------------------------------------------------


def ask(path: str, verb: str, args: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Iterator[Any]:
    """Yields the news and, last, the result. ``timeout``: seconds of silence. Raises ControlError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            with _short(path) as short:
                client.connect(short)
            client.sendall(json.dumps({"v": VERSION, "verb": verb, "args": dict(args or {})}).encode() + b"\n")
            for line in client.makefile("rb"):
                message = json.loads(line)
                if "error" in message:
                    error = message["error"]
                    raise ControlError(error["message"], advice=error.get("advice", ""), number=error.get("errno", 0))
                if "done" in message:
                    yield message["done"]
                    return
                if "news" in message:
                    yield message["news"]
        except PermissionError as exc:
            raise ControlError("the daemon is another user's", advice="ask as that user, or as root") from exc
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise ControlError("no daemon listens", advice="is it mounted? 'mountfs status' lists the mounts") from exc
        except TimeoutError as exc:
            raise ControlError(
                f"the daemon did not answer within {timeout:g} s", advice="see its log; kill -USR1 shows what it does"
            ) from exc
        except (OSError, ValueError, KeyError) as exc:
            raise ControlError("the daemon's answer broke off", advice="try again; see its log") from exc
    raise ControlError("the daemon's answer broke off", advice="try again; see its log")
