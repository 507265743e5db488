"""The server of the benchmarks: archives by ranges, in a process of its own, with latency, bandwidth and counts.

    GET/HEAD /archives/NAME.zip                       ranges, suffix ranges, If-Match, a strong ETag; sendfile(2)
    GET /archives/                                    an index page, for tools that want to list (rclone's http)
    POST /agents/session/getFileArchiveUrl            Kaizen's one question: {"downloadUrl": a signed-looking URL}
    GET /_set?latency_ms=50&mb=50                     what the network is like from now on (mb=0: no limit)
    GET /_counts?reset=1                              {"requests", "questions", "bytes"} since the last reset

The latency is slept before each answer, as a round trip to the service would be; the bandwidth limit is one
connection's, as an object store's is. Only archive traffic and questions are counted, bodies only.

Concurrency: a thread a connection (sendfile and sleep release the GIL); the counters under one lock.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn
from urllib.parse import parse_qs, urlsplit

SLICE = 1 << 20
PACED_SLICE = 64 << 10
MEGABYTE = 1_000_000
RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
REASONS = {200: "OK", 206: "Partial Content", 404: "Not Found", 412: "Changed", 416: "Range Not Satisfiable"}


@dataclass
class Network:
    """``latency``: seconds before each answer. ``rate``: bytes a second of one connection; 0: no limit."""

    latency: float = 0.0
    rate: float = 0.0


@dataclass
class Counts:
    """What was asked and sent since the last reset."""

    requests: int = 0
    questions: int = 0
    bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *, requests: int = 0, questions: int = 0, sent: int = 0) -> None:
        with self.lock:
            self.requests += requests
            self.questions += questions
            self.bytes += sent

    def take(self, *, reset: bool) -> dict[str, int]:
        with self.lock:
            taken = {"requests": self.requests, "questions": self.questions, "bytes": self.bytes}
            if reset:
                self.requests = self.questions = self.bytes = 0
        return taken


@dataclass(frozen=True)
class Ask:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


class Server:
    """Serves ``directory``'s archives on a loopback port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._network = Network()
        self._counts = Counts()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> NoReturn:
        """Accepts until the process ends."""
        while True:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionError, TimeoutError):
            stream = connection.makefile("rb")
            while (ask := _read(stream)) is not None:
                self._answer(connection, ask)

    def _answer(self, connection: socket.socket, ask: Ask) -> None:
        if ask.path == "/_set":
            self._network = Network(float(ask.query["latency_ms"][0]) / 1000, float(ask.query["mb"][0]) * MEGABYTE)
            _send_json(connection, {})
        elif ask.path == "/_counts":
            _send_json(connection, self._counts.take(reset="reset" in ask.query))
        elif ask.path == "/agents/session/getFileArchiveUrl":
            self._counts.add(questions=1)
            time.sleep(self._network.latency)
            name = json.loads(ask.body)["sessionId"]
            _send_json(connection, {"downloadUrl": f"{self.url}/archives/{name}.zip?X-Bench-Signature=1"})
        elif ask.path == "/archives/":
            self._counts.add(requests=1)
            time.sleep(self._network.latency)
            links = "".join(f'<a href="{p.name}">{p.name}</a>\n' for p in sorted(self._directory.glob("*.zip")))
            _send(connection, 200, {"Content-Type": "text/html"}, links.encode())
        else:
            self._archive(connection, ask)

    def _archive(self, connection: socket.socket, ask: Ask) -> None:
        self._counts.add(requests=1)
        time.sleep(self._network.latency)
        name = ask.path.removeprefix("/archives/")
        path = self._directory / name
        if "/" in name or not name.endswith(".zip") or not path.exists():
            _send(connection, 404, {}, b"")
            return
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            etag = f'"{facts.st_size:x}-{facts.st_mtime_ns:x}"'
            if ask.headers.get("if-match", etag) != etag:
                _send(connection, 412, {"ETag": etag}, b"")
                return
            span = _span(ask.headers.get("range"), facts.st_size)
            if span is None:
                _send(connection, 416, {"Content-Range": f"bytes */{facts.st_size}"}, b"")
                return
            start, stop, status = span
            head = {
                "Content-Type": "application/zip",
                "Accept-Ranges": "bytes",
                "ETag": etag,
                "Last-Modified": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(facts.st_mtime)),
                "Content-Length": str(stop - start),
            }
            if status == 206:
                head["Content-Range"] = f"bytes {start}-{stop - 1}/{facts.st_size}"
            connection.sendall(_head(status, head))
            if ask.method != "HEAD":
                self._pour(connection, file.fileno(), start, stop)

    def _pour(self, connection: socket.socket, fd: int, start: int, stop: int) -> None:
        rate = self._network.rate
        began, at = time.monotonic(), start
        while at < stop:
            sent = os.sendfile(connection.fileno(), fd, at, min(PACED_SLICE if rate else SLICE, stop - at))
            if sent == 0:
                return
            at += sent
            self._counts.add(sent=sent)
            if rate and (early := began + (at - start) / rate - time.monotonic()) > 0:
                time.sleep(early)


def _read(stream: BinaryIO) -> Ask | None:
    line = stream.readline()
    if not line:
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    return Ask(method, parts.path, parse_qs(parts.query), headers, body)


def _span(wanted: str | None, size: int) -> tuple[int, int, int] | None:
    """Start, stop and status of what was asked for; None: it cannot be satisfied."""
    match = RANGE.match(wanted or "")
    if match is None:
        return 0, size, 200
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    return (start, stop, 206) if start < stop else None


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def _send(connection: socket.socket, status: int, headers: dict[str, str], body: bytes) -> None:
    connection.sendall(_head(status, {**headers, "Content-Length": str(len(body))}) + body)


def _send_json(connection: socket.socket, value: object) -> None:
    _send(connection, 200, {"Content-Type": "application/json"}, json.dumps(value).encode())


if __name__ == "__main__":
    server = Server(Path(sys.argv[1]))
    print(server.url, flush=True)
    server.serve()
