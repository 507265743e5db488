"""Two daemons on one cache directory, through two mounts (issue 4, item 4)."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import World, id_of, zip_of
from mounts import Daemon, needs_fuse, sh

pytestmark = needs_fuse
MOUNT = Callable[..., Daemon]
SESSIONS = 50


@pytest.mark.parametrize("provider", ["dari", "kaizen"])
def test_fifty_sessions_through_two_mounts(world: World, mount: MOUNT, tmp_path: Path, provider: str) -> None:
    """cp -r of the same fifty sessions through both at once: right, and each archive is downloaded once."""
    total = 0
    original = tmp_path / "original"
    for number in range(SESSIONS):
        choice = random.Random(number)
        files = {"a.bin": choice.randbytes(50_000), "d/b.txt": b"%d " % number * 9_000, "d/e.bin": choice.randbytes(9)}
        archive = zip_of(files)
        total += len(archive)
        world.session(provider, archive, number=number)
        for name, data in files.items():
            path = original / id_of(provider, number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    copies = []
    for name in ("one", "two"):
        place = mount(name=name).place / provider
        copies.append(subprocess.Popen(["cp", "-r", place, tmp_path / f"copy-{name}"]))
    assert [copy.wait(60) for copy in copies] == [0, 0]
    for name in ("one", "two"):
        sh("diff", "-r", original, tmp_path / f"copy-{name}")
    if provider == "dari":
        asked = Counter(record.path for record in world.fakes.dari.requests if "workspace" in record.path)
        assert len(asked) == SESSIONS
        assert set(asked.values()) == {1}
    else:
        assert world.fakes.store.bytes_sent() <= total * 1.02
