"""One provider hangs, the mount lives: others are answered, stuck programs can be ended, the daemon goes when told to,
within its limits. Through a real mount; figures come from ``tests/bench/isolation.py``, here only bounds are asserted.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from drives import World, id_of, zip_of
from faults.stuck import in_read
from mounts import NOBODY, Daemon, as_user, needs_fuse, needs_root, sh, until

from mountfs.cli.table import mount_at
from mountfs.demo import steps
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.server import Fakes

pytestmark = needs_fuse

BOUND = 10.0
"""Seconds for what should take a moment; a deadline here is 60 s."""
NOISE = os.urandom(3 << 20)
MOUNT = Callable[..., Daemon]


@pytest.fixture
def mount(world: World, tmp_path: Path) -> Iterator[MOUNT]:
    """Mounts the world, and ends the daemon after the test."""
    with ExitStack() as stack:

        def mounted(*words: str) -> Daemon:
            world.config()
            return stack.enter_context(Daemon(tmp_path / "config.toml", tmp_path / "drive", *words))

        yield mounted


def give(place: Path, user: int) -> None:
    """A directory and all in it belong to another user."""
    (place / "drive").mkdir()
    place.chmod(0o755)
    for path in (place, *place.rglob("*")):
        os.lchown(path, user, user)


@contextmanager
def blocked(*commands: list[str | Path], user: int | None = None) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs that will wait; they are ended afterwards."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen([*as_user(user), *map(str, command)], **quiet) for command in commands]  # type: ignore[call-overload]
    try:
        yield running
    finally:
        for program in running:
            program.kill()
        for program in running:
            program.wait(60)


@pytest.fixture
def hole(world: World) -> Iterator[Proxy]:
    """Dari behind a proxy that answers nothing."""
    world.set("network", deadline="60s", lookup_timeout="60s", read_timeout="60s", connect_timeout="60s")
    with Proxy(world.fakes.dari.url) as proxy:
        world.set("providers.dari", base_url=proxy.url)
        proxy.mode = Mode.BLACK_HOLE
        yield proxy
        proxy.mode = Mode.SERVE


def test_three_hundred_blocked(world: World, hole: Proxy, mount: MOUNT) -> None:
    """While 300 processes wait for a black hole, another provider's sessions are listed and read, new ones too."""
    world.set("providers.dari", sessions=[f"s_{number}" for number in range(300)])
    for number in range(5):
        world.session("kaizen", zip_of({"a.txt": b"alpha"}), number=number)
    place = mount().place
    with blocked(*(["ls", place / "dari" / f"s_{number}"] for number in range(300))) as stuck:
        until(lambda: hole.connections > 0)
        began = time.monotonic()
        for number in range(5):
            assert os.listdir(place / "kaizen" / f"s_{number}") == ["a.txt"]
            assert (place / "kaizen" / f"s_{number}" / "a.txt").read_bytes() == b"alpha"
            assert (place / "kaizen" / f"s_{number}" / "a.txt").stat().st_size == 5
        assert time.monotonic() - began < BOUND
        assert all(program.poll() is None for program in stuck)


@pytest.fixture
def open_device() -> Iterator[None]:
    """udev gives /dev/fuse the mode 0666; where nobody did, it is so for this test."""
    before = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)
    try:
        yield
    finally:
        os.chmod("/dev/fuse", before)


