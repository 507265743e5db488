"""Extended attributes through a real mount, read with getfattr."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import World, zip_of
from mounts import Daemon, free_port, needs_fuse, needs_root, scraped, sh

pytestmark = [*needs_fuse, needs_root]
needs_getfattr = pytest.mark.skipif(shutil.which("getfattr") is None, reason="needs getfattr (Debian: attr)")

MOUNT = Callable[..., Daemon]


def attributes(path: Path) -> dict[str, str]:
    """What getfattr shows of a file, its own prefix cut."""
    lines = sh("getfattr", "--absolute-names", "-d", path).stdout.splitlines()[1:]
    return {match[1]: match[2] for line in lines if (match := re.fullmatch(r'user\.mountfs\.(\w+)="(.*)"', line))}


@needs_getfattr
def test_shown(world: World, mount: MOUNT) -> None:
    """With ``-o xattr`` each level has the facts that are known of it, none before it was looked at, and no secret."""
    world.session("dari", zip_of({"d/a.txt": b"alpha" * 100}))
    place = mount("-o", "xattr").place
    assert attributes(place) == {}
    assert attributes(place / "dari") == {"provider": "dari"}
    assert attributes(place / "dari/s_1") == {"provider": "dari", "session": "s_1", "state": "unknown"}
    assert world.fakes.store.requests == []
    assert (place / "dari/s_1/d/a.txt").read_bytes() == b"alpha" * 100
    file, directory = attributes(place / "dari/s_1/d/a.txt"), attributes(place / "dari/s_1/d")
    assert set(file) - {"validator"} == {
        "provider",
        "session",
        "state",
        "fetched",
        "archive_size",
        "compressed_size",
        "crc32",
        "method",
    }
    assert file["state"] == "terminal"
    assert file["method"] == "deflate"
    assert re.fullmatch(r"[0-9a-f]{8}", file["crc32"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", file["fetched"])
    assert int(file["compressed_size"]) < int(file["archive_size"])
    assert {key: file[key] for key in directory} == directory
    said = sh("getfattr", "-R", "--absolute-names", "-d", place).stdout
    for secret in (world.fakes.dari.key, world.fakes.dari.url, world.fakes.store.url):
        assert secret not in said


@needs_getfattr
def test_last_error(world: World, mount: MOUNT) -> None:
    """A session that cannot be had says so in ``last_error``."""
    world.fakes.dari.add("s_2", b"<html>sorry</html>")
    place = mount("-o", "xattr").place
    assert sh("ls", place / "dari/s_2", check=False).returncode != 0
    found = attributes(place / "dari/s_2")
    assert found["state"] == "bad archive"
    assert found["last_error"]


def test_unknown_and_unchangeable(world: World, mount: MOUNT) -> None:
    """An attribute that is not there is ENODATA; none can be set or removed."""
    world.session("dari", zip_of({"a.txt": b"alpha"}))
    file = mount("-o", "xattr").place / "dari/s_1/a.txt"
    for name in ("user.mountfs.nothing", "user.other", "security.capability"):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at
            os.getxattr(file, name)
        assert caught.value.errno == errno.ENODATA
    with pytest.raises(OSError) as caught:  # noqa: PT011
        os.setxattr(file, "user.mountfs.state", b"live")
    assert caught.value.errno == errno.EROFS
    with pytest.raises(OSError) as caught:  # noqa: PT011
        os.removexattr(file, "user.mountfs.provider")
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize(("words", "asked"), [((), False), (("-o", "xattr"), True)])
def test_off_unless_asked_for(world: World, mount: MOUNT, words: tuple[str, ...], asked: bool) -> None:
    """Without the option there are none, and the kernel asks for none, however often ``ls -l`` does."""
    port = free_port()
    world.set("metrics", listen=f"127.0.0.1:{port}")
    world.session("dari", zip_of({f"f{number:03}": b"x" for number in range(200)}))
    place = mount(*words).place / "dari/s_1"
    sh("ls", "-l", place)
    if not asked:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at
            os.listxattr(place / "f000")
        assert caught.value.errno == errno.EOPNOTSUPP
    assert ('kind="getxattr"' in scraped(port)) == asked


def test_operations_counted(world: World, mount: MOUNT) -> None:
    """What programs do shows in the figures: lookups that found nothing, opens, reads."""
    port = free_port()
    world.set("metrics", listen=f"127.0.0.1:{port}")
    world.session("dari", zip_of({"a.txt": b"alpha"}))
    place = mount().place / "dari/s_1"
    with (place / "a.txt").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # it came with the open
        assert file.read() == b"alpha"
    assert not (place / "b.txt").exists()
    text = scraped(port)
    for line in ('{errno="ENOENT",kind="lookup"} 1.0', '{errno="ok",kind="open"} 1.0', '{errno="ok",kind="read"} 1.0'):
        assert f"mountfs_operations_total{line}" in text
