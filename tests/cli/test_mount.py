"""Mounting and unmounting, with the real daemon on /dev/fuse, started as people start it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Run

import mountfs
from mountfs.cli.checks import user_allow_other
from mountfs.cli.lock import holder, wait_for_end
from mountfs.cli.table import mount_at, unmount
from mountfs.demo.server import Fakes

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse"),
]
ENDS = 30.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    """A mountpoint; what is still mounted on it after the test goes, with its daemon."""
    path = str(tmp_path / "sessions")
    yield path
    mount = mount_at(path)
    pid = holder(path, mount)
    if mount is not None:
        unmount(path, lazy=True)
    if pid:
        os.kill(pid, signal.SIGKILL)
        assert wait_for_end(path, mount, ENDS)


def daemon_of(place: str) -> int:
    """The process that serves a mount."""
    pid = holder(place, mount_at(place))
    assert pid
    return pid


def is_gone(pid: int) -> bool:
    """Whether a process has ended; its parent may not have taken notice yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] in "ZX"
    except FileNotFoundError:
        return True


def test_background(mountfs: Run, place: str, config: str, fakes: Fakes, tmp_path: Path) -> None:
    """When ``mount`` returns the mount can be used; when ``umount`` returns the daemon is gone."""
    told = mountfs("mount", "--background", "--config", config, place)
    assert (told.status, told.out, told.err) == (0, "", "")
    assert sorted(os.listdir(place)) == ["browserbase", "dari", "kaizen"]
    assert b"# Research notes" in Path(place, "dari/sess_research/README.md").read_bytes()
    pid = daemon_of(place)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    (log,) = (tmp_path / "home/.local/state/mountfs").iterdir()
    assert f"mounted on {place}" in log.read_text()
    assert fakes.dari.key not in Path(f"/proc/{pid}/cmdline").read_text()

    told = mountfs("umount", place)
    assert (told.status, told.out, told.err) == (0, "", "")
    assert is_gone(pid)
    assert os.listdir(place) == []
    told = mountfs("umount", place)
    assert told.status == 1
    assert told.err.startswith(f"mountfs: {place}: not a mount of mountfs; ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_foreground(config: str, place: str, ended: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    """In the foreground the started process is the daemon, and a signal unmounts and ends it with status 0."""
    words = [str(Path(sys.executable).with_name("mountfs")), "mount", "--config", config, "--foreground", place]
    process = subprocess.Popen(words, stderr=subprocess.PIPE)
    ended.append(process)
    assert process.stderr is not None
    with process.stderr as log:
        told = iter(log.readline, b"")
        assert any(b"mounted on" in line for line in told)
        assert daemon_of(place) == process.pid
        assert os.listdir(place)
        process.send_signal(number)
        assert process.wait(ENDS) == 0
        rest = b"".join(told)
    assert mount_at(place) is None
    assert b"Traceback" not in rest


def test_unmounted_from_outside(config: str, mountfs: Run, place: str) -> None:
    """An unmount by fusermount3 itself ends the daemon as well."""
    assert mountfs("mount", "-b", "--config", config, place).status == 0
    pid = daemon_of(place)
    mount = mount_at(place)
    subprocess.run(["fusermount3", "-u", place], check=True)
    assert wait_for_end(place, mount, ENDS)
    assert is_gone(pid)


def test_second_mount_is_refused(mountfs: Run, config: str, place: str) -> None:
    """A mountpoint that is taken is refused with the process that has it, and the first mount lives on."""
    assert mountfs("mount", "-b", "--config", config, place).status == 0
    pid = daemon_of(place)
    told = mountfs("mount", "-b", "--config", config, place)
    assert told.status == 1
    assert told.err == f"mountfs: {place}: already mounted, by process {pid}; mountfs umount {place}\n"
    assert os.listdir(place)
    assert mountfs("umount", place).status == 0


def test_stale_mount(mountfs: Run, config: str, place: str) -> None:
    """After the daemon was killed, the mountpoint gives errors, and both umount and the next mount clear it."""
    assert mountfs("mount", "-b", "--config", config, place).status == 0
    os.kill(daemon_of(place), signal.SIGKILL)
    # At once: the process may still be on its way out.
    assert mountfs("mount", "-b", "--config", config, place).status == 0
    assert os.listdir(place)
    os.kill(daemon_of(place), signal.SIGKILL)
    assert mountfs("umount", place).status == 0
    assert os.listdir(place) == []


def test_stopped_daemon(mountfs: Run, config: str, place: str) -> None:
    """A daemon that is stopped does not hang the command line: it is told, and a lazy unmount gets rid of it."""
    assert mountfs("mount", "-b", "--config", config, place).status == 0
    pid = daemon_of(place)
    os.kill(pid, signal.SIGSTOP)
    try:
        told = mountfs("mount", "-b", "--config", config, place)
        assert told.status == 1
        assert "already mounted, by process" in told.err
        assert mountfs("umount", "--lazy", place).status == 0
        assert mount_at(place) is None
    finally:
        os.kill(pid, signal.SIGCONT)
    assert wait_for_end(place, None, ENDS)


def test_busy(mountfs: Run, config: str, place: str) -> None:
    """A mount in use is told to be, with what to do; --lazy detaches it and the user reads on."""
    assert mountfs("mount", "-b", "--config", config, place).status == 0
    with open(f"{place}/dari/sess_research/README.md", encoding="utf-8") as file:
        told = mountfs("umount", place)
        assert told.status == 1
        assert told.err.startswith(f"mountfs: {place}: cannot be unmounted: Device or resource busy; end what uses it")
        assert mountfs("umount", "--lazy", place).status == 0
        assert file.readline() == "# Research notes\n"
    assert wait_for_end(place, None, ENDS)


def test_mistakes_are_told_once_by_the_background(mountfs: Run, config: str, place: str, tmp_path: Path) -> None:
    """What the daemon finds wrong arrives at the terminal as one line, with its status."""
    cases = [
        (["-o", "allow_others"], 1, "-o allow_others: unknown option"),
        (["-o", "uid=no-such-user"], 1, "no such user"),
        ([], 2, "no MOUNTPOINT: give one, or set mountpoint in the configuration"),
    ]
    for words, status, message in cases:
        told = mountfs("mount", "-b", "--config", config, *words, *([place] if words else []))
        assert told.status == status
        assert message in told.err
        assert "Traceback" not in told.err
    (tmp_path / "file").touch()
    told = mountfs("mount", "-b", "--config", config, str(tmp_path / "file"))
    assert (told.status, told.err) == (
        1,
        f"mountfs: {tmp_path}/file: is not a directory; name a directory to mount on\n",
    )
    key = next(tmp_path.glob("**/dari.key"))
    key.chmod(0o644)
    told = mountfs("mount", "-b", "--config", config, place)
    assert told.status == 1
    assert told.err.count("\n") == 1
    assert "the key file is readable by others" in told.err


def test_options_and_helper(mountfs: Run, config: str, place: str) -> None:
    """mount.mountfs takes what mount(8) passes on, and its options show on the mount."""
    told = mountfs(
        "work", place, "-n", "-v", "-o", f"rw,_netdev,x-systemd.automount,uid=1234,gid=99,umask=027,config={config}",
        program="mount.mountfs",
    )  # fmt: skip
    assert (told.status, told.err) == (0, "")
    mount = mount_at(place)
    assert mount is not None
    assert (mount.fstype, mount.source) == ("fuse.mountfs", "work")
    status = os.stat(f"{place}/dari")
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 99, 0o550)
    assert subprocess.run(["umount", place], check=False).returncode == 0
    assert wait_for_end(place, mount, ENDS)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["work"], 1, "Missing argument"),
        (["work", "{place}", "-o", "sideways"], 1, "-o sideways: unknown option"),
        (["work", "{place}", "-o", "config=/no/such"], 32, "/no/such: No such file"),
        (["work", "{place}", "-N", "1"], 1, "-N is not supported"),
        (["work", "{place}", "-f", "-o", "ro"], 0, ""),
    ],
)
def test_helper_status(mountfs: Run, place: str, words: list[str], status: int, message: str) -> None:
    """The helper ends with mount(8)'s statuses: 1 for a wrong call, 32 for a mount that failed."""
    told = mountfs(*(word.format(place=place) for word in words), program="mount.mountfs")
    assert told.status == status
    assert message in told.err
    assert mount_at(place) is None


def test_mountpoint_from_the_configuration(mountfs: Run, config: str, place: str) -> None:
    """Without an argument the configuration's mountpoint is used."""
    with open(config, "r+", encoding="utf-8") as file:
        text = file.read()
        file.seek(0)
        file.write(f'mountpoint = "{place}"\n{text}')
    assert mountfs("mount", "-b", environ={"MOUNTFS_CONFIG": config}).status == 0
    assert mount_at(place)
    assert mountfs("umount", place).status == 0


MOUNT_SCENARIO = """
mount -t tmpfs upper "$UPPER" && mkdir "$UPPER/u" "$UPPER/w" && ln -s "$HELPER" "$UPPER/u/mount.mountfs" || exit 10
mount -t overlay overlay -o "lowerdir=$SBIN,upperdir=$UPPER/u,workdir=$UPPER/w" "$SBIN" || exit 11
mount -t mountfs work "$PLACE" -o "config=$CONFIG" || exit 1
ls "$PLACE"
grep -F " $PLACE " /proc/self/mountinfo
umount "$PLACE" || exit 2
mount -T "$FSTAB" "$PLACE" || exit 3
stat -c '%u %a' "$PLACE/dari"
umount "$PLACE" || exit 4
mount -t mountfs work "$PLACE" -o sideways
echo "status $?"
"""
"""In a mount namespace of its own, where the helper is linked into /sbin without the machine's being changed."""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_mount_and_fstab(config: str, place: str, tmp_path: Path) -> None:
    """`mount -t mountfs` and a line of fstab work, once mount.mountfs is linked into /sbin; so does `umount`."""
    os.mkdir(place)
    fstab = tmp_path / "fstab"
    fstab.write_text(
        f"name {place} mountfs config={config},uid=77,umask=022,noauto,_netdev,nofail,x-systemd.automount 0 0\n"
    )
    upper = tmp_path / "upper"
    upper.mkdir()
    told = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT_SCENARIO],
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDS,
        env={
            **os.environ,
            "UPPER": str(upper),
            "HELPER": str(Path(sys.executable).with_name("mount.mountfs")),
            "SBIN": os.path.realpath("/sbin"),
            "PLACE": place,
            "CONFIG": config,
            "FSTAB": str(fstab),
        },
    )
    assert told.returncode == 0, told
    lines = told.stdout.splitlines()
    assert lines[:3] == ["browserbase", "dari", "kaizen"]
    assert " - fuse.mountfs work ro," in lines[3]
    assert lines[4:] == ["77 555", "status 1"]
    assert "-o sideways: unknown option" in told.stderr
    assert wait_for_end(place, None, ENDS)


