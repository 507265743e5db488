"""Starting the daemon behind the terminal: a process of its own, and a pipe through which it says that it is ready.

The child keeps our standard error until it is ready, so what it has to say about a wrong key or a busy mountpoint
appears where the person looks, once. Then it turns to its log. That it ended without being ready shows as the end of
the pipe, whatever ended it.

Until it is ready the child stays in our process group: under an automount, the kernel lets the group that mounts, and
no other, touch the mountpoint meanwhile. Then it makes a session of its own, where no terminal's signal reaches it.

Concurrency: the parent waits in one place, with a deadline.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence

from mountfs.cli.table import MountFailed
from mountfs.service import Notifier

READY_FD = "_MOUNTFS_READY_FD"
"""Number of the descriptor the child writes to; between our own processes, no setting."""
START_TIMEOUT = 300.0
"""Seconds: reading keys may wait for a person (keys.KEY_COMMAND_TIMEOUT, for each provider)."""
STOP_TIMEOUT = 10.0
READY = b"ready"


def start(arguments: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts ``mountfs`` with ``arguments`` and returns when it is ready; raises what ``launch`` and ``wait`` raise."""
    return wait(*launch(arguments, environ))


def launch(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """Starts ``mountfs`` and does not wait; what it returns is for ``wait``. Raises MountFailed."""
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            # -P: a mountfs directory under the working directory is not ours.
            [sys.executable, "-P", "-m", "mountfs", *arguments],
            env={**environ, READY_FD: str(writing)},
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    except OSError as error:
        os.close(reading)
        raise MountFailed(f"{sys.executable} cannot be started: {error.strerror}", advice="try with -f") from None
    finally:
        os.close(writing)
    return process, reading


def wait(process: subprocess.Popen[bytes], reading: int) -> subprocess.Popen[bytes]:
    """Returns when the launched process is ready, and ends it if it does not become so.

    Raises SystemExit with the child's own status if it ended before (it has told why), MountFailed if it said nothing.
    """
    try:
        return _wait(process, reading)
    finally:
        os.close(reading)


def _wait(process: subprocess.Popen[bytes], reading: int) -> subprocess.Popen[bytes]:
    try:
        spoke = select.select([reading], [], [], START_TIMEOUT)[0]
        if spoke and os.read(reading, len(READY)) == READY:
            return process
        status = process.wait(STOP_TIMEOUT) if spoke else None
    except BaseException:
        stop(process)
        raise
    if status is None:
        stop(process)
        raise MountFailed(f"the mount was not ready within {START_TIMEOUT:g} s", advice="try with -f")
    if status in (1, 2):
        raise SystemExit(status)
    ended = f"by signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"with status {status}"
    raise MountFailed(f"the daemon ended {ended} before the mount was ready", advice="try with -f --log-level debug")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the daemon: politely, then not."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_TIMEOUT)


def readiness(environ: MutableMapping[str, str], log_path: str | None) -> Callable[[], None]:
    """What the daemon calls when its mount can be used: tells the parent, and systemd (sd_notify(3)).

    Takes READY_FD out of ``environ``, so that no child of the daemon inherits it. ``log_path``:
    where standard output and error go from then on, for a daemon in the background.
    """
    descriptor = int(environ.pop(READY_FD, "-1"))
    notifier = Notifier(environ.get("NOTIFY_SOCKET", ""))
    if descriptor >= 0:
        os.set_inheritable(descriptor, False)

    def ready() -> None:
        notifier.tell("READY=1")
        if descriptor < 0:
            return
        with contextlib.suppress(PermissionError):  # it leads a group, as where a shell started it
            os.setsid()
        os.chdir("/")
        _redirect(log_path or os.devnull)
        # The parent may have been interrupted; the mount is there all the same.
        with contextlib.suppress(BrokenPipeError):
            os.write(descriptor, READY)
        os.close(descriptor)

    return ready


def _redirect(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for standard in (1, 2):
        os.dup2(log, standard)
    os.close(log)


def in_background(environ: Mapping[str, str]) -> bool:
    """Whether this process was started by ``start``."""
    return READY_FD in environ
