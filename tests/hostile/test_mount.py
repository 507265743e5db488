"""zip.md's tables through a real mount, one for all: names, types, times, sizes and errors as programs see them, and
what ``status`` and ``why`` tell of them."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from drives import World
from hostile import methods
from hostile.cases import CASES, LINK, Case, File
from hostile.observe import Observed, Seen, judge, judge_log
from mounts import Daemon, needs_fuse, sh
from zips import Part, archive, many

from mountfs.cli.why import told
from mountfs.control import ask, socket_path
from mountfs.demo.server import Fakes

pytestmark = needs_fuse
NAMES = {errno.EIO: "EIO", errno.EOPNOTSUPP: "EOPNOTSUPP"}
ESCAPE = archive(
    Part("x/r", b"../../..", mode=LINK),
    Part("esc", b"x/r/../../S", mode=LINK),
    Part("way", b"x/r", mode=LINK),
    Part("way/in.txt", b"below a link's name"),
)
"""Links that lead out together, though none does alone (tried on a mount, zip.md)."""
PROGRAM = archive(Part("run", b"#!/bin/sh\necho hello\n", mode=0o100755))
COUNTLESS = archive(*many(65_540, directories=7))
EXTRA = {"escape": ESCAPE, "program": PROGRAM, "methods": methods.sound(), "countless": COUNTLESS}


@dataclass(frozen=True)
class Mounted:
    """The mount of all cases. ``status``: of each session, once everything was read."""

    daemon: Daemon
    observed: dict[str, Observed]
    status: dict[str, Any]

    def session(self, number: int | str) -> Path:
        return self.daemon.place / "kaizen" / f"s_{number}"

    def ask(self, verb: str, **args: object) -> Any:
        return list(ask(self.socket, verb, args))[-1]

    def tells(self, verb: str, *words: str) -> str:
        """What the command line says of it."""
        home = self.daemon.place.parent / f"{self.daemon.place.name}.home"
        where = (f"XDG_RUNTIME_DIR={home / 'run'}", "PYTHONDONTWRITEBYTECODE=1", "COLUMNS=250")
        return sh("env", *where, sys.executable, "-P", "-m", "mountfs", verb, *words).stdout

    @property
    def socket(self) -> str:
        return socket_of(self.daemon)


def socket_of(daemon: Daemon) -> str:
    home = daemon.place.parent / f"{daemon.place.name}.home"
    return socket_path(str(home / "run" / "mountfs"), str(daemon.place))


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    place: Path = tmp_path_factory.mktemp("hostile")
    with Fakes() as fakes:
        world = World(fakes, place)
        for number, case in enumerate(CASES):
            world.session("kaizen", number=number).archive = case.data
        for name, data in EXTRA.items():
            fakes.kaizen.add(f"s_{name}", data)
        world.set("freshness", failing="60s")
        world.config()
        with Daemon(place / "config.toml", place / "drive") as daemon:
            drive = daemon.place / "kaizen"
            observed = {case.name: observe(os.fsencode(drive / f"s_{n}")) for n, case in enumerate(CASES)}
            lines = [line.split(" ", 1) for line in daemon.logged().splitlines()]
            for number, case in enumerate(CASES):
                starts = (f"kaizen/s_{number}:", f"kaizen/s_{number}/")
                observed[case.name].log = [
                    line[1] for line in lines if line[0] in {"WARNING", "ERROR"} and line[1].startswith(starts)
                ]
            status = list(ask(socket_of(daemon), "status"))[-1]
            yield Mounted(daemon, observed, {row["id"]: row for row in status["sessions"]})


def look(path: bytes, attributes: os.stat_result) -> Seen:
    """One name, read to its end by a few preads."""
    seen = Seen(attributes.st_mode, attributes.st_size, attributes.st_mtime_ns)
    try:
        if stat.S_ISLNK(attributes.st_mode):
            seen.data = os.readlink(path)
        elif stat.S_ISREG(attributes.st_mode):
            seen.opened = False
            descriptor = os.open(path, os.O_RDONLY)
            seen.opened = True
            try:
                while data := os.read(descriptor, 1 << 20):
                    seen.data += data
            finally:
                os.close(descriptor)
    except OSError as exc:
        seen.errno = exc.errno or -1
    return seen


def observe(session: bytes) -> Observed:
    """A whole session. Paths are longer than PATH_MAX on the way down, so it goes by chdir in its own thread's stead:
    by directory descriptors."""
    observed = Observed()
    try:
        top = os.open(session, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        observed.errno = exc.errno or -1
        return observed
    observed.mtime_ns = os.fstat(top).st_mtime_ns
    left = [(b"", top)]
    while left:
        above, directory = left.pop()
        for name in os.listdir(f"/proc/self/fd/{directory}".encode()):
            path = above + b"/" + name if above else name
            attributes = os.stat(name, dir_fd=directory, follow_symlinks=False)
            here = f"/proc/self/fd/{directory}/".encode() + name
            observed.names[path] = look(here, attributes)
            if stat.S_ISDIR(attributes.st_mode):
                left.append((path, os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)))
        os.close(directory)
    return observed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_row(mounted: Mounted, case: Case) -> None:
    """Programs see what the table says."""
    judge(case, mounted.observed[case.name])
    judge_log(case, mounted.observed[case.name].log)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_row_is_told(mounted: Mounted, case: Case) -> None:
    """``status`` has the counts, ``why`` the reason of every error, for the session and for each file."""
    number = CASES.index(case)
    row = mounted.status[f"s_{number}"]
    if case.refused:
        assert case.refused in row["error"]
        assert case.refused in mounted.ask("why", path=f"kaizen/s_{number}")["events"][0]["message"]
        return
    assert row["remarks"] == case.remarks
    lines = list(told(mounted.ask("why", path=f"kaizen/s_{number}"), now=time.time()))
    assert [line for line in lines if line.startswith("  odd ")] == [
        f"  odd       {count} {remark}" for remark, count in sorted(case.remarks.items())
    ]
    for path, node in case.bad.items():
        answer = mounted.ask("why", path=f"kaizen/s_{number}/{os.fsdecode(path)}")
        assert answer["member"]["errno"].startswith(f"{NAMES[node.errno]} (")
        assert node.says == "late" or node.says in answer["member"]["fault"]
        if node.size:
            assert answer["events"][0]["errno"] == answer["member"]["errno"]
    for path, node in case.shows.items():
        if isinstance(node, File) and not node.errno:
            assert mounted.ask("why", path=f"kaizen/s_{number}/{os.fsdecode(path)}")["member"]["fault"] == ""
            break


def test_the_command_line_tells(mounted: Mounted) -> None:
    """``status`` has in a word what is odd in each session, ``why`` each reason; a control character in a name moves no
    cursor there."""
    numbers = {case.name: number for number, case in enumerate(CASES)}
    status = {
        line.split()[0]: line
        for line in mounted.tells("status", "--all", str(mounted.daemon.place)).splitlines()
        if "kaizen/" in line
    }
    for name, note in {
        "duplicate names": "3 shadowed",
        "parent components": "6 hidden",
        "absolute": "2 renamed",
        "overlapping members": "2 damaged",
        "links with faults": "6 damaged",
    }.items():
        assert status[f"kaizen/s_{numbers[name]}"].rstrip().endswith(f"  {note}")
    session = mounted.session(numbers["parent components"])
    assert "  odd       6 hidden: '..' in the name\n" in mounted.tells("why", str(session))
    escape = numbers["control characters in the name of what cannot be read"]
    inner = f"kaizen/s_{escape}/a\x1b[31m\n.txt"
    said = mounted.tells("why", inner)
    assert "a\\x1b[31m\\n.txt" in said
    assert "\x1b" not in said


def test_countless(mounted: Mounted) -> None:
    """More members than an end record without zip64 can count are all listed."""
    assert sum(len(os.listdir(mounted.session("countless") / f"dir{number:04d}")) for number in range(7)) == 65_540
    assert (mounted.session("countless") / "dir0005" / "file-0065539.txt").read_bytes() == b"65539\n"


def test_links_do_not_lead_out(mounted: Mounted) -> None:
    """No link, and no two together, name anything outside their session."""
    session = mounted.session("escape")
    for place, directories, names in os.walk(session):
        for name in directories + names:
            path = Path(place) / name
            if path.is_symlink():
                assert path.resolve().is_relative_to(session.resolve())
    assert (session / "esc").read_bytes() == b"x/r/../../S"
    assert os.readlink(session / "way (1)") == "x/r"
    assert (session / "way (1)").read_bytes() == b"../../.."
    assert (session / "way" / "in.txt").read_bytes() == b"below a link's name"


def test_programs_run(mounted: Mounted) -> None:
    """An x bit in the archive makes a program."""
    assert sh(mounted.session("program") / "run").stdout == "hello\n"


def test_tools_agree(mounted: Mounted) -> None:
    """``find`` walks all of it, the odd names too, and finds what is shown; ``du`` and ``tar`` do not stumble."""
    number = next(number for number, case in enumerate(CASES) if case.name == "control characters")
    listed = sh("find", mounted.session(number), "-mindepth", "1", "-print0").stdout
    assert sorted(name.rsplit("/", 1)[1] for name in listed.split("\0")[:-1]) == sorted(
        os.fsdecode(path) for path in CASES[number].shows
    )
    deep = next(number for number, case in enumerate(CASES) if case.name == "depth and length")
    assert sh("find", mounted.session(deep), "-type", "f").stdout.count("/d") >= 256
    sh("tar", "-C", mounted.session(deep), "-cf", "/dev/null", ".")


def test_methods(mounted: Mounted) -> None:
    """Every compression method, small and large, to programs that read forward, backward and by mapping."""
    for method in methods.METHODS:
        for large, expected in ((False, methods.SMALL), (True, methods.LARGE)):
            path = mounted.session("methods") / methods.name(method, large=large)
            assert sh("tail", "-c", "100", path).stdout.encode() == expected[-100:]
            assert path.read_bytes() == expected
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                assert mapped[len(expected) // 2 :] == expected[len(expected) // 2 :]
