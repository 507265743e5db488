"""Directories as the kernel and programs read them: many names, ``seekdir``, the inode numbers in listings."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import World, zip_of
from mounts import Daemon, Samples, needs_fuse, sh
from zips import Part, archive

pytestmark = needs_fuse

COUNT = 100_000
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
libc.opendir.argtypes = [ctypes.c_char_p]
libc.readdir.restype = ctypes.c_void_p
libc.readdir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.telldir.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.rewinddir.argtypes = [ctypes.c_void_p]
libc.closedir.argtypes = [ctypes.c_void_p]
NAME = 19  # offset of d_name in glibc's struct dirent: ino 8, off 8, reclen 2, type 1


class Directory:
    """A directory stream of libc."""

    def __init__(self, path: Path) -> None:
        self._stream = libc.opendir(os.fsencode(path))
        assert self._stream

    def read(self) -> bytes | None:
        dirent = libc.readdir(self._stream)
        return ctypes.string_at(dirent + NAME) if dirent else None

    def tell(self) -> int:
        return int(libc.telldir(self._stream))

    def seek(self, place: int) -> None:
        libc.seekdir(self._stream, place)

    def rewind(self) -> None:
        libc.rewinddir(self._stream)

    def close(self) -> None:
        libc.closedir(self._stream)


@pytest.fixture
def crowd(world: World, mount: Callable[..., Daemon]) -> Path:
    """A directory of 100,000 names."""
    parts = (Part(f"all/file-{number:06}.txt", b"", mode=0o100644) for number in range(COUNT))
    world.session("dari", archive(*parts))
    return mount().place / "dari" / "s_1" / "all"


def test_hundred_thousand_names(crowd: Path) -> None:
    """Every name comes once; a place told by ``telldir`` leads back to the same name, from anywhere, and back to the
    start."""
    directory = Directory(crowd)
    try:
        names: list[bytes] = []
        places: dict[int, int] = {}
        while True:
            place = directory.tell()
            name = directory.read()
            if name is None:
                break
            if len(names) % 9_973 == 0:
                places[place] = len(names)
            names.append(name)
        assert len(names) == len(set(names)) == COUNT + 2
        assert names[:2] == [b".", b".."]
        for place, index in reversed(places.items()):
            directory.seek(place)
            assert directory.read() == names[index]
            assert directory.read() == names[index + 1]
        directory.rewind()
        assert directory.read() == b"."
    finally:
        directory.close()
    assert len(os.listdir(crowd)) == COUNT
    assert (crowd / "file-099999.txt").stat().st_size == 0


def test_inodes_of_listing_and_stat_agree(samples: Samples) -> None:
    """``d_ino``, ``d_type`` and ``st_ino`` are the same thing, and no two files share a number."""
    seen: dict[int, str] = {}
    for session in (samples.place / "dari" / "sess_research", samples.place / "kaizen" / "kz_weather_2026-11-20"):
        for where, _, _ in os.walk(session):
            with os.scandir(where) as listing:
                for found in listing:
                    status = found.stat(follow_symlinks=False)
                    assert found.inode() == status.st_ino
                    assert found.is_dir(follow_symlinks=False) == os.path.isdir(found.path) or found.is_symlink()
                    assert seen.setdefault(status.st_ino, found.path) == found.path


def test_dot_dot(samples: Samples) -> None:
    """``..`` leads where it should, also out of the mount."""
    deep = samples.place / "dari" / "sess_research" / "tmp" / "a" / "b"
    told = sh("stat", "-c", "%i", deep / "..", deep.parent).stdout.split()
    assert told[0] == told[1]
    assert sh("sh", "-c", "cd ../../../../.. && pwd -P", cwd=deep).stdout.strip() == str(samples.place)


def test_find_has_the_kernel_keep_nothing(world: World, mount: Callable[..., Daemon]) -> None:
    """``find`` sees every name, type and inode number, and no file becomes an inode the kernel knows; ``ls -lR`` and
    ``cp`` of the same tree have all attributes, for the lookups of one directory at most."""
    files = {f"d{number % 20:02}/f{number:04}.txt": b"x" * (number % 50) for number in range(2_000)}
    world.session("dari", zip_of(files))
    daemon = mount()
    root = daemon.place / "dari" / "s_1"
    listed = sh("find", root, "-type", "f", "-printf", r"%P\n").stdout.split()
    assert sorted(listed) == sorted(files)
    assert daemon.status()["filesystem"]["inodes"] < 100
    for line in sh("ls", "-i", root / "d07").stdout.splitlines():
        number, name = line.split()
        assert os.lstat(root / "d07" / name).st_ino == int(number)
    sizes = [line.split() for line in sh("find", root, "-type", "f", "-printf", r"%s %P\n").stdout.splitlines()]
    assert {name: int(size) for size, name in sizes} == {name: len(data) for name, data in files.items()}
    assert daemon.status()["filesystem"]["inodes"] > len(files)
