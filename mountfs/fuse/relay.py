"""The device between the kernel and libfuse, with us in the middle.

libfuse has one descriptor, from which it reads requests and to which it writes replies. The device is duplicated, and
that number made one end of a SOCK_SEQPACKET pair (a message is a request or a reply, whole): what is written to our end
is a request to libfuse, what is read from it is a reply of its.

Concurrency: the trio task thread, but for ``invalidate``, which blocks and belongs in a worker thread.
"""

from __future__ import annotations

import contextlib
import os
import socket

from mountfs import wire

ROOM = 1 << 20
"""What the socket should hold: a burst of requests libfuse has not read yet. (The kernel's wmem_max may allow less.)"""


class Relay:
    """``session_fd``: libfuse's descriptor of the mount's device; it is the socket's from now on."""

    def __init__(self, session_fd: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        self.device = os.dup(session_fd)
        os.dup2(theirs.fileno(), session_fd, inheritable=False)
        theirs.close()
        ours.setblocking(False)
        os.set_blocking(self.device, False)
        self._socket = ours
        self.libfuse = ours.fileno()
        self._closed = False

    @staticmethod
    def devices() -> set[int]:
        """Our descriptors of /dev/fuse; empty where /proc cannot tell."""
        found = set()
        with contextlib.suppress(OSError):
            for name in os.listdir("/proc/self/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/self/fd/{name}") == "/dev/fuse":
                        found.add(int(name))
        return found

    def invalidate(self, parent: int, name: bytes) -> None:
        """Makes the kernel look a name up again. Waits for the directory's lock; OSError if it does not know it."""
        if not self._closed:
            os.write(self.device, wire.name_gone(parent, name))

    def close(self) -> None:
        """Lets the device go. (The other end is libfuse's.)"""
        self._closed = True
        os.close(self.device)
        self._socket.close()
