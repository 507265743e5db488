"""A deadline for the end (``service.ending``): whatever the main thread is stuck in when a signal tells it to end, the
mount is detached and the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from mounts import ENDS

PROGRAM = """
import ctypes, os, signal, sys, threading, time
import trio
from mountfs.service import ending

ending.DETACH_AT, ending.DUMP_AT, ending.SECONDS = 0.2, 0.6, 1.0
holding_the_interpreter = ctypes.PyDLL(None)

class Late:
    def __del__(self, sleep=time.sleep):
        while True:
            sleep(60)

async def main():
    end = ending.Ending(lambda: os.write(1, b"detached "))
    with end.heeded():
        print("ready", flush=True)
        match sys.argv[1]:
            case "a system call":
                while True:
                    time.sleep(60)
            case "a lock":
                lock = threading.Lock()
                lock.acquire()
                lock.acquire()
            case "a call that keeps the interpreter":
                while True:
                    holding_the_interpreter.sleep(60)
            case "a start of a thread":
                with threading._active_limbo_lock:
                    while True:
                        time.sleep(60)
            case "a standard error nobody reads":
                while True:
                    os.write(2, bytes(4096))
            case "the interpreter's end":
                await end.asked.wait()
                sys.late = Late()
            case "nothing":
                await end.asked.wait()
    print("left", end.told, flush=True)

trio.run(main)
"""
STUCK = {
    "a system call": (1, "detached "),
    "a lock": (1, "detached "),
    "a call that keeps the interpreter": (1, ""),  # nor can anything of Python detach the mount
    "a start of a thread": (1, "detached "),
    "a standard error nobody reads": (-signal.SIGALRM, "detached "),
    "the interpreter's end": (1, "left 15\n"),  # the mount is gone by then
    "nothing": (0, "left 15\n"),
}


@pytest.mark.parametrize("where", STUCK)
def test_a_signal_ends_what_is_stuck(where: str) -> None:
    """In each place; where standard error can be written to, it says where that was."""
    unread, full = os.pipe()
    try:
        stderr = full if "nobody reads" in where else subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, where], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            said, complaint = process.communicate(timeout=ENDS)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(unread)
        os.close(full)
    assert (process.returncode, said) == STUCK[where]
    if stderr is subprocess.PIPE:
        assert ("most recent call first" in complaint) == (where != "nothing")


def test_blocked_and_ignored_signals_are_heeded() -> None:
    """What a parent left blocked or ignored outlives an exec."""
    program = f"""
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM, signal.SIGALRM}})
signal.signal(signal.SIGALRM, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-c", {PROGRAM!r}, "a standard error nobody reads"])
"""
    unread, full = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS) == -signal.SIGALRM
    finally:
        process.kill()
        process.communicate()
        os.close(unread)
        os.close(full)
