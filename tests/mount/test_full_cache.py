"""The disk of the cache fills up while sessions are copied through the mount (issue 4): every byte right."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from drives import World, id_of, zip_of
from mounts import Daemon, needs_fuse, needs_root, sh

pytestmark = [*needs_fuse, needs_root]
MOUNT = Callable[..., Daemon]
MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """64 MiB of tmpfs."""
    where = tmp_path / "disk"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", where], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield where
    subprocess.run(["umount", "-l", where], check=True)


def fill(original: Path, number: int, size: int) -> dict[str, bytes]:
    """A session's files, written to ``original`` too: a large stored one, a large inflating one, many small ones."""
    choice = random.Random(number)
    files = {
        "large.bin": choice.randbytes(size // 2),
        "text.log": choice.randbytes(size // 16) * 4,
        **{f"d/{name:03}.bin": choice.randbytes(size // 800) for name in range(200)},
    }
    for name, data in files.items():
        path = original / id_of("kaizen", number) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


@pytest.mark.parametrize("provider", ["kaizen", "dari"])
def test_copying_more_than_the_disk_holds(
    world: World, mount: MOUNT, tmp_path: Path, small_disk: Path, provider: str
) -> None:
    """200 MiB of sessions of 20 MiB through a cache that believes in 10 GiB, on a disk of 64 MiB: nothing is wrong, and
    what was read last is there."""
    world.cache = small_disk / "cache"
    world.set("cache", max_size="10GiB", min_free="0B")
    original = tmp_path / "original"
    for number in range(10):
        world.session(provider, zip_of(fill(original, number, 20 * MIB), stored=number % 2 == 0), number=number)
    daemon = mount()
    sh("cp", "-r", daemon.place / provider, tmp_path / "copy")
    sh("diff", "-r", original, tmp_path / "copy")
    assert os.listdir(world.cache / "v1" / "snapshots")


def test_one_session_larger_than_the_disk(world: World, mount: MOUNT, tmp_path: Path, small_disk: Path) -> None:
    """One session of 80 MiB, with ranges, on a disk of 64 MiB."""
    world.cache = small_disk / "cache"
    world.set("cache", max_size="10GiB", min_free="0B")
    original = tmp_path / "original"
    world.session("kaizen", zip_of(fill(original, 1, 80 * MIB), stored=True))
    daemon = mount()
    sh("cp", "-r", daemon.place / "kaizen", tmp_path / "copy")
    sh("diff", "-r", original, tmp_path / "copy")
