"""sd_notify(3) and sd_listen_fds(3), against a stand-in for systemd."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from managers import Manager

from mountfs.service import FUSE_NAME, Notifier, Supervision, supervision

SHOW = """
import json, os, sys
from mountfs.service import supervision
found = supervision(os.environ)
left = sorted(name for name in os.environ if name.startswith(("LISTEN_", "WATCHDOG_")))
opened = [number for number in (3, 4) if os.path.exists(f"/proc/self/fd/{number}")]
inherited = os.get_inheritable(found.device) if found.device is not None else None
print(json.dumps([found.device, found.watchdog, left, opened, inherited]))
"""


def test_tell(tmp_path: Path) -> None:
    """Assignments are the lines of one message."""
    with Manager(tmp_path) as manager:
        assert Notifier(manager.address).tell("READY=1", "STATUS=x")
        manager.wait_for("READY=1")
        assert manager.told[0] == ["READY=1", "STATUS=x"]


def test_tell_in_the_abstract_namespace() -> None:
    """An address that starts with @ is no file."""
    name = f"mountfs-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{name}")
        assert Notifier(f"@{name}").tell("WATCHDOG=1")
        assert channel.recv(100) == b"WATCHDOG=1"


def test_nobody_to_tell(tmp_path: Path) -> None:
    """Without systemd, or with a socket nobody reads, nothing happens."""
    assert not Notifier().tell("READY=1")
    assert not Notifier(str(tmp_path / "gone")).tell("READY=1")
    assert not Notifier(str(tmp_path / "gone")).barrier()


def test_barrier(tmp_path: Path) -> None:
    """It returns once all that was told before is dealt with; a manager that hangs is not waited for."""
    with Manager(tmp_path) as manager:
        notifier = Notifier(manager.address)
        with open(os.devnull, "rb") as file:
            notifier.tell("FDSTORE=1", "FDNAME=null", descriptors=[file.fileno()])
        assert notifier.barrier()
        assert list(manager.stored) == ["null"]
    (tmp_path / "deaf").mkdir()
    with Manager(tmp_path / "deaf", deaf=True) as manager:
        assert not Notifier(manager.address).barrier(0.05)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog(environ: dict[str, str], seconds: float | None) -> None:
    """WATCHDOG_USEC counts for the process it names, and is left to no child."""
    assert supervision(environ) == Supervision(watchdog=seconds)
    assert environ == {}


@pytest.mark.parametrize(
    ("names", "pid", "device", "opened"),
    [
        (FUSE_NAME, "$$", 3, [3]),
        (f"other:{FUSE_NAME}", "$$", 4, [4]),
        ("other:another", "$$", None, []),
        ("", "$$", None, []),
        (FUSE_NAME, "1", None, [3, 4]),
    ],
)
def test_passed_descriptors(tmp_path: Path, names: str, pid: str, device: int | None, opened: list[int]) -> None:
    """The FUSE descriptor is found by its name, kept from children, and taken out of the store; others are closed."""
    count = 2
    with Manager(tmp_path) as manager:
        ended = subprocess.run(
            [
                "sh",
                "-c",
                f'LISTEN_PID={pid} LISTEN_FDS={count} LISTEN_FDNAMES={names} exec "$0" -c "$1" 3</dev/null 4</dev/null',
                sys.executable,
                SHOW,
            ],
            env={**os.environ, "NOTIFY_SOCKET": manager.address},
            capture_output=True,
            check=True,
        )
        found = json.loads(ended.stdout)
        assert found == [device, None, [], opened, False if device else None]
        if device:
            manager.wait_for("FDSTOREREMOVE=1")
            assert manager.told[0] == ["FDSTOREREMOVE=1", f"FDNAME={FUSE_NAME}"]
        else:
            assert not manager.told