@needs_root
def test_readers_hung_in_read(open_device: None) -> None:
    """20 readers hang inside read, as an ordinary user with 12 background requests: other files can still be read."""
    files = {f"big{number}.bin": NOISE for number in range(20)}
    with Fakes() as fakes, tempfile.TemporaryDirectory(prefix="mountfs-user-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        world = World(fakes, place)
        world.set("network", deadline="60s", read_timeout="60s")
        world.session("kaizen", zip_of(files, stored=True))
        world.session("dari", zip_of({"a.txt": b"alpha" * 10_000}))
        world.config()
        give(place, NOBODY)
        with Daemon(place / "config.toml", place / "drive", user=NOBODY) as daemon:
            big = daemon.place / "kaizen" / "s_1"
            sh("ls", big, daemon.place / "dari" / "s_1", user=NOBODY)
            fakes.clear_requests()
            fakes.store.inject(steps.Stall(300_000), times=None)
            with blocked(*(["cat", big / file] for file in files), user=NOBODY) as stuck:
                until(lambda: sum(in_read(program.pid) for program in stuck) >= 6)
                told = sh("cat", daemon.place / "dari" / "s_1" / "a.txt", user=NOBODY)
                assert told.stdout == "alpha" * 10_000
                for program in stuck:
                    program.send_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_reader_can_be_ended(world: World, mount: MOUNT, number: signal.Signals) -> None:
    """A program that hangs inside read ends soon after a signal."""
    world.set("network", deadline="60s", read_timeout="60s")
    world.session("kaizen", zip_of({"big.bin": NOISE, "more.bin": NOISE}, stored=True))
    place = mount().place / "kaizen" / "s_1"
    sh("ls", place)
    world.fakes.store.inject(steps.Stall(300_000), times=None)
    with blocked(["cat", place / "big.bin"]) as (reader,):
        until(lambda: world.fakes.store.bytes_sent() >= 300_000)
        reader.send_signal(number)
        assert reader.wait(2) == -number


DIRECT = """
import mmap, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
file, page = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 20)
at = 0
while count := os.preadv(file, [page], at):
    at += count
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_reader_that_waits_itself_can_be_ended(world: World, mount: MOUNT, number: signal.Signals) -> None:
    """One past the page cache, which the kernel does not let go before its READ is answered, ends soon too."""
    world.set("network", deadline="60s", read_timeout="60s")
    world.session("kaizen", zip_of({"big.bin": NOISE}, stored=True))
    place = mount().place / "kaizen" / "s_1"
    sh("ls", place)
    world.fakes.store.inject(steps.Stall(300_000), times=None)
    with blocked([sys.executable, "-c", DIRECT, place / "big.bin"]) as (reader,):
        until(lambda: world.fakes.store.bytes_sent() >= 300_000 and in_read(reader.pid))
        reader.send_signal(number)
        assert reader.wait(5) == -number


@pytest.mark.parametrize("way", ["SIGTERM", "umount"])
def test_going_while_programs_are_stuck(world: World, hole: Proxy, mount: MOUNT, way: str) -> None:
    """With programs stuck in lookup, opendir, open and read the daemon goes within 5 s, its mount is gone, and every
    program gets an error."""
    world.set("providers.dari", sessions=["s_1"])
    world.session("kaizen", zip_of({f"big{number}.bin": NOISE for number in range(4)}, stored=True))
    daemon = mount()
    place = daemon.place
    sh("ls", place / "kaizen" / "s_1")
    world.fakes.store.inject(steps.Stall(300_000), times=None)
    commands: list[list[str | Path]] = [["cat", place / "kaizen" / "s_1" / f"big{number}.bin"] for number in range(4)]
    with blocked(["stat", place / "dari" / "s_9"], ["ls", place / "dari" / "s_1"], *commands) as stuck:
        until(lambda: hole.connections > 0 and len(world.fakes.store.requests) > 3)
        began = time.monotonic()
        if way == "SIGTERM":
            daemon.send(signal.SIGTERM)
        else:
            sh("umount", "-l", place)
            daemon.send(signal.SIGTERM)
        assert daemon.process is not None
        assert daemon.process.wait(8) == 0
        assert time.monotonic() - began < 6
        assert mount_at(str(place)) is None
        for program in stuck:
            assert program.wait(5) != 0


@pytest.mark.parametrize(
    "most",
    [
        1024,
        512,
    ],
)
def test_within_limits(world: World, mount: MOUNT, most: int) -> None:
    """With few file descriptors and bounded memory, 200 sessions are entered and 1,000 files are open at once, and all
    give the right bytes."""
    for number in range(200):
        world.session(
            "kaizen", zip_of({f"f{at}.txt": b"%d %d\n" % (number, at) * 300 for at in range(5)}), number=number
        )
    daemon = mount()
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (most, most))
    resource.prlimit(daemon.pid, resource.RLIMIT_DATA, (1 << 30, 1 << 30))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    held = []
    try:
        for number in range(200):
            for at in range(5):
                held.append((number, at, os.open(daemon.place / "kaizen" / f"s_{number}" / f"f{at}.txt", os.O_RDONLY)))  # noqa: PERF401 - closed one by one if it fails
        assert len(os.listdir(f"/proc/{daemon.pid}/fd")) <= most
        for number, at, descriptor in held:
            assert os.pread(descriptor, 1 << 16, 0) == b"%d %d\n" % (number, at) * 300
        assert resident(daemon.pid) < 300 << 20
    finally:
        for _, _, descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert "Traceback" not in daemon.logged()


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("provider", ["kaizen", "dari", "browserbase"])
def test_crawler(world: World, mount: MOUNT, tmp_path: Path, provider: str) -> None:
    """A program that indexes drives gets EACCES from a session that is not here, without a request; from one that is,
    it gets what everybody does."""
    world.session(provider, zip_of({"a.txt": b"alpha"}))
    crawler = tmp_path / "updatedb"
    shutil.copy(shutil.which("ls") or "/bin/ls", crawler)
    place = mount().place / provider / id_of(provider)
    place.stat()
    world.fakes.clear_requests()
    told = sh(crawler, place, check=False)
    assert os.strerror(errno.EACCES) in told.stderr
    assert [fake.name for fake in world.fakes.all if fake.requests] == []
    assert sh("ls", place).stdout == "a.txt\n"
    assert sh(crawler, place).stdout == "a.txt\n"
