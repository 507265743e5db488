"""The tools that are measured, and how each is brought to show an archive's files under a directory.

A tool is a row of LOCAL or REMOTE. ``show`` starts it and answers a ``Shown``: the directory to work in, the daemons
whose memory counts, and the seconds it took until a program could go in. A tool whose programs are not on this
machine is left out, with the line ``missing`` gives. Peers may live in directories of their own: ``BENCH_PEERS``,
colon-separated, is looked through before PATH.

What is fair: a peer's mount is one archive's, so the time of its start belongs to the first thing done with it;
mountfs is mounted once for all sessions and before any is known, so its start is a row of its own. Nothing a tool
kept is left for its next run: caches, indices and copies lie in a scratch directory that is made anew, except where
the row says warm.

Concurrency: none; a daemon at a time, in the foreground of a process of its own, found again by its pid.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .archives import Archive, extracted

READY = 120.0
"""Seconds a daemon may take until it is mounted."""
GOING = 15.0
"""Seconds it may take to go."""
CONFIG = """
[providers.kaizen]
type = "kaizen"
base_url = "{url}"
api_key_file = "{key}"
sessions = [{sessions}]

[cache]
dir = "{cache}"
max_size = "{cache_size}"

[network]
deadline = "600s"
"""


class ToolFailed(Exception):
    """A tool did not come up; its last words."""


@dataclass
class Shown:
    """``root``: where the members are. ``seconds``: the start, where it belongs to the first step."""

    root: Path
    daemons: list[int] = field(default_factory=list)
    start: float = 0.0
    counted_start: float = 0.0
    archive_file: Path | None = None

    def peak_rss(self) -> int:
        """The daemons' largest resident size so far together, in KiB."""
        return sum(_high_water(pid) for pid in self.daemons)

    def cpu(self) -> float:
        """The CPU seconds the daemons have used so far: less shaken by other load than the clock on the wall."""
        return sum(_cpu_seconds(pid) for pid in self.daemons)


@dataclass(frozen=True)
class Scene:
    """What a tool is started in. ``scratch``: emptied before every run; ``keep``: for what stays between runs."""

    archive: Archive
    scratch: Path
    keep: Path
    url: str
    cpu: str | None = None

    @property
    def archive_url(self) -> str:
        return f"{self.url}/archives/{self.archive.path.name}"

    def pinned(self, command: Sequence[str]) -> list[str]:
        """``command`` on the one CPU of this scene, if it has one."""
        return ["taskset", "-c", self.cpu, *command] if self.cpu else list(command)


@dataclass(frozen=True)
class Tool:
    """One row. ``needs``: programs; ``remark``: what a reader of the table should know."""

    name: str
    show: Callable[[Scene], contextlib.AbstractContextManager[Shown]]
    needs: tuple[str, ...] = ()
    remark: str = ""
    only_unzip: bool = False

    def missing(self) -> str | None:
        """Why it cannot be measured here; None if it can."""
        absent = [program for program in self.needs if find(program) is None]
        return f"{self.name}: skipped, {', '.join(absent)} not found" if absent else None


def read_all(place: Path) -> None:
    """Brings a file, or all files below a directory, into the page cache: nobody is measured by the disk."""
    buffer = bytearray(1 << 20)
    for path in [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file() and not p.is_symlink()]:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def search_path() -> str:
    """BENCH_PEERS before PATH."""
    return os.pathsep.join(filter(None, (os.environ.get("BENCH_PEERS"), os.environ["PATH"])))


def find(program: str) -> str | None:
    """Where a program is."""
    return shutil.which(program, path=search_path())


# -- processes -------------------------------------------------------------------------------------------------------


def _high_water(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def is_mounted(directory: Path) -> bool:
    """Read from the mount table: a stat would wait for a daemon that is not ready."""
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split()[4] == str(directory) for line in table)


