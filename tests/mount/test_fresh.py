"""A live session as programs see it through the kernel's caches: what changed, vanished or is new shows (issue 4,
item 2)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import World, zip_of
from mounts import Daemon, needs_fuse, sh, until

from mountfs.control import ask, socket_path

pytestmark = needs_fuse
MOUNT = Callable[..., Daemon]
OLD = {"same.txt": b"same", "changed.txt": b"before", "gone.txt": b"gone", "d/deep.txt": b"deep"}
NEW = {"same.txt": b"same", "changed.txt": b"after!", "new.txt": b"new", "d/deep.txt": b"deep"}


def names(place: Path) -> list[str]:
    return sorted(os.listdir(place))


def socket_of(daemon: Daemon) -> str:
    """Its control socket: the daemon's runtime directory is its own."""
    run = daemon.place.parent / f"{daemon.place.name}.home" / "run"
    found = list(run.rglob("*.sock"))
    assert len(found) == 1
    assert found[0].name == os.path.basename(socket_path("", str(daemon.place)))
    return str(found[0])


def refresh(daemon: Daemon, *paths: str) -> list[str]:
    """``mountfs refresh``; the errors it reports, "" for none."""
    *_, answer = ask(socket_of(daemon), "refresh", {"paths": list(paths)})
    return [row["error"] for row in answer["refreshed"]]


def check(place: Path, session: str = "s_1") -> None:
    """The new contents are there, through the kernel."""
    root = place / "dari" / session
    until(lambda: names(root) == ["changed.txt", "d", "new.txt", "same.txt"])
    until(lambda: not (root / "gone.txt").exists())
    until((root / "new.txt").exists)
    until(lambda: (root / "changed.txt").read_bytes() == b"after!")
    assert (root / "d" / "deep.txt").read_bytes() == b"deep"


@pytest.mark.parametrize("etags", [True, False])
def test_live_session_changes(world: World, mount: MOUNT, etags: bool) -> None:
    """What the service has shows by itself once the belief has run out; files that are open, and working directories,
    keep working."""
    session = world.session("dari", zip_of(OLD))
    session.status, session.ended = "active", None
    world.fakes.dari.etags = "strong" if etags else None
    world.set("freshness", live="0.2s")
    daemon = mount()
    root = daemon.place / "dari" / "s_1"
    inode = os.stat(root / "same.txt").st_ino
    inner = os.open(root / "d", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with (root / "gone.txt").open("rb") as gone, (root / "changed.txt").open("rb") as changed:
            assert not (root / "new.txt").exists()
            session.archive = zip_of(NEW)
            os.close(inner)
            inner = -1
            check(daemon.place)
            assert gone.read() == b"gone"
            assert changed.read() == b"before"
        assert os.stat(root / "same.txt").st_ino == inode
    finally:
        if inner >= 0:
            os.close(inner)


def test_refresh_through_the_control_socket(world: World, mount: MOUNT) -> None:
    """A terminal session is believed for ever, until ``refresh``: then the running mount shows the change, and the
    working directory of a program inside stays one."""
    session = world.session("dari", zip_of(OLD))
    daemon = mount()
    root = daemon.place / "dari" / "s_1"
    sh("cp", "-r", root, daemon.place.parent / "copy")
    assert (root / "gone.txt").read_bytes() == b"gone"
    session.archive = zip_of(NEW)
    assert "gone.txt" in names(root)
    where = os.open(root / "d", os.O_PATH)
    try:
        assert refresh(daemon, "dari/s_1") == [""]
        check(daemon.place)
        assert os.readlink(f"/proc/self/fd/{where}") == str(root / "d")
    finally:
        os.close(where)


def test_refresh_of_an_absent_name(world: World, mount: MOUNT) -> None:
    """A name the kernel remembers as absent is there at once after ``refresh``."""
    daemon = mount()
    place = daemon.place / "dari" / "s_1"
    assert not place.exists()
    world.fakes.dari.add("s_1", zip_of(NEW))
    assert not place.exists()
    assert refresh(daemon, "dari/s_1") == [""]
    until(place.exists)
    check(daemon.place)


def test_not_ready_becomes_ready(world: World, mount: MOUNT) -> None:
    """A session that is not ready exists; looking inside is EBUSY until it is ready, without mounting again."""
    session = world.session("dari", zip_of(NEW))
    session.ready = False
    world.set("freshness", pending="0.2s")
    daemon = mount()
    place = daemon.place / "dari" / "s_1"
    assert place.is_dir()
    assert "busy" in sh("ls", place, check=False).stderr
    session.ready = True
    until(lambda: sh("ls", place, check=False).returncode == 0)
    check(daemon.place)


def test_everything_cached_without_the_service(world: World, mount: MOUNT) -> None:
    """After a restart with ``--offline``, every cached session copies right and no request is made."""
    for number in range(5):
        world.session("dari", zip_of({**NEW, f"{number}.txt": b"x"}), number=number)
    daemon = mount()
    sh("cp", "-r", daemon.place / "dari", daemon.place.parent / "before")
    daemon.stop()
    world.fakes.clear_requests()
    daemon = mount("--offline")
    sh("diff", "-r", daemon.place.parent / "before", daemon.place / "dari")
    assert not (daemon.place / "dari" / "never_seen").exists()
    assert world.fakes.dari.requests == []
