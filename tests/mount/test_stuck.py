"""Programs that wait for a stalled service: a signal ends them at once, and nobody else waits with them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from drives import World, zip_of
from mounts import Daemon, needs_fuse, sh, until

from mountfs.demo.faults import Mode, Proxy

pytestmark = needs_fuse

SOON = 5.0
"""Seconds; a pending signal is looked for every 0.25 s, and the deadline here is 60 s."""
NOISE = os.urandom(8 << 20)
MOUNT = Callable[..., Daemon]


@pytest.fixture
def hole(world: World) -> Iterator[Proxy]:
    """Dari behind a proxy that can fall silent."""
    world.set("network", deadline="60s", lookup_timeout="60s", read_timeout="60s", connect_timeout="60s")
    with Proxy(world.fakes.dari.url) as proxy:
        world.set("providers.dari", base_url=proxy.url)
        yield proxy
        proxy.mode = Mode.SERVE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("program", ["lookup", "opendir", "open"])
def test_signal_ends_the_program(world: World, hole: Proxy, mount: MOUNT, program: str, number: signal.Signals) -> None:
    """A program stuck in lookup, opendir or open ends soon after a signal, SIGKILL too."""
    world.session("dari", zip_of({"big.bin": NOISE}, stored=True))
    world.fakes.dari.ranges, world.fakes.dari.etags, world.fakes.dari.chunked = True, "strong", False
    place = mount().place / "dari"
    words = {
        "lookup": ["stat", place / "s_unlisted"],
        "opendir": ["ls", place / "s_1"],
        "open": ["cat", place / "s_1" / "big.bin"],
    }[program]
    if program == "open":
        sh("ls", place / "s_1")
    hole.mode = Mode.BLACK_HOLE
    before = len(hole.requests), hole.connections
    stuck = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: (len(hole.requests), hole.connections) != before)
        assert stuck.poll() is None
        stuck.send_signal(number)
        assert stuck.wait(SOON) == -number
    finally:
        hole.mode = Mode.SERVE
        stuck.kill()
        stuck.wait()


def test_others_do_not_wait(world: World, hole: Proxy, mount: MOUNT) -> None:
    """While many programs are stuck on one provider, another provider's sessions are entered, listed and read."""
    world.session("dari")
    world.session("kaizen", zip_of({"a.txt": b"alpha"}))
    place = mount().place
    hole.mode = Mode.BLACK_HOLE
    stuck = [
        subprocess.Popen(["ls", place / "dari" / f"s_{n}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for n in range(1, 20)
    ]
    try:
        until(lambda: hole.connections > 0)
        told = subprocess.run(
            ["cat", place / "kaizen" / "s_1" / "a.txt"], capture_output=True, timeout=SOON, check=True
        )
        assert told.stdout == b"alpha"
        subprocess.run(["ls", place / "browserbase", place], capture_output=True, timeout=SOON, check=True)
    finally:
        for program in stuck:
            program.kill()
        for program in stuck:
            program.wait(SOON)


def test_after_the_hole(world: World, hole: Proxy, mount: MOUNT) -> None:
    """A service that answers again is used again, and the program that was stuck gets its answer."""
    world.session("dari", zip_of({"a.txt": b"alpha"}))
    place = mount().place
    hole.mode = Mode.BLACK_HOLE
    stuck = subprocess.Popen(["cat", place / "dari" / "s_1" / "a.txt"], stdout=subprocess.PIPE)
    try:
        until(lambda: hole.connections > 0)
        hole.mode = Mode.SERVE
        assert stuck.communicate(timeout=30)[0] == b"alpha"
    finally:
        stuck.kill()
        stuck.wait()
