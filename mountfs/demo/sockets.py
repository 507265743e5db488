"""What the fakes do to sockets below HTTP: a reset, an address that is never answered.

Concurrency: ``abort`` is for the loop that owns the stream; ``Unanswered`` is sync and uses no loop.
"""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

import trio

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: close() sends a TCP reset."""


def abort(stream: trio.SocketStream, *, reset: bool) -> None:
    """Closes a connection at once, under whoever uses it; ``reset``: as if this end had crashed."""
    if stream.socket.fileno() < 0:
        return
    if reset:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    stream.socket.close()


class Unanswered:
    """An address where connections are never made: its backlog is full, so the kernel drops every SYN. A context
    manager; ``url`` is its origin."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._fillers: list[socket.socket] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{address[1]}"
        while len(self._fillers) < 8:
            filler = socket.socket()
            self._fillers.append(filler)
            filler.settimeout(0.2)
            try:
                filler.connect(address)
            except TimeoutError:  # full
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in (*self._fillers, self._listener):
            each.close()
