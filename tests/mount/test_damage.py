"""Complete or error: what a program gets of a member that turns out to be damaged after its first bytes were read."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import World, zip_of
from mounts import Daemon, needs_fuse, sh, until

pytestmark = needs_fuse

TEXT = base64.b64encode(os.urandom(9 << 20))
"""12 MiB that deflate to 9: too much to be fetched or inflated at once."""
MOUNT = Callable[..., Daemon]


def flipped(archive: bytes, at: int) -> bytes:
    return archive[:at] + bytes((archive[at] ^ 1,)) + archive[at + 1 :]


@pytest.mark.parametrize("stored", [False, True], ids=["deflated", "stored"])
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
def test_late_damage(world: World, mount: MOUNT, ranges: bool, stored: bool) -> None:
    """A byte is flipped late in a large member: reading early is well, reading all fails, it is dead under its inode,
    and once the service has sound bytes it is read under a new one."""
    sound = zip_of({"big.txt": TEXT, "small.txt": b"small"}, stored=stored)
    session = world.session("kaizen", flipped(sound, int(len(sound) * 0.95)))
    session.etag = '"one"'
    world.fakes.store.ranges = ranges
    world.set("freshness", failing="0.3s")
    daemon = mount()
    big = daemon.place / "kaizen" / "s_1" / "big.txt"
    before = big.stat().st_ino
    with big.open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, 0) == TEXT[:4096]
        assert read_error(file.fileno()) == errno.EIO
        with pytest.raises(OSError, match="Input/output error"):
            os.pread(file.fileno(), 10, len(TEXT) - 10)
    assert "CRC" in daemon.logged() or "damaged" in daemon.logged()
    assert "big.txt" in daemon.logged()
    assert (daemon.place / "kaizen" / "s_1" / "small.txt").read_bytes() == b"small"
    if not ranges:
        return
    session.archive = sound
    until(lambda: is_well(big))
    assert big.stat().st_ino != before
    assert big.read_bytes() == TEXT


def read_error(descriptor: int) -> int:
    """Reads to the end, which must not come; the errno instead."""
    at = 0
    try:
        while data := os.pread(descriptor, 128 << 10, at):
            assert at > len(TEXT) // 2 or data == TEXT[at : at + len(data)]
            at += len(data)
            assert at < len(TEXT)
    except OSError as exc:
        return exc.errno or -1
    raise AssertionError("the file just ended")


def is_well(path: Path) -> bool:
    """Whether all of it can be read."""
    try:
        return path.read_bytes() == TEXT
    except OSError as exc:
        if exc.errno not in {errno.EIO, errno.ESTALE}:
            raise
        return False


def test_small_member_shows_nothing_of_bad_bytes(world: World, mount: MOUNT) -> None:
    """Of a small damaged member not one byte is shown."""
    sound = zip_of({"a.txt": b"alpha" * 1000, "b.txt": b"beta"}, stored=True)
    world.session("dari", flipped(sound, 200))
    place = mount().place / "dari" / "s_1"
    told = sh("cat", place / "a.txt", check=False)
    assert told.returncode == 1
    assert told.stdout == ""
    assert "Input/output error" in told.stderr
    assert (place / "b.txt").read_bytes() == b"beta"
