"""What the machine must have before a mount is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from mountfs.cli import checks
from mountfs.cli.checks import check_machine, user_allow_other
from mountfs.cli.table import MountFailed
from mountfs.config import MountOptions


@pytest.mark.parametrize(
    ("text", "allowed"),
    [("", False), ("#user_allow_other\n", False), ("mount_max = 3\n  user_allow_other \n", True)],
)
def test_user_allow_other(tmp_path: Path, text: str, allowed: bool) -> None:
    """The line counts only where it stands alone; without the file, nothing is allowed."""
    path = tmp_path / "fuse.conf"
    path.write_text(text)
    assert user_allow_other(str(path)) is allowed
    assert not user_allow_other(str(tmp_path / "nothing"))


def test_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /dev/fuse, the message says what to do, also inside a container."""
    monkeypatch.setattr(checks, "FUSE_DEVICE", "/dev/no-such-device")
    with pytest.raises(MountFailed, match=r"is not there; run: modprobe fuse; in a container, .*; or use mountfs ls"):
        check_machine(MountOptions())
