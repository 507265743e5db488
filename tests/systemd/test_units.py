"""The units in systemd/: systemd's own checks, and that they say what the code takes for granted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mountfs.config import parse_mount_words
from mountfs.config.places import SERVICES
from mountfs.service.opener import ACTIONS, place_of

UNITS = Path(__file__).parents[2] / "systemd"
ANALYZE = shutil.which("systemd-analyze")
needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze (apt-get install systemd)")

# fmt: off
NAMESPACES = {
    "BindPaths", "BindReadOnlyPaths", "DynamicUser", "InaccessiblePaths", "MountFlags", "NoNewPrivileges",
    "PrivateDevices", "PrivateMounts", "PrivateTmp", "PrivateUsers", "ProtectClock", "ProtectControlGroups",
    "ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
    "ProtectProc", "ProtectSystem", "ReadOnlyPaths", "ReadWritePaths", "RestrictSUIDSGID", "SystemCallFilter",
    "TemporaryFileSystem",
}
# fmt: on
"""What makes a mount namespace, or implies NoNewPrivileges= in a user's manager (systemd.exec(5))."""


def settings(name: str) -> dict[str, list[str]]:
    """Every setting of a unit with all its values, in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def environment(name: str) -> dict[str, str]:
    words = " ".join(settings(name)["Environment"]).split()
    return dict(word.split("=", 1) for word in words)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home where mountfs is installed."""
    (tmp_path / ".local" / "bin").mkdir(parents=True)
    (tmp_path / ".local" / "bin" / "mountfs").symlink_to(Path(sys.executable).parent / "mountfs")
    (tmp_path / "run").mkdir(mode=0o700)
    return tmp_path


def analyze(home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "LC_ALL": "C"}
    return subprocess.run(
        [ANALYZE, *map(str, words)], capture_output=True, text=True, check=False, env=environ, timeout=60
    )


def installed(home: Path, name: str, target: str) -> Path:
    """A copy of a system unit whose programs are ours."""
    text = (UNITS / name).read_text()
    for program in ("mountfs", "mountfs-opener"):
        text = text.replace(f"={program} ", f"={Path(sys.executable).parent / program} ")
        text = text.replace(f"=+{program} ", f"=+{Path(sys.executable).parent / program} ")
    (home / target).write_text(text)
    return home / target


@needs_analyze
def test_user_unit_verifies(home: Path) -> None:
    """systemd-analyze verify says nothing."""
    shutil.copy(UNITS / "mountfs.service", home)
    ended = analyze(home, "verify", "--user", "--man=no", home / "mountfs.service")
    assert (ended.returncode, ours(ended.stderr)) == (0, [])


@needs_analyze
def test_system_units_verify(home: Path) -> None:
    """So of the template, and of the mount and automount pair."""
    if not (Path(sys.executable).parent / "mountfs-opener").exists():
        pytest.skip("mountfs-opener is not installed here yet: run pip install -e . again")
    unit = installed(home, "mountfs@.service", "mountfs@demo.service")
    for name in ("mnt-sessions.mount", "mnt-sessions.automount"):
        shutil.copy(UNITS / name, home)
    ended = analyze(home, "verify", "--man=no", unit, home / "mnt-sessions.mount", home / "mnt-sessions.automount")
    assert (ended.returncode, ours(ended.stderr)) == (0, [])


def ours(said: str) -> list[str]:
    """What is said of our units; the machine's own may have faults."""
    return [line for line in said.splitlines() if "mountfs" in line or "mnt-sessions" in line]


@needs_analyze
def test_exposure(home: Path) -> None:
    """systemd-analyze security: 1.4 with systemd 252, at most 3.0 anywhere ("OK" is below 5)."""
    unit = installed(home, "mountfs@.service", "mountfs@demo.service")
    ended = analyze(home, "security", "--no-pager", "--offline=true", "--threshold=30", unit)
    assert ended.returncode == 0, ended.stdout[-400:] + ended.stderr[-400:]


def test_user_unit_makes_no_namespace() -> None:
    """In one the mount would be seen by the daemon alone; and without privileges fusermount3 could not mount."""
    assert not settings("mountfs.service").keys() & NAMESPACES


@pytest.mark.parametrize("name", ["mountfs.service", "mountfs@.service"])
def test_both_services_are_watched_and_restarted(name: str) -> None:
    """Type=notify, a watchdog, a restart after a failure, and an end to restarting."""
    unit = settings(name)
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["WatchdogSec"]
    assert unit["LimitCORE"] == ["1"]
    assert unit["StartLimitBurst"]


def test_system_unit_is_a_sandbox() -> None:
    """What the daemon is denied; only the opener's lines are outside."""
    unit = settings("mountfs@.service")
    for key in (
        "NoNewPrivileges",
        "DynamicUser",
        "PrivateTmp",
        "PrivateDevices",
        "ProtectHome",
        "MemoryDenyWriteExecute",
    ):
        assert unit[key] == ["yes"], key
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == [""]
    assert unit["SystemCallFilter"]
    assert not unit["ExecStart"][0].startswith("+")
    privileged = [value for key in unit if key.startswith("Exec") for value in unit[key] if value.startswith("+")]
    assert {line.split()[0] for line in privileged} == {"+mountfs-opener"}
    assert {line.split()[1] for line in privileged} == set(ACTIONS)


def test_system_unit_hands_the_descriptor_over() -> None:
    """The opener may speak, systemd keeps one descriptor, and no other line is between."""
    unit = settings("mountfs@.service")
    assert unit["NotifyAccess"] == ["exec"]
    assert unit["FileDescriptorStoreMax"] == ["1"]
    assert "/dev/fuse rw" in unit["DeviceAllow"]


def test_system_unit_is_found_by_status() -> None:
    """The control socket lies where root looks for it, and the mountpoint where the daemon sees it."""
    environ = environment("mountfs@.service")
    assert environ["XDG_RUNTIME_DIR"].replace("%t", "/run").replace("%i", "*") + "/mountfs" == SERVICES
    assert settings("mountfs@.service")["RuntimeDirectory"] == ["mountfs/%i"]
    assert environ["XDG_CACHE_HOME"] == "%C/" + settings("mountfs@.service")["CacheDirectory"][0]
    assert place_of(environ["MOUNTPOINT"]) == environ["MOUNTPOINT"]


def test_mount_unit_says_what_its_fstab_line_says() -> None:
    """One mount, written twice; every word is one we accept."""
    unit = settings("mnt-sessions.mount")
    line = next(text for text in (UNITS / "mnt-sessions.mount").read_text().splitlines() if "mountfs  config" in text)
    source, where, kind, options, *_ = line.lstrip("# ").split()
    assert [source, where, kind, options] == [unit[key][0] for key in ("What", "Where", "Type", "Options")]
    parsed = parse_mount_words([options, "x-systemd.automount"], helper=True)
    assert parsed.allow_other
    assert parsed.config == "/etc/mountfs/config.toml"
    assert settings("mnt-sessions.automount")["Where"] == unit["Where"]