@contextmanager
def mounted(scene: Scene, command: Sequence[str], mountpoint: Path) -> Iterator[tuple[int, float]]:
    """Runs a daemon in the foreground until the block ends; gives its pid and the seconds until it was mounted."""
    mountpoint.mkdir(parents=True, exist_ok=True)
    log = scene.scratch / f"{mountpoint.name}.log"
    environment = {**os.environ, "PATH": search_path(), "HOME": str(scene.scratch), "TMPDIR": str(scene.scratch)}
    with log.open("w") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            scene.pinned(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            while not is_mounted(mountpoint):
                if process.poll() is not None or time.perf_counter() - began > READY:
                    raise ToolFailed(
                        f"{command[0]}: not mounted: {(log.read_text().strip().splitlines() or ['no word'])[-1]}"
                    )
                time.sleep(0.002)
            yield process.pid, time.perf_counter() - began
        finally:
            _end(process, mountpoint)


def _end(process: subprocess.Popen[bytes], mountpoint: Path) -> None:
    deadline = time.monotonic() + GOING
    while is_mounted(mountpoint) and time.monotonic() < deadline:
        if subprocess.run(["umount", str(mountpoint)], check=False, capture_output=True).returncode:
            time.sleep(0.1)
    try:
        process.wait(GOING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if is_mounted(mountpoint):
        subprocess.run(["umount", "-l", str(mountpoint)], check=False)


# -- mountfs ---------------------------------------------------------------------------------------------------------


@contextmanager
def mountfs_at(scene: Scene, cache: Path, *, cache_size: str = "20GiB") -> Iterator[Shown]:
    """A mount of ours, the archive being a session of a Kaizen provider."""
    mountpoint = scene.scratch / "mountfs"
    key, config = scene.scratch / "key", scene.scratch / "mountfs.toml"
    _write_private(key, "bench-key\n")
    _write_private(
        config,
        CONFIG.format(url=scene.url, key=key, sessions=f'"{scene.archive.name}"', cache=cache, cache_size=cache_size),
    )
    command = [sys.executable, "-m", "mountfs", "mount", "-f", "--config", str(config), str(mountpoint)]
    with mounted(scene, command, mountpoint) as (pid, seconds):
        yield Shown(mountpoint / "kaizen" / scene.archive.name, [pid], seconds)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(text)


def mountfs_cold(scene: Scene) -> contextlib.AbstractContextManager[Shown]:
    """Nothing in the cache."""
    return mountfs_at(scene, scene.scratch / "cache")


@contextmanager
def mountfs_warm(scene: Scene) -> Iterator[Shown]:
    """All of the archive in the cache, large members inflated, from a daemon that is gone."""
    cache = _warm_cache(scene)
    read_all(cache)
    with mountfs_at(scene, cache) as shown:
        yield shown


@contextmanager
def mountfs_archive_only(scene: Scene) -> Iterator[Shown]:
    """All of the archive in the cache as it was sent, no member inflated: where a mount of a local zip begins."""
    cache = _warm_cache(scene)
    for member in cache.glob("v*/snapshots/*/m.*"):
        member.unlink()
    read_all(cache)
    with mountfs_at(scene, cache) as shown:
        yield shown


def _warm_cache(scene: Scene) -> Path:
    cache = scene.keep / f"warm-{scene.archive.name}"
    done = scene.keep / f"warm-{scene.archive.name}.done"
    facts = str(scene.archive.path.stat().st_mtime_ns)
    if not done.exists() or done.read_text() != facts or not list(cache.glob("v*/snapshots/*/m.*")):
        shutil.rmtree(cache, ignore_errors=True)
        with mountfs_at(scene, cache) as shown:
            command = ["tar", "-C", str(shown.root), "-cf", "-", "."]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
                assert tar.stdout is not None
                while tar.stdout.read(1 << 20):
                    pass
        done.write_text(facts)
    return cache


# -- peers -----------------------------------------------------------------------------------------------------------


def _mount_command(program: str, archive: str, mountpoint: Path, scratch: Path) -> list[str]:
    """The command line of a mount of one archive, in the foreground."""
    return {
        "mount-zip": ["mount-zip", "-f", "-q", archive, str(mountpoint)],
        "fuse-zip": ["fuse-zip", "-f", "-r", archive, str(mountpoint)],
        "fuse-archive": ["fuse-archive", "-f", "-q", archive, str(mountpoint)],
        "archivemount": ["archivemount", "-f", "-o", "readonly", archive, str(mountpoint)],
        "ratarmount": ["ratarmount", "-f", "--index-folders", str(scratch), archive, str(mountpoint)],
        "bindfs": ["bindfs", "-f", "-r", archive, str(mountpoint)],
        "passthrough_ll": ["passthrough_ll", "-f", "-o", f"source={archive},cache=auto", str(mountpoint)],
    }[program]


def local(program: str) -> Callable[[Scene], contextlib.AbstractContextManager[Shown]]:
    """A mount of the archive's file."""

    @contextmanager
    def show(scene: Scene) -> Iterator[Shown]:
        mountpoint = scene.scratch / "peer"
        command = _mount_command(program, str(scene.archive.path), mountpoint, scene.scratch)
        with mounted(scene, command, mountpoint) as (pid, seconds):
            yield Shown(mountpoint, [pid], seconds)

    return show


def passthrough(program: str) -> Callable[[Scene], contextlib.AbstractContextManager[Shown]]:
    """A FUSE mount of the extracted tree."""

    @contextmanager
    def show(scene: Scene) -> Iterator[Shown]:
        tree = extracted(scene.archive, scene.keep)
        read_all(tree)
        mountpoint = scene.scratch / "peer"
        with mounted(scene, _mount_command(program, str(tree), mountpoint, scene.scratch), mountpoint) as (
            pid,
            seconds,
        ):
            yield Shown(mountpoint, [pid], seconds)

    return show


@contextmanager
def plain(scene: Scene) -> Iterator[Shown]:
    """The extracted tree itself."""
    tree = extracted(scene.archive, scene.keep)
    read_all(tree)
    yield Shown(tree)


def _curl(scene: Scene) -> tuple[Path, float]:
    target = scene.scratch / "downloaded.zip"
    began = time.perf_counter()
    subprocess.run(["curl", "-sf", "-o", str(target), scene.archive_url], check=True)
    return target, time.perf_counter() - began


@contextmanager
def curl_only(scene: Scene) -> Iterator[Shown]:
    """The archive downloaded whole, for unzip to work on."""
    target, seconds = _curl(scene)
    yield Shown(scene.scratch, counted_start=seconds, archive_file=target)


def curl_then(program: str) -> Callable[[Scene], contextlib.AbstractContextManager[Shown]]:
    """The archive downloaded whole, then mounted."""

    @contextmanager
    def show(scene: Scene) -> Iterator[Shown]:
        target, download = _curl(scene)
        mountpoint = scene.scratch / "peer"
        command = _mount_command(program, str(target), mountpoint, scene.scratch)
        with mounted(scene, command, mountpoint) as (pid, seconds):
            yield Shown(mountpoint, [pid], seconds, download + seconds)

    return show


@contextmanager
def ratarmount_http(scene: Scene) -> Iterator[Shown]:
    """ratarmount given the URL."""
    mountpoint = scene.scratch / "peer"
    command = _mount_command("ratarmount", scene.archive_url, mountpoint, scene.scratch)
    with mounted(scene, command, mountpoint) as (pid, seconds):
        yield Shown(mountpoint, [pid], seconds, seconds)


def rclone_then(program: str) -> Callable[[Scene], contextlib.AbstractContextManager[Shown]]:
    """The server mounted as files by rclone with its VFS cache, as httpfs does, and the archive there mounted."""

    @contextmanager
    def show(scene: Scene) -> Iterator[Shown]:
        files, mountpoint = scene.scratch / "files", scene.scratch / "peer"
        rclone = ["rclone", "mount", f":http,url='{scene.url}/archives/':", str(files), "--read-only"]
        rclone += ["--vfs-cache-mode", "full", "--cache-dir", str(scene.scratch / "rclone"), "--config", ""]
        with ExitStack() as stack:
            first, one = stack.enter_context(mounted(scene, rclone, files))
            command = _mount_command(program, str(files / scene.archive.path.name), mountpoint, scene.scratch)
            second, two = stack.enter_context(mounted(scene, command, mountpoint))
            yield Shown(mountpoint, [first, second], one + two, one + two)

    return show


OURS = "mountfs"
LOCAL: tuple[Tool, ...] = (
    Tool(OURS, mountfs_warm, (), "cache warm: the archive is in the disk cache, large members inflated"),
    Tool("mountfs, archive only", mountfs_archive_only, (), "the archive is in the disk cache, nothing inflated"),
    Tool("mount-zip", local("mount-zip"), ("mount-zip",)),
    Tool("fuse-zip", local("fuse-zip"), ("fuse-zip",)),
    Tool("fuse-archive", local("fuse-archive"), ("fuse-archive",)),
    Tool("archivemount", local("archivemount"), ("archivemount",)),
    Tool("ratarmount", local("ratarmount"), ("ratarmount",)),
    Tool("C passthrough", passthrough("passthrough_ll"), ("passthrough_ll",), "of the extracted tree"),
    Tool("bindfs", passthrough("bindfs"), ("bindfs",), "of the extracted tree"),
    Tool("extracted", plain, (), "the extracted tree on the disk itself"),
)
REMOTE: tuple[Tool, ...] = (
    Tool(OURS, mountfs_cold, (), "already mounted, cache empty"),
    Tool("curl + mount-zip", curl_then("mount-zip"), ("curl", "mount-zip")),
    Tool("curl + unzip", curl_only, ("curl", "unzip"), only_unzip=True),
    Tool("ratarmount http", ratarmount_http, ("ratarmount",)),
    Tool(
        "rclone + mount-zip", rclone_then("mount-zip"), ("rclone", "mount-zip"), "rclone mount of the server, VFS cache"
    ),
    Tool("rclone + fuse-zip", rclone_then("fuse-zip"), ("rclone", "fuse-zip"), "rclone mount of the server, VFS cache"),
)
