"""kill -9 of a real daemon at random moments of downloads, inflating and eviction: what it leaves is right (issue
4)."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from drives import Drive, World, zip_of
from mounts import Daemon, needs_fuse, until

from mountfs.model import Span
from mountfs.store import BLOCK, Snapshot, Store

pytestmark = needs_fuse
MOUNT = Callable[..., Daemon]
MIB = 1 << 20
ROUNDS = int(os.environ.get("MOUNTFS_CRASH_ROUNDS", "20"))
"""A few at every run; the long run asks for 200."""
BOUND = 10 * MIB
PROVIDERS = ("kaizen", "dari")


def files_of(seed: int) -> dict[str, bytes]:
    """Stored, and inflated into a spool, and small."""
    choice = random.Random(seed)
    return {
        "noise.bin": choice.randbytes(MIB + seed),
        "log.txt": b"".join(b"%d %s\n" % (seed, choice.randbytes(20).hex().encode()) for _ in range(40_000)),
        "small.txt": b"%d" % seed * 500,
        "d/other.bin": choice.randbytes(200_000),
    }


class Sound:
    """Whether what the cache believes is what the service has."""

    def __init__(self, archives: dict[str, bytes]) -> None:
        self.archives = archives
        self.members = 0

    def __call__(self, snapshot: Snapshot) -> bool:
        archive = self.archives[snapshot.session_id]
        end = snapshot.length or 0
        for start in range(0, end, BLOCK):
            stop = min(start + BLOCK, end)
            if snapshot.has(Span(start, stop)) and snapshot.read(start, stop - start) != archive[start:stop]:
                return False
        with zipfile.ZipFile(io.BytesIO(archive)) as unpacked:
            for index, info in enumerate(unpacked.infolist()):
                member = snapshot.member(index)
                if member is not None:
                    self.members += 1
                    with member:
                        if member.read(0, member.size) != unpacked.read(info):
                            return False
        return True


def check_cache(directory: Path, archives: dict[str, bytes]) -> int:
    """Every byte that is believed to be here is right, everything can be read, nothing was left; the members found."""
    sound = Sound(archives)
    with Store(str(directory), max_size=BOUND, min_free=0) as store:
        store.maintain()
        report = store.verify(sound)
        assert report.dropped == ()
        assert report.sound == len(os.listdir(directory / "v1/snapshots")), "an unreadable snapshot"
        assert len(os.listdir(directory / "v1/tmp")) == 1, "only the living process's own"
        used = sum(path.lstat().st_blocks * 512 for path in directory.rglob("*"))
        assert used <= BOUND
    return sound.members


def test_killed_at_any_moment(world: World, mount: MOUNT) -> None:
    """Kill, look at everything the cache believes, start again on it; in the end compare every byte of every
    session."""
    world.set("cache", max_size=f"{BOUND // MIB}MiB", min_free="0B", memory="1MiB")
    archives, expected = {}, {}
    for seed, provider in enumerate(PROVIDERS * 4):
        number = seed + 10
        id = f"{provider[0]}_{number}"  # noqa: A001
        files = files_of(number)
        archives[id] = zip_of(files, stored=seed % 3 == 0)
        world.fake(provider).add(id, archives[id])
        expected[f"{provider}/{id}"] = files
    choice = random.Random(int(os.environ.get("MOUNTFS_CRASH_SEED", "4")))
    found = 0
    for _round in range(ROUNDS):
        daemon = mount()
        paths = choice.sample(sorted(expected), 4)
        world.fakes.clear_requests()
        stop = time.monotonic() + choice.random() * 0.6
        readers = [
            subprocess.Popen(
                ["cat", *(daemon.place / path / name for name in expected[path])],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for path in paths
        ]
        until(lambda stop=stop: time.monotonic() >= stop)  # type: ignore[misc]
        daemon.send(signal.SIGKILL)
        daemon.wait()
        for reader in readers:
            reader.kill()
            reader.wait()
        daemon.clear()
        found += check_cache(world.cache, archives)
    assert found, "the rounds never got to inflating"

    async def main(drive: Drive) -> None:
        for path, files in expected.items():
            assert await drive.tree(path) == {**files, "d/": b""}

    world.run(main)
