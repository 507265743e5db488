"""sd_notify(3) and sd_listen_fds(3), as far as we need them: datagrams to systemd, and descriptors it keeps for us.

The descriptor store is how a mount gets from the privileged opener to the daemon in its sandbox: the opener sends the
open /dev/fuse with FDSTORE=1 and ends, systemd passes it to the next process of the unit, and the daemon takes it out
of the store at once: were it still there when the daemon dies, the connection would stay open with nobody to answer,
and every program inside the mount would hang instead of getting ENOTCONN.

Concurrency: blocking, but a datagram to a local socket, which waits only while its queue is full, and then not long;
``barrier`` waits, under a deadline.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field

FUSE_NAME = "mountfs-fuse"
"""The name of the FUSE descriptor in systemd's store (FDNAME=)."""
FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""
TELL_TIMEOUT = 1.0
"""Seconds; a lost WATCHDOG=1 is followed by another."""
BARRIER_TIMEOUT = 5.0
"""Seconds; systemd answers at once unless it is being reloaded."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """Who is told. ``address``: $NOTIFY_SOCKET; empty for nobody."""

    address: str = ""

    def __bool__(self) -> bool:
        return bool(self.address)

    def tell(self, *assignments: str, descriptors: Sequence[int] = ()) -> bool:
        """Sends one message; whether it went out. systemd may be gone or the socket stale: no reason not to serve."""
        if not self.address:
            return False
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(TELL_TIMEOUT)
                channel.connect(address)
                socket.send_fds(channel, ["\n".join(assignments).encode()], list(descriptors))
        except OSError:
            return False
        return True

    def barrier(self, timeout: float = BARRIER_TIMEOUT) -> bool:
        """Waits until all that was told is dealt with (sd_notify_barrier(3)): systemd closes the end it is given."""
        reading, writing = os.pipe()
        try:
            told = self.tell("BARRIER=1", descriptors=[writing])
        finally:
            os.close(writing)
        try:
            poll = select.poll()
            poll.register(reading, select.POLLHUP)
            return told and bool(poll.poll(timeout * 1000))
        finally:
            os.close(reading)


@dataclass(frozen=True, slots=True)
class Supervision:
    """What the process was started with. ``device``: the open /dev/fuse of a mount that is made already, or None.
    ``watchdog``: seconds within which systemd wants to hear of us (WatchdogSec=), or None."""

    notifier: Notifier = field(default_factory=Notifier)
    device: int | None = None
    watchdog: float | None = None


def supervision(environ: MutableMapping[str, str]) -> Supervision:
    """Reads the environment systemd made for this process, and takes it out, so that no child believes it is meant.

    $NOTIFY_SOCKET stays: only the process it is for is listened to (NotifyAccess=)."""
    notifier = Notifier(environ.get("NOTIFY_SOCKET", ""))
    return Supervision(notifier, _passed(environ, notifier), _watchdog(environ))


def _watchdog(environ: MutableMapping[str, str]) -> float | None:
    microseconds = environ.pop("WATCHDOG_USEC", "")
    pid = environ.pop("WATCHDOG_PID", "")
    if not microseconds.isdigit() or not int(microseconds) or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 1e6


def _passed(environ: MutableMapping[str, str], notifier: Notifier) -> int | None:
    """The FUSE descriptor among those passed; others are closed, for nobody here would."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return None
    device = None
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)):
        position = descriptor - FIRST_DESCRIPTOR
        if device is None and position < len(names) and names[position] == FUSE_NAME:
            os.set_inheritable(descriptor, False)
            device = descriptor
        else:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    if device is not None:
        notifier.tell("FDSTOREREMOVE=1", f"FDNAME={FUSE_NAME}")
    return device
