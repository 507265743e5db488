"""Every attempt to write is EROFS, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import Samples, needs_fuse, sh

pytestmark = needs_fuse

ATTEMPTS: dict[str, Callable[[Path], object]] = {
    "open for writing": lambda place: os.open(place / "README.md", os.O_WRONLY),
    "open for both": lambda place: os.open(place / "README.md", os.O_RDWR),
    "append": lambda place: os.open(place / "README.md", os.O_WRONLY | os.O_APPEND),
    "truncate on open": lambda place: os.open(place / "README.md", os.O_WRONLY | os.O_TRUNC),
    "create": lambda place: os.open(place / "new.txt", os.O_WRONLY | os.O_CREAT, 0o644),
    "create in a provider": lambda place: os.open(place.parent / "new.txt", os.O_WRONLY | os.O_CREAT, 0o644),
    "create in the root": lambda place: os.open(place.parent.parent / "new.txt", os.O_WRONLY | os.O_CREAT, 0o644),
    "truncate": lambda place: os.truncate(place / "README.md", 0),
    "unlink": lambda place: os.unlink(place / "README.md"),
    "rename": lambda place: os.rename(place / "README.md", place / "other.md"),
    "mkdir": lambda place: os.mkdir(place / "new"),
    "rmdir": lambda place: os.rmdir(place / "empty" / "inner"),
    "rmdir of a session": os.rmdir,
    "symlink": lambda place: os.symlink("x", place / "new"),
    "link": lambda place: os.link(place / "README.md", place / "new"),
    "mkfifo": lambda place: os.mkfifo(place / "new"),
    "chmod": lambda place: os.chmod(place / "README.md", 0o600),
    "chown": lambda place: os.chown(place / "README.md", os.getuid(), os.getgid()),
    "utime": lambda place: os.utime(place / "README.md"),
    "setxattr": lambda place: os.setxattr(place / "README.md", "user.x", b"1"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_writing_is_refused(samples: Samples, attempt: str) -> None:
    """EROFS, whatever way it is tried."""
    place = samples.place / "dari" / "sess_research"
    before = sorted(os.listdir(place))
    with pytest.raises(OSError, match="Read-only file system"):
        ATTEMPTS[attempt](place)
    assert sorted(os.listdir(place)) == before


def test_tools_say_so(samples: Samples) -> None:
    """What a person sees is "Read-only file system"."""
    told = sh("touch", samples.place / "dari" / "sess_research" / "README.md", check=False)
    assert told.returncode == 1
    assert "Read-only file system" in told.stderr
