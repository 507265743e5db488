"""``mountfs doctor``: each check tells what is wrong and what to do, and the report holds no secret."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Run

from mountfs.cli import checks, machine
from mountfs.cli.daemons import running
from mountfs.cli.finding import NOTE, OK, PROBLEM, Finding
from mountfs.config import load
from mountfs.demo.server import Fakes
from mountfs.providers import options_of

Checks = dict[str, dict[str, str]]


@pytest.fixture
def examined(run: Run, alone: None) -> Callable[..., tuple[int, Checks]]:
    """Runs it; the exit status and the checks by what was looked at."""

    def examine(*words: str) -> tuple[int, Checks]:
        told = run("doctor", "--json", *words)
        answer = json.loads(told.out)
        assert answer["ok"] == (told.status == 0)
        return told.status, {each["what"]: each for each in answer["checks"]}

    return examine


def test_all_is_well(run: Run, alone: None, config: str, fakes: Fakes) -> None:
    """With nothing wrong the status is 0, and every key was tried."""
    fakes.clear_requests()
    told = run("doctor", "--config", config)
    assert told.status == 0, told.out
    assert told.out.endswith("nothing is wrong\n")
    for words in (
        "/dev/fuse",
        "libfuse: 3",
        "cache directory",
        "dari: key: found",
        "dari: service: takes the key, lists",
    ):
        assert words in told.out
    assert all(fake.requests for fake in fakes.services)


def test_keys(examined: Callable[..., tuple[int, Checks]], fakes: Fakes, tmp_path: Path) -> None:
    """A missing key, a wrong key and a service that is not there are each told apart."""
    text = fakes.config(tmp_path / "cache", sections={"providers.kaizen": {"list": True}})
    text = text.replace(f'api_key_file = "{tmp_path / "dari.key"}"\n', 'api_key_env = "NO_SUCH_API_KEY"\n')
    text = text.replace(fakes.browserbase.url, "http://127.0.0.1:9")
    (tmp_path / "kaizen.key").write_text("wrong-key")
    path = tmp_path / "c.toml"
    path.write_text(text)
    path.chmod(0o600)
    status, found = examined("--config", str(path))
    assert status == 1
    assert "NO_SUCH_API_KEY" in found["dari: key"]["says"]
    assert "dari: service" not in found
    assert "401" in found["kaizen: service"]["says"]
    assert "kaizen.key" in found["kaizen: service"]["advice"] or "api_key" in found["kaizen: service"]["advice"]
    assert found["browserbase: service"]["state"] == PROBLEM
    assert "wrong-key" not in json.dumps(found)
    status, found = examined("--offline", "--config", str(path))
    assert "kaizen: service" not in found


def test_a_provider_that_lists_nothing(
    examined: Callable[..., tuple[int, Checks]], fakes: Fakes, tmp_path: Path
) -> None:
    """Where no list is to be had, a session that cannot be is asked for: 404 says that the key is taken."""
    path = tmp_path / "c.toml"
    path.write_text(fakes.config(tmp_path / "cache", providers=["kaizen"]))
    path.chmod(0o600)
    status, found = examined("--config", str(path))
    assert status == 0
    assert "takes the key (of a session that cannot be" in found["kaizen: service"]["says"]
    (tmp_path / "kaizen.key").write_text("wrong")
    assert examined("--config", str(path))[0] == 1


def test_a_broken_configuration(examined: Callable[..., tuple[int, Checks]], tmp_path: Path) -> None:
    """Each mistake in the file is told with its line; the machine is looked at all the same."""
    path = tmp_path / "c.toml"
    path.write_text('[cache]\nmax_sise = 1\n[providers.dari]\ntype = "dari"\n')
    status, found = examined("--config", str(path))
    assert status == 1
    assert found["configuration"]["says"].startswith(f"{path}:2: cache.max_sise: unknown key")
    assert "/dev/fuse" in found


def test_a_running_mount(examined: Callable[..., tuple[int, Checks]], mounted: Path, config: str) -> None:
    """A mount's kernel settings are told, and what its providers failed at."""
    os.listdir(mounted / "dari")
    assert not (mounted / "dari/sess_gone/x").exists()
    status, found = examined("--config", config)
    assert status == 0
    assert found[str(mounted)]["says"] == "is mounted and answers"
    assert f"{mounted}: read-ahead" in found
    assert f"{mounted}: max_background" in found
    assert "404" in found[f"{mounted}: dari"]["says"]


