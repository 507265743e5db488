"""A mount with and without the direct way: the same tree, and what only the direct way can do."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from drives import World, zip_of
from mounts import Daemon, free_port, needs_fuse, scraped, sh, until
from zips import LINK, Part, archive

from mountfs.demo.faults import Mode, Proxy
from mountfs.knobs import takes_files

pytestmark = needs_fuse

MOUNT = Callable[..., Daemon]
BOUND = 10.0
"""Seconds for what should take a moment; a deadline here is 60 s."""
FILES = {
    "a.txt": b"alpha" * 1000,
    "empty": b"",
    "deep/er/b.bin": os.urandom(300_000),
    **{f"names/{'n' * length}": b"%d" % length for length in range(1, 40)},
}


def test_both_ways_show_the_same(world: World, mount: MOUNT) -> None:
    """Names, inodes, modes, sizes, times, links, contents and refusals, with pyfuse3 alone and without it."""
    links = [Part("link", b"deep/er", mode=LINK), Part("old", b"x", date=33, time=0)]
    parts = [Part(name, data) for name, data in FILES.items()]
    for provider in ("kaizen", "dari"):
        world.session(provider, archive(*parts, *links))
    shown = {}
    for name, words in (("direct", ()), ("pyfuse3", ("-o", "noexpress"))):
        place = mount(*words, name=name).place
        listed = sh(
            "find", ".", "-mindepth", "3", "-printf", "%p %i %m %s %T@ %n %U %G %l\\n", cwd=place
        ).stdout.splitlines()
        sums = sh("find", ".", "-type", "f", "-exec", "md5sum", "{}", "+", cwd=place).stdout.splitlines()
        refused = sh("sh", "-c", "cat nothing kaizen; touch kaizen/x; echo >kaizen/s_1/a.txt", cwd=place, check=False)
        shown[name] = sorted(listed), sorted(sums), refused.stderr.splitlines()
    assert len(shown["direct"][1]) == 2 * (len(FILES) + 1)
    assert shown["direct"] == shown["pyfuse3"]


@pytest.fixture
def hole(world: World) -> Proxy:
    """Dari behind a proxy that can fall silent."""
    world.set("network", deadline="60s", lookup_timeout="60s", read_timeout="60s", connect_timeout="60s")
    with Proxy(world.fakes.dari.url) as proxy:
        world.set("providers.dari", base_url=proxy.url)
        yield proxy
        proxy.mode = Mode.SERVE


def test_a_lookup_that_hangs_holds_up_no_other(world: World, hole: Proxy, mount: MOUNT) -> None:
    """In the same directory: while one name is asked for in vain, others are found and the directory is listed."""
    for number in range(2):
        world.session("dari", zip_of({"a.txt": b"alpha"}), number=number)
    place = mount().place / "dari"
    assert sorted(os.listdir(place)) == ["s_0", "s_1"]
    hole.mode = Mode.BLACK_HOLE
    before = hole.connections, len(hole.requests)
    stuck = subprocess.Popen(["stat", place / "s_unlisted"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: (hole.connections, len(hole.requests)) != before)
        for name in ("s_0", "s_1"):
            subprocess.run(["stat", place / name], check=True, timeout=BOUND, stdout=subprocess.DEVNULL)
        subprocess.run(["stat", place / "package.json"], check=False, timeout=BOUND, stderr=subprocess.DEVNULL)
        subprocess.run(["ls", place], check=True, timeout=BOUND, stdout=subprocess.DEVNULL)
        assert stuck.poll() is None
        stuck.send_signal(signal.SIGINT)
        assert stuck.wait(BOUND) == -signal.SIGINT
    finally:
        stuck.kill()
        stuck.wait()


def test_a_program_that_waits_costs_no_large_buffer(world: World, hole: Proxy, mount: MOUNT) -> None:
    """libfuse holds a buffer for each: while many names are asked for in vain, the daemon has not 1 MiB more for each
    of them. (A few threads may start meanwhile, 8 MiB each.)"""
    daemon = mount()
    before = _data(daemon.pid)
    hole.mode = Mode.BLACK_HOLE
    words = [["stat", daemon.place / "dari" / f"s_{number}"] for number in range(64)]
    stuck = [subprocess.Popen(each, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for each in words]
    try:
        until(lambda: daemon.status()["filesystem"]["waiting"] == 64)
        assert _data(daemon.pid) - before < 40 << 20
    finally:
        hole.mode = Mode.SERVE
        for each in stuck:
            each.kill()
            each.wait()


def test_a_large_read_is_one_request(world: World, mount: MOUNT) -> None:
    """Small buffers for libfuse do not make the kernel cut reads into small pieces."""
    world.session("kaizen", zip_of({"big.bin": os.urandom(4 << 20)}, stored=True))
    daemon = mount()
    path = daemon.place / "kaizen" / "s_1" / "big.bin"
    whole = path.read_bytes()
    before = _reads(daemon)
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 1 << 20) as into:  # O_DIRECT wants whole pages
            for offset in range(0, len(whole), 1 << 20):
                assert os.preadv(file, [into], offset) == len(into)
                assert into[:] == whole[offset : offset + len(into)]
    finally:
        os.close(file)
    assert _reads(daemon) - before == 4


def test_killed_programs_leave_no_handles(world: World, hole: Proxy, mount: MOUNT) -> None:
    """Programs killed while they open and list: once they are gone, nothing is open in the daemon."""
    world.session("kaizen", zip_of({f"f{number}": os.urandom(2000) for number in range(500)}))
    daemon = mount("-o", "xattr")
    place = daemon.place / "kaizen" / "s_1"
    os.listdir(place)
    for _ in range(15):
        program = subprocess.Popen(["grep", "-rc", "x", place], stdout=subprocess.PIPE)
        assert program.stdout is not None
        program.stdout.readline()
        program.kill()
        program.wait()
        program.stdout.close()

    def closed() -> bool:
        facts = daemon.status()["filesystem"]
        return facts["open_files"] == facts["open_directories"] == 0

    until(closed)


def test_it_goes_cleanly_while_it_is_asked(world: World, mount: MOUNT) -> None:
    """SIGTERM while requests and replies of libfuse's are under way: the mount is gone each time."""
    world.session("kaizen", zip_of({"a.txt": b"alpha"}))
    for number in range(5):
        daemon = mount(name=f"drive{number}")
        ended = threading.Event()

        def ask(place: Path = daemon.place, ended: threading.Event = ended) -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    os.statvfs(place)  # answered by libfuse, through the relay

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        until(lambda daemon=daemon: os.listdir(daemon.place) != [])
        try:
            daemon.stop()  # fails if the mount is left
        finally:
            ended.set()
            for asker in askers:
                asker.join()


