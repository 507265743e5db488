"""The proxy's HTTP: read a request, ask the service, write a reply by hand, whatever its headers claim.

h11 parses; only the reply to the client is written without it, since it would refuse what faults are made of.

Concurrency: no state; a connection belongs to the task that serves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import h11
import trio

from mountfs.demo.fake import Recorded
from mountfs.demo.wire import Ask, Body, Cut, Piece, Reply, wait_for

HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "proxy-connection"})
"""Headers of one connection, not of the message (RFC 9110 §7.6.1)."""

RECEIVE = 65536


class _Answer:
    """The service's reply as a body that can be asked for what is here: an iterator, and the wait for more."""

    def __init__(self, stream: trio.SocketStream, connection: h11.Connection) -> None:
        self._stream = stream
        self._connection = connection

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> Piece:
        event = self.event()
        if event is h11.NEED_DATA:
            return self
        if isinstance(event, h11.Data):
            return bytes(event.data)
        raise StopIteration

    def event(self) -> object:
        try:
            return self._connection.next_event()
        except h11.RemoteProtocolError as error:  # the service cut its reply short, so the client's is cut too
            raise Cut(reset=False) from error

    async def pull(self) -> None:
        try:
            self._connection.receive_data(await self._stream.receive_some(RECEIVE))
        except trio.BrokenResourceError as error:
            raise Cut(reset=True) from error


async def forward(stream: trio.SocketStream, ask: Ask, host: str) -> Reply:
    """Asks the service; the reply's body is still on its way."""
    connection = h11.Connection(h11.CLIENT)
    headers = {name: value for name, value in ask.headers.items() if name not in HOP} | {"host": host}
    if ask.body:
        headers["content-length"] = str(len(ask.body))
    target = f"{ask.path}?{ask.query}" if ask.query else ask.path
    data = connection.send(h11.Request(method=ask.method, target=target, headers=list(headers.items()))) or b""
    data += (connection.send(h11.Data(data=ask.body)) or b"") if ask.body else b""
    await stream.send_all(data + (connection.send(h11.EndOfMessage()) or b""))
    answer = _Answer(stream, connection)
    while not isinstance(event := answer.event(), h11.Response):
        if event is not h11.NEED_DATA:
            raise Cut(reset=False)
        await answer.pull()
    return Reply(event.status_code, _headers(event), answer)


async def question(stream: trio.abc.Stream, early: bytes) -> tuple[Ask | None, bytes]:
    """The next request, and what came after it; None when the client has left."""
    connection = h11.Connection(h11.SERVER)
    if early:
        connection.receive_data(early)
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(RECEIVE)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            break
        else:
            return None, b""
    target = head.target.decode("ascii")
    method = head.method.decode("ascii")
    if "://" in target:  # absolute form: we are asked as a forward proxy
        parts = urlsplit(target)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    path, _, query = target.partition("?")
    return Ask(method, path, query, _headers(head), {}, body), connection.trailing_data[0]


def _headers(event: h11.Request | h11.Response) -> dict[str, str]:
    return {name.decode("ascii").lower(): value.decode("latin-1") for name, value in event.headers}


async def send_reply(stream: trio.abc.Stream, reply: Reply, ask: Ask, record: Recorded) -> bool:
    """Writes a reply by hand, whatever its headers claim; True if the connection may be used again."""
    await wait_for(reply.wait)
    headers: Mapping[str, str] = {name: value for name, value in reply.headers.items() if name not in HOP}
    bodiless = ask.method == "HEAD" or reply.status in {204, 304}
    chunked = "content-length" not in headers and not bodiless
    lines = [f"HTTP/1.1 {reply.status} {_reason(reply.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["transfer-encoding: chunked"] if chunked else []
    record.status = reply.status
    await stream.send_all("\r\n".join([*lines, "", ""]).encode("latin-1"))
    for piece in () if bodiless else reply.body:
        if not isinstance(piece, bytes):
            await wait_for(piece)
        elif piece:
            record.bytes_sent += len(piece)
            await stream.send_all(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        await stream.send_all(b"0\r\n\r\n")
    complete = bodiless or chunked or record.bytes_sent == int(headers["content-length"])
    return complete and ask.headers.get("connection", "").lower() != "close"


def _reason(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
