"""The watchdog's canary: asked through the kernel, by a child that cannot take the daemon with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from managers import Manager
from mounts import needs_root

from mountfs.service import Notifier, Supervision
from mountfs.service.canary import Canary, feed
from mountfs.service.opener import mount, mount_data, mount_flags, unmount

needs_fuse = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse")


class Unserved:
    """A mount whose daemon never answers."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        mount("unserved", str(place), mount_flags([]), mount_data(self._descriptor, 0, 0))
        self._open = True

    def die(self) -> None:
        """As a daemon that is killed."""
        if self._open:
            self._open = False
            os.close(self._descriptor)

    def clear(self) -> None:
        self.die()
        unmount(str(self.place))


@pytest.fixture
def unserved(tmp_path: Path) -> Iterator[Unserved]:
    place = tmp_path / "unserved"
    place.mkdir()
    mounted = Unserved(place)
    yield mounted
    mounted.clear()


def test_answers() -> None:
    """A place that is there answers, one that is not does not."""
    assert trio.run(Canary("/").answers, 30.0)
    assert not trio.run(Canary("/nonexistent").answers, 30.0)


def test_inherits_no_descriptor(tmp_path: Path) -> None:
    """/dev/fuse in the child would keep the connection of a dead daemon open."""
    with open(tmp_path / "file", "wb") as file:
        os.set_inheritable(file.fileno(), True)
        canary = Canary("/")
        canary._command = ["sh", "-c", f"test ! -e /proc/self/fd/{file.fileno()}"]
        assert trio.run(canary.answers, 30.0)


def test_no_process_to_be_had() -> None:
    """That no child can be started is not the end of the daemon; the watchdog is just not fed."""
    canary = Canary("/")
    canary._command = ["/nonexistent/stat"]
    assert not trio.run(canary.answers, 30.0)


@needs_root
@needs_fuse
def test_hanging_mount(unserved: Unserved) -> None:
    """A mount that hangs is not waited for, one child is all it gets, and that goes with the mount."""

    async def main() -> None:
        canary = Canary(str(unserved.place))
        assert not await canary.answers(0.1)
        child = canary._child
        assert child is not None
        assert not await canary.answers(0.05)
        assert canary._child in {child, None}  # it may have died of SIGKILL, depending on the kernel
        unserved.die()
        assert not await canary.answers(30.0)
        assert canary._child is None
        assert not await canary.answers(30.0)  # ENOTCONN

    trio.run(main)


@needs_root
@needs_fuse
def test_cancelled_while_it_hangs(unserved: Unserved) -> None:
    """The daemon's end does not wait for a child that is stuck."""

    async def main() -> None:
        canary = Canary(str(unserved.place))
        with trio.move_on_after(0.1) as scope:
            await canary.answers(60.0)
        assert scope.cancelled_caught
        assert canary._child is not None
        unserved.die()
        canary._child.wait(30)

    trio.run(main)


def test_feed(tmp_path: Path) -> None:
    """Fed three times in a period while the mount answers, and from then on not at all."""
    place = tmp_path / "place"
    place.mkdir()

    async def main(manager: Manager) -> None:
        supervised = Supervision(Notifier(manager.address), watchdog=0.06)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, supervised, str(place))
            await trio.to_thread.run_sync(manager.wait_for, "WATCHDOG=1", 3)
            place.rmdir()
            nursery.cancel_scope.cancel()

    with Manager(tmp_path) as manager:
        trio.run(main, manager)
        fed = manager.count("WATCHDOG=1")

        async def not_fed() -> None:
            with trio.move_on_after(0.3):
                await feed(Supervision(Notifier(manager.address), watchdog=0.06), str(place))

        trio.run(not_fed)
        assert manager.count("WATCHDOG=1") == fed


def test_no_watchdog() -> None:
    """Where none waits, nothing is asked."""
    trio.run(feed, Supervision(), "/nonexistent")