@pytest.mark.skipif(not takes_files(os.uname().release), reason="this kernel is given nothing unasked")
def test_small_files_come_with_their_opens(world: World, mount: MOUNT) -> None:
    """No READ is needed, whatever their size to a page; what the kernel let go since, it asks for."""
    sizes = [1, 4095, 4096, 4097, 8191, 8192, 20_000, 65_535, 65_536]
    files = {f"f{size}": os.urandom(size // 2) + bytes(size - size // 2) for size in sizes}
    world.session("dari", zip_of(files))  # no ranges: all of it is here once it is entered
    port = free_port()
    world.set("metrics", listen=f"127.0.0.1:{port}")
    place = mount().place / "dari" / "s_1"
    assert sorted(os.listdir(place)) == sorted(files)
    for name, data in files.items():
        assert (place / name).read_bytes() == data
    asked = 'mountfs_operations_total{errno="ok",kind="read"}'
    assert asked not in scraped(port)
    for name, data in files.items():
        with (place / name).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert file.read() == data
    assert asked in scraped(port)


def test_opening_by_many_while_pages_come_and_go(world: World, mount: MOUNT) -> None:
    """A file is given with its open only where no READ of it can be under way; were that wrong, the daemon would wait
    for a page that the kernel keeps until the daemon answers: nothing would end."""
    rounds, programs = 4, 8
    files = {f"f{number:03}": os.urandom(300) * (number + 1) for number in range(120)}
    for number in range(rounds):
        world.session("kaizen", zip_of(files), number=number)
    daemon = mount()

    def reading(place: Path, seed: int, wrong: list[str]) -> None:
        names = sorted(files)
        random.Random(seed).shuffle(names)
        for name in names:
            with (place / name).open("rb", buffering=0) as file:
                if seed % 2:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                    if mapped[:] != files[name] or file.read() != files[name]:
                        wrong.append(name)

    for number in range(rounds):
        wrong: list[str] = []
        place = daemon.place / "kaizen" / f"s_{number}"
        os.listdir(place)
        threads = [threading.Thread(target=reading, args=(place, seed, wrong), daemon=True) for seed in range(programs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        assert not wrong


def _data(pid: int) -> int:
    """Bytes of private memory of a process, touched or not: proc(5), VmData."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))


def _reads(daemon: Daemon) -> int:
    reads = daemon.status()["filesystem"]["reads"]
    assert isinstance(reads, int)
    return reads
