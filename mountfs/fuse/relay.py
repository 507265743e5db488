"""The device between the kernel and libfuse, with us in the middle.

libfuse has one descriptor, from which it reads requests and to which it writes replies. The device is duplicated, and
that number made one end of a SOCK_SEQPACKET pair (a message is a request or a reply, whole): what is written to our end
is a request to libfuse, what is read from it is a reply of its. Our end never blocks; libfuse's does, and holds few
replies: some 500 where the kernel's wmem_max is what Linux has by default (``Express.drain``).

*Closing*: the device goes first, for an unmount while it is open waits for answers nobody gives; then libfuse unmounts;
our end goes last, since libfuse takes an error on its own for an unmount that has been.

Concurrency: the trio task thread, but for ``invalidate``, which blocks and belongs in a worker thread.
"""

from __future__ import annotations

import contextlib
import os
import socket

from mountfs import wire

ROOM = 1 << 20
"""Bytes either end should hold. (The kernel's wmem_max may allow less.)"""


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
        os.write(self.device, wire.name_gone(parent, name))

    def close_device(self) -> None:
        """Lets the device go. Its number stays taken: a thread may be about to write a name to it."""
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nothing, self.device, inheritable=False)
        os.close(nothing)

    def close(self) -> None:
        """Lets our end of the socket go."""
        self._socket.close()
