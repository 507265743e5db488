"""Secrets: a process that crashes leaves no core dump with its keys in it, wherever cores are allowed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drives import World, zip_of
from mounts import Daemon, needs_fuse, until

from mountfs.demo import steps


def dumps_core(process: subprocess.Popen[bytes]) -> bool:
    """Aborts it; whether the kernel wrote a core, or gave it to somebody."""
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == -signal.SIGABRT
    return os.WCOREDUMP(status)


@pytest.fixture
def _cores(tmp_path: Path) -> Iterator[None]:
    """What is started may leave cores, and would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        if not dumps_core(subprocess.Popen(["sleep", "60"], cwd=tmp_path)):
            pytest.skip("nothing leaves a core here")
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@pytest.mark.usefixtures("_cores")
def test_a_verb_leaves_no_core(world: World, tmp_path: Path) -> None:
    """While it waits for a service, which has been given its key."""
    world.session("dari", zip_of({"a.txt": b"alpha"}))
    world.config()
    world.fakes.dari.inject(steps.BlackHole(), times=None)
    words = ["-P", "-m", "mountfs", "ls", "--config", str(tmp_path / "config.toml"), "dari/s_1"]
    place = tmp_path / "place"
    place.mkdir()
    process = subprocess.Popen([sys.executable, *words], cwd=place, env={"PATH": os.environ["PATH"], "HOME": "/none"})
    try:
        until(lambda: bool(world.fakes.dari.requests) or process.poll() is not None)
        assert not dumps_core(process)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    assert os.listdir(place) == []


@needs_fuse[0]
@needs_fuse[1]
@pytest.mark.usefixtures("_cores")
def test_a_daemon_leaves_no_core(world: World, tmp_path: Path) -> None:
    """Nor does the mount's daemon."""
    world.config()
    daemon = Daemon(tmp_path / "config.toml", tmp_path / "drive").start()
    try:
        assert daemon.process is not None
        assert not dumps_core(daemon.process)
    finally:
        daemon.clear()
