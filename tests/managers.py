"""A stand-in for systemd's end of sd_notify(3): keeps what it is told and the descriptors it is given.

    with Manager(directory) as manager:
        start a process with NOTIFY_SOCKET=manager.address
        manager.wait_for("READY=1")

Concurrency: one thread receives; tests wait with a bound.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from mounts import until


class Manager:
    """``deaf``: takes messages and does nothing, as a manager that hangs."""

    def __init__(self, directory: Path, *, deaf: bool = False) -> None:
        self.address = str(directory / "notify")
        self.told: deque[list[str]] = deque()
        self.stored: dict[str, int] = {}
        self._deaf = deaf
        self._kept: list[int] = []
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(self.address)
        Path(self.address).chmod(0o666)
        self._thread = threading.Thread(target=self._receive)

    def count(self, line: str) -> int:
        """How often it was told this."""
        return sum(line in message for message in list(self.told))

    def wait_for(self, line: str, times: int = 1) -> None:
        """Waits until it was told this so often."""
        until(lambda: self.count(line) >= times)

    def _receive(self) -> None:
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._channel, 4096, 16)
            message = data.decode().split("\n")
            if message == ["end"]:
                return
            self._obey(message, descriptors)
            self.told.append(message)

    def _obey(self, message: list[str], descriptors: list[int]) -> None:
        name = next((line.removeprefix("FDNAME=") for line in message if line.startswith("FDNAME=")), "stored")
        if "FDSTORE=1" in message and not self._deaf:
            self.stored[name] = descriptors.pop()
        if "FDSTOREREMOVE=1" in message and name in self.stored:
            os.close(self.stored.pop(name))
        if self._deaf:
            self._kept += descriptors
        else:
            for descriptor in descriptors:
                os.close(descriptor)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", self.address)
        self._thread.join()
        self._channel.close()
        for descriptor in [*self.stored.values(), *self._kept]:
            os.close(descriptor)
