"""``mountfs fetch`` and ``refresh``, through a daemon and without one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mounts import until
from running import Run

from mountfs.demo.server import Fakes

RESEARCH = "dari/sess_research"


def archive_requests(fakes: Fakes) -> list[str]:
    """What was asked of Dari besides lists and statuses."""
    return [each.path for each in fakes.dari.requests if "archive" in each.path or "download" in each.path]


def test_without_a_daemon(run: Run, alone: None, config: str, fakes: Fakes) -> None:
    """Fetched sessions are whole in the cache: read offline, and not asked for again."""
    told = run("fetch", "--config", config, RESEARCH, "kaizen/kz_weather_2026-11-20")
    assert told.status == 0, told.err
    assert sorted(line.split(": ")[0] for line in told.err.splitlines()) == [RESEARCH, "kaizen/kz_weather_2026-11-20"]
    assert "in the cache" in told.err
    assert told.out == ""
    fakes.clear_requests()
    assert run("cat", "--offline", "--config", config, f"{RESEARCH}/random.bin").status == 0
    assert run("fetch", "--config", config, RESEARCH).status == 0
    assert not archive_requests(fakes)


def test_all_of_a_provider(run: Run, alone: None, config: str) -> None:
    """A provider's name means every session it shows; what cannot be had is told, and the rest comes."""
    told = run("fetch", "--config", config, "browserbase", "dari/sess_gone", "-j", "2")
    assert told.status == 1
    lines = told.err.splitlines()
    assert sum(line.startswith("browserbase/") for line in lines if "in the cache" in line) == 3
    assert next(line for line in lines if "sess_gone" in line).startswith("mountfs: dari/sess_gone: ")


def test_through_the_daemon(run: Run, mounted: Path, config: str, fakes: Fakes) -> None:
    """A mount of the same configuration does it, and shows it; a path inside a mount needs no configuration."""
    told = run("fetch", "--config", config, RESEARCH)
    assert told.status == 0, told.err
    assert f"{RESEARCH}  terminal" in run("status").out
    told = run("fetch", str(mounted / "kaizen/kz_weather_2026-11-20/anything"))
    assert told.status == 0, told.err
    fakes.clear_requests()
    assert b"# Research notes" in (mounted / RESEARCH / "README.md").read_bytes()
    assert not archive_requests(fakes)


def test_another_configuration_is_not_that_daemons(run: Run, mounted: Path, fakes: Fakes, tmp_path: Path) -> None:
    """A daemon with another cache is left alone, whatever its providers are called."""
    other = tmp_path / "other.toml"
    other.write_text(fakes.config(tmp_path / "cache2", keys_dir=tmp_path / "keys2"))
    other.chmod(0o600)
    assert run("fetch", "--config", str(other), RESEARCH).status == 0
    assert RESEARCH not in run("status").out
    assert run("cat", "--offline", "--config", str(other), f"{RESEARCH}/README.md").status == 0


@pytest.mark.parametrize("path", ["", "/", "."])
def test_nothing_named(run: Run, alone: None, config: str, path: str) -> None:
    """A path without a provider names nothing to fetch or refresh."""
    for verb in ("fetch", "refresh"):
        told = run(verb, "--config", config, path)
        assert told.status == 1
        assert "names no session; write provider/session, or provider for all of its sessions" in told.err


def test_unknown_provider(run: Run, alone: None, config: str) -> None:
    """An unknown provider is told with those there are."""
    for verb in ("fetch", "refresh"):
        told = run(verb, "--config", config, "nobody/x")
        assert told.status == 1
        assert "no provider 'nobody'; configured: kaizen, dari, browserbase" in told.err


def test_refresh_of_a_mount(run: Run, mounted: Path, fakes: Fakes) -> None:
    """A running mount asks again at once, and says whether something changed."""
    session = fakes.dari.sessions["sess_research"]
    before, tag = session.archive, session.etag
    (mounted / RESEARCH / "README.md").read_bytes()
    told = run("refresh", RESEARCH)
    assert (told.status, told.out) == (0, f"{RESEARCH}: refreshed ({mounted})\n")
    try:
        from drives import zip_of

        session.archive, session.etag = zip_of({"workspace/new.txt": b"new"}), '"another"'
        told = run("refresh", str(mounted / RESEARCH))
        assert told.out == f"{RESEARCH}: refreshed: it has changed ({mounted})\n"
        assert os.listdir(mounted / RESEARCH) == ["new.txt"]
    finally:
        session.archive, session.etag = before, tag
    assert run("refresh", "dari").out == f"dari: refreshed ({mounted})\n"


def test_a_refresh_that_fails(run: Run, mounted: Path, fakes: Fakes) -> None:
    """A service that cannot be asked is a failure; the old contents stay, and a restart asks again."""
    (mounted / RESEARCH / "README.md").read_bytes()
    fakes.dari.fail_next(403, 2)  # the status, for which the old one does, and the archive
    told = run("refresh", RESEARCH)
    assert told.status == 1
    assert "403" in told.err
    assert "shows what it had" in told.err
    assert (mounted / RESEARCH / "README.md").read_bytes()


def test_refresh_without_a_daemon(
    run: Run, mountfs: Run, alone: None, config: str, fakes: Fakes, tmp_path: Path
) -> None:
    """Without a mount the cache's record is marked: the next mount asks the service once more."""
    assert run("fetch", "--config", config, RESEARCH).status == 0
    told = run("refresh", "--config", config, RESEARCH)
    assert (told.status, told.out) == (0, f"{RESEARCH}: will be asked for again at the next start\n")
    assert run("refresh", "--config", config, "kaizen").out.startswith("kaizen: nothing of it is in the cache")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no /dev/fuse here")
    fakes.clear_requests()
    place = tmp_path / "drive"
    assert mountfs("mount", "-b", "--config", config, str(place)).status == 0
    try:
        assert (place / RESEARCH / "README.md").read_bytes().startswith(b"# Research notes")
        until(lambda: any("sess_research" in each.path for each in fakes.dari.requests))
    finally:
        assert mountfs("umount", str(place)).status == 0


def test_refresh_of_a_provider_without_status(run: Run, alone: None, config: str, fakes: Fakes) -> None:
    """Kaizen tells no status: after the one question its archive is final again."""
    path = "kaizen/kz_weather_2026-11-20"
    assert run("fetch", "--config", config, path).status == 0
    assert run("refresh", "--config", config, path).status == 0
    for _ in range(2):
        assert run("ls", "--config", config, path).status == 0
    fakes.clear_requests()
    assert run("ls", "--config", config, path).status == 0
    assert not [each for each in fakes.kaizen.requests if "getFileArchiveUrl" in each.path]