NOBODY = 65534
BECOME = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def python_for_everybody() -> tuple[str, str] | None:
    """An interpreter that an ordinary user can run, and its PYTHONPATH: ours may lie under root's home."""
    # An editable install is found by a hook of its .pth file, which PYTHONPATH does not run.
    package = str(Path(mountfs.__file__).parents[1])
    ours = os.pathsep.join([package, *filter(None, sys.path)])
    for candidate in (sys.executable, "/usr/bin/python3"):
        # Started by the user's own shell: what a process that was root a moment ago may start proves nothing.
        words = [*BECOME, "sh", "-c", '"$0" -c "import sys, mountfs.cli, pydantic_core; print(sys.version_info[:2])"']
        ended = subprocess.run(
            [*words, candidate], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ours}
        )
        if ended.stdout.strip() == str(sys.version_info[:2]):
            return candidate, ours
    return None


SCENARIO = """
as_user() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
mount_as_user() { as_user "$PYTHON" -m mountfs mount -b --config "$HOME/mountfs.toml" "$@" "$HOME/sessions"; }
grep -q '^user_allow_other' /etc/fuse.conf || { mount_as_user -o allow_other && exit 1; }
mount_as_user || exit 2
as_user ls "$HOME/sessions" || exit 3
ls "$HOME/sessions" 2>/dev/null && exit 4
grep -F " $HOME/sessions " /proc/self/mountinfo
"$PYTHON" -m mountfs umount "$HOME/sessions" || exit 5
grep -F " $HOME/sessions " /proc/self/mountinfo && exit 6
exit 0
"""
OPEN_DEVICE = """
mkdir "$HOME/dev" && mount -t tmpfs dev "$HOME/dev" && mknod -m 666 "$HOME/dev/fuse" c 10 229 || exit 10
mount --bind "$HOME/dev/fuse" /dev/fuse || exit 11
"""
"""In a mount namespace of its own: containers often keep /dev/fuse for root, and the machine is not ours to change."""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root to become somebody else")
def test_ordinary_user(fakes: Fakes) -> None:
    """An ordinary user mounts through fusermount3; allow_other is refused before it is tried, where it is not
    for users; root cannot look into the user's mount, but can unmount it."""
    found = python_for_everybody()
    if found is None:
        pytest.skip("no interpreter here that an ordinary user can run")
    python, path = found
    home = Path(tempfile.mkdtemp(prefix="mountfs-user-"))
    try:
        config = home / "mountfs.toml"
        config.write_text(fakes.config(home / "cache", keys_dir=home / "keys"))
        for each in (home, *home.rglob("*")):
            os.chown(each, NOBODY, NOBODY)
        config.chmod(0o600)
        told = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", OPEN_DEVICE + SCENARIO],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "HOME": str(home),
                "XDG_RUNTIME_DIR": str(home),
                "PYTHONPATH": path,
                "PYTHON": python,
            },
            timeout=ENDS,
        )
        assert told.returncode == 0, told
        listed, mount = told.stdout.splitlines()[:-1], told.stdout.splitlines()[-1]
        assert listed == ["browserbase", "dari", "kaizen"]
        assert f"user_id={NOBODY}" in mount
        refused = [line for line in told.stderr.splitlines() if "allow_other" in line]
        if not user_allow_other():
            (line,) = refused
            assert line.endswith("is for root alone on this machine; add the line user_allow_other to /etc/fuse.conf")
    finally:
        shutil.rmtree(home)
