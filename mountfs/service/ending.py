"""The end of a daemon is a deadline, whatever hangs: within SECONDS of the first signal the mount is gone, and then the
process.

Theory: the clean end takes a fraction of a second, but it waits for threads that cannot be abandoned (a read of a dead
disk, the directory of a huge archive), and its loop may itself be stuck in a call. So at the beginning of the end three
things are set up that need neither the loop nor a lock of ours, each a little later than the one before:

* a thread that detaches the mount (umount2(2) with MNT_DETACH, else ``fusermount3 -uz``): its users hear ENOTCONN when
  the process ends, and nothing is left in the table. Without this a forced end leaves the mountpoint dead;
* faulthandler's own thread, which needs no interpreter: it writes where every thread stands to standard error (the
  daemon's log), and ends the process with status 1;
* an alarm (setitimer(2)) whose default action is the process's end, by the kernel: also for an interpreter that is
  finalising, when threads of Python do not run any more, or a standard error that takes nothing.

A signal is handled by Python in the main thread, also when that waits in a system call or for a lock: what waits is
interrupted (PEP 475) and goes on. So ``begin`` may run in the middle of anything and waits for nothing; the detaching
thread is started without the threading module, whose locks the interrupted code may hold. What is left is a main
thread that computes in C without end: then SIGKILL is the service manager's (TimeoutStopSec=) or the user's.

Concurrency: created and entered on the trio task thread, which must be the main thread.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import faulthandler
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from types import FrameType

import trio

from mountfs.service.opener import FSTYPE, MNT_DETACH, UMOUNT_NOFOLLOW, mounted_at

SECONDS = 5.0
DUMP_AT = 4.5
DETACH_AT = 4.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STANDARD_ERROR = 2


class Ending:
    """``detach``: takes the mount away at once, in use or not; called in a thread. ``told``: by which signal to end, 0
    before that; ``asked`` is set on the loop soon after."""

    def __init__(self, detach: Callable[[], None]) -> None:
        self._detach = detach
        self._begun = False
        self.told = 0
        self.asked = trio.Event()

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Inside, SIGINT and SIGTERM begin the end and set ``asked``; who waits for that ends what is inside."""
        token = trio.lowlevel.current_trio_token()

        def handle(number: int, _frame: FrameType | None) -> None:
            self.begin()
            self.told = self.told or number
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(self.asked.set, idempotent=True)

        before = {number: signal.signal(number, handle) for number in SIGNALS}
        # Who started us may have had them blocked, which outlives an exec.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*SIGNALS, signal.SIGALRM})
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def begin(self) -> None:
        """From now on it is SECONDS until the end. May be called twice."""
        if self._begun:
            return
        self._begun = True
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        with contextlib.suppress(RuntimeError):  # no thread to be had
            faulthandler.dump_traceback_later(DUMP_AT, exit=True, file=STANDARD_ERROR)
            _thread.start_new_thread(self._late, ())

    def _late(self) -> None:
        time.sleep(DETACH_AT)
        self._detach()


def detach(mountpoint: str) -> None:
    """Takes our mount at ``mountpoint`` out of the table, if it is there. The mount itself, which may hang, is not
    touched."""
    found = mounted_at(mountpoint)
    if found is None or found.fstype != FSTYPE:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(mountpoint), MNT_DETACH | UMOUNT_NOFOLLOW):
        words = ["fusermount3", "-u", "-z", "-q", "--", mountpoint]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(words, stdin=subprocess.DEVNULL, check=False, timeout=SECONDS - DETACH_AT)