def test_a_mount_that_hangs(
    examined: Callable[..., tuple[int, Checks]], mounted: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works while a mount hangs, and says how to end it."""
    monkeypatch.setattr("mountfs.cli.doctor.ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr("mountfs.cli.table.PROBE_TIMEOUT", 0.2)
    (daemon,) = running()
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        status, found = examined("--config", config, "--offline")
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert status == 1
    assert found[str(mounted)]["says"] == "does not answer"
    assert f"umount --lazy {mounted}" in found[str(mounted)]["advice"]


def test_a_mount_whose_daemon_died(examined: Callable[..., tuple[int, Checks]], mounted: Path, config: str) -> None:
    """A dead mount is a problem, with the command that clears it."""
    (daemon,) = running()
    os.kill(daemon.pid, signal.SIGKILL)
    status, found = examined("--config", config, "--offline")
    assert status == 1
    assert found[str(mounted)]["says"] == "its daemon has ended"


def test_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing on the machine is found, each with what to do."""
    for module in (machine, checks):
        monkeypatch.setattr(module, "FUSE_DEVICE", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = {each.what: each for each in machine.fuse()}
    assert found[str(tmp_path / "none")].state == PROBLEM
    assert "modprobe fuse" in found[str(tmp_path / "none")].advice
    assert found["fusermount3"].state == PROBLEM
    assert "apt-get install fuse3" in found["fusermount3"].advice
    assert found["libfuse"].state == NOTE
    (tmp_path / "fusermount3").write_text("#!/bin/sh\necho fusermount3 version: 3.9.1\n")
    (tmp_path / "fusermount3").chmod(0o755)
    found = {each.what: each for each in machine.fuse()}
    assert "is not setuid root" in found["fusermount3"].says


def test_updatedb(tmp_path: Path) -> None:
    """A locate database that would walk through every session is told."""
    conf = tmp_path / "updatedb.conf"
    assert list(machine.updatedb(str(conf))) == []
    conf.write_text('PRUNEFS = "NFS nfs"\n')
    assert [each.state for each in machine.updatedb(str(conf))] == [NOTE]
    conf.write_text('PRUNEFS="NFS fuse.mountfs"\n')
    assert [each.state for each in machine.updatedb(str(conf))] == [OK]


def test_the_cache(config: str, fakes: Fakes, tmp_path: Path) -> None:
    """A cache directory that is a file, and a disk that is too full, are problems."""
    read = load(config, {}, options=options_of)
    assert [each.state for each in machine.cache(read)][:2] == [OK, OK]
    full = read.cache.model_copy(update={"min_free": 1 << 60})
    from dataclasses import replace

    assert PROBLEM in [each.state for each in machine.cache(replace(read, cache=full))]
    (tmp_path / "cache").write_text("")
    assert [each.state for each in machine.cache(read)] == [PROBLEM]


def test_the_report(run: Run, mounted: Path, config: str, fakes: Fakes, tmp_path: Path) -> None:
    """The report has configuration, versions, mount table, tasks, transfers and the log, and no key."""
    (mounted / "dari/sess_research/README.md").read_bytes()
    bundle = tmp_path / "report.txt"
    told = run("doctor", "--config", config, "--bundle", str(bundle))
    assert told.status == 0, told.out
    text = bundle.read_text()
    assert bundle.stat().st_mode & 0o777 == 0o600
    for words in (
        "== checks",
        "pyfuse3 ",
        "== configuration",
        'type = "dari"',
        "== mount table",
        str(mounted),
        f"== status of {mounted}",
        "sess_research",
        f"== tasks of {mounted}",
        "watch_callers",
        "== the end of ",
        "mounted on",
    ):
        assert words in text
    for fake in fakes.services:
        assert fake.key not in text
    told = run("doctor", "--config", config, "--bundle", str(bundle))
    assert told.status == 1
    assert told.err == f"mountfs: {bundle}: is there already; name another file\n"


def test_a_secret_in_a_log_does_not_reach_the_report(run: Run, alone: None, config: str, tmp_path: Path) -> None:
    """Old or foreign log lines are scrubbed of URLs' paths and of credentials."""
    state = tmp_path / "home/.local/state/mountfs"
    state.mkdir(parents=True, mode=0o700)
    (state / "mount-x.log").write_text("GET https://h.example/a/b?X-Amz-Signature=5ec3e7 Bearer abcdefgh12345678\n")
    run("doctor", "--config", config, "--offline", "--bundle", str(tmp_path / "r.txt"))
    text = (tmp_path / "r.txt").read_text()
    assert "GET https://h.example/" in text
    assert "5ec3e7" not in text
    assert "abcdefgh12345678" not in text


def test_a_finding_is_a_value() -> None:
    """Advice is optional."""
    assert Finding("x", OK, "y") == Finding("x", OK, "y", "")
