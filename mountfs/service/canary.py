"""Feeding systemd's watchdog: only while a question asked through the kernel is answered.

That the loop runs does not say that the mount works: pyfuse3's tasks may have ended, or every one of them may wait.
So a child process asks statfs(2) of the mountpoint, which the kernel answers from no cache: the request comes to our
own handler and back. It must be a process: a thread of ours stuck on our own mount cannot be killed, and keeps
/dev/fuse open with it, so the mount would never end. The child inherits no descriptor.

A child that does not come back is killed, but may not even die of that before the mount is gone; so it is left where
it is, no other is started meanwhile, and systemd, hearing nothing, ends the daemon (SIGABRT: faulthandler then writes
where every thread stands) and starts it again.

Concurrency: one task on the daemon's loop; the process is started in a thread of its own limiter, since trio's default
one may be full of look-ups.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import subprocess

import trio

from mountfs.service.notify import Supervision

log = logging.getLogger(__name__)

QUESTIONS = 3
"""In one period of the watchdog: one that is late, or lost, is no reason to end a daemon."""


async def feed(supervision: Supervision, mountpoint: str) -> None:
    """Runs as long as the mount does; returns at once where no watchdog waits."""
    if supervision.watchdog is None:
        return
    faulthandler.enable()
    canary = Canary(mountpoint)
    period = supervision.watchdog / QUESTIONS
    while True:
        if await canary.answers(period):
            supervision.notifier.tell("WATCHDOG=1")
            await trio.sleep(period)
        else:
            log.warning("%s: does not answer through the kernel; the watchdog is not fed", mountpoint)
            await trio.sleep(min(1.0, period))


class Canary:
    """One question at a time."""

    def __init__(self, mountpoint: str) -> None:
        self._command = ["stat", "-f", "--", mountpoint]
        self._limiter = trio.CapacityLimiter(1)
        self._child: subprocess.Popen[bytes] | None = None

    async def answers(self, seconds: float) -> bool:
        """Whether the mount answers within ``seconds``. A child that is stuck is waited for again the next time."""
        if self._child is None:
            try:
                self._child = await trio.to_thread.run_sync(self._start, limiter=self._limiter)
            except OSError as error:  # no process to be had: the next question may find one
                log.warning("the watchdog's canary cannot be started: %s", error.strerror)
                return False
        child = self._child
        try:
            with trio.move_on_after(seconds):
                await _end_of(child)
        finally:
            if child.poll() is None:
                child.kill()
            else:
                self._child = None
        return child.returncode == 0

    def _start(self) -> subprocess.Popen[bytes]:
        # close_fds, Python's default, is the point: /dev/fuse in the child would keep the connection open.
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            cwd="/",
        )


async def _end_of(child: subprocess.Popen[bytes]) -> None:
    descriptor = os.pidfd_open(child.pid)
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
