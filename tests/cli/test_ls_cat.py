"""The tree without FUSE: ls and cat, against the demo's services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from running import Run

from mountfs.cli.trees import printable
from mountfs.demo.server import Fakes

RESEARCH = "dari/sess_research"


def archive(fakes: Fakes) -> zipfile.ZipFile:
    """The archive of the session these tests read."""
    held = fakes.dari.sessions["sess_research"].archive
    assert callable(held) or isinstance(held, Path)
    return zipfile.ZipFile(held() if callable(held) else held)  # type: ignore[arg-type]


def test_root_and_provider(run: Run, config: str, fakes: Fakes) -> None:
    """The root shows the providers for no request, a provider its sessions for one."""
    fakes.clear_requests()
    assert run("ls", "--config", config).out.split() == ["browserbase", "dari", "kaizen"]
    assert not fakes.dari.requests
    told = run("ls", "--config", config, "dari")
    assert told.status == 0
    assert {"sess_research", "sess_big", "sess_live"} <= set(told.out.split())
    assert [each.path for each in fakes.dari.requests] == ["/v1/sessions"]


def test_long(run: Run, config: str) -> None:
    """-l tells mode, size, time and a link's target; several paths have headings."""
    told = run("ls", "-l", f"{RESEARCH}/reports", f"{RESEARCH}/scripts", "--config", config)
    assert told.status == 0
    lines = told.out.splitlines()
    assert f"{RESEARCH}/reports:" in lines
    assert f"{RESEARCH}/scripts:" in lines
    link = next(line for line in lines if "latest.md" in line)
    assert link.startswith("lrwxrwxrwx")
    assert link.endswith(" latest.md -> ../README.md")
    script = next(line for line in lines if line.endswith("collect.sh"))
    assert script.split()[:2] == ["-r-xr-xr-x", str(len(b'#!/bin/sh\nset -eu\necho "collecting $*"\n'))]


def test_recursive_and_json(run: Run, config: str, fakes: Fakes) -> None:
    """-R goes into every directory; --json gives a program every path with its facts."""
    told = run("ls", "-R", "--json", RESEARCH, "--config", config)
    assert told.status == 0
    found = {each["path"]: each for each in map(json.loads, told.out.splitlines())}
    with archive(fakes) as members:
        for info in members.infolist():
            shown = found[RESEARCH + "/" + info.filename.removeprefix("workspace/").rstrip("/")]
            assert shown["type"] == ("directory" if info.is_dir() else "link" if "latest" in info.filename else "file")
            assert info.is_dir() or shown["size"] == info.file_size
    assert found[f"{RESEARCH}/reports/latest.md"]["target"] == "../README.md"
    assert found[f"{RESEARCH}/scripts/collect.sh"]["mode"] == "0555"


def test_ls_of_a_file(run: Run, config: str) -> None:
    """A file is listed as itself."""
    assert run("ls", f"{RESEARCH}/README.md", "--config", config).out == f"{RESEARCH}/README.md\n"
    told = run("ls", "--json", f"/{RESEARCH}/README.md", "--config", config)
    assert json.loads(told.out)["path"] == f"{RESEARCH}/README.md"


def test_cat_is_the_archives_bytes(mountfs: Run, config: str, fakes: Fakes) -> None:
    """Files come out byte for byte, one after the other, also through a link and a path with dots."""
    words = [str(Path(sys.executable).with_name("mountfs")), "cat", "--config", config]
    paths = [
        "data/readings.sqlite",
        "notes/../reports/latest.md",
        "notes/Übersicht, naïve café.txt",
        "scripts/__init__.py",
    ]
    got = subprocess.run([*words, *(f"{RESEARCH}/{path}" for path in paths)], capture_output=True, check=True)
    with archive(fakes) as members:
        names = ["data/readings.sqlite", "README.md", "notes/Übersicht, naïve café.txt"]
        assert got.stdout == b"".join(members.read(f"workspace/{name}") for name in names)
    assert got.stderr == b""


def test_large_file(config: str, fakes: Fakes) -> None:
    """A file larger than any window arrives whole."""
    words = [str(Path(sys.executable).with_name("mountfs")), "cat", "--config", config]
    got = subprocess.run([*words, "kaizen/kz_big/trace.log"], capture_output=True, check=False, timeout=60)
    assert got.returncode == 0, got.stderr
    held = fakes.kaizen.sessions["kz_big"].archive
    with zipfile.ZipFile(held() if callable(held) else held) as members:  # type: ignore[arg-type]
        assert got.stdout == members.read("trace.log")


def test_errors(run: Run, config: str) -> None:
    """An error is one line with the path, the rest goes on, and the status is 1."""
    told = run("cat", f"{RESEARCH}/nothing", "nobody/x", RESEARCH, f"{RESEARCH}/README.md", "--config", config)
    assert told.status == 1
    assert told.out.startswith("# Research notes")
    lines = told.err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["mountfs", f"{RESEARCH}/nothing"],
        ["mountfs", "nobody/x"],
        ["mountfs", RESEARCH],
    ]
    told = run("ls", "dari/sess_gone", f"{RESEARCH}/README.md/x", "--config", config)
    assert told.status == 1
    assert "mountfs: dari/sess_gone: " in told.err
    assert f"mountfs: {RESEARCH}/README.md/x: " in told.err


def test_offline(run: Run, config: str, fakes: Fakes) -> None:
    """--offline shows what was fetched before, without one request."""
    before = run("cat", f"{RESEARCH}/README.md", "--config", config).out
    fakes.clear_requests()
    assert run("cat", "--offline", f"{RESEARCH}/README.md", "--config", config).out == before
    assert run("ls", "--offline", "dari", "--config", config).out.split() == ["sess_research"]
    assert run("ls", "--offline", "kaizen/kz_big", "--config", config).status == 1
    assert not [each for fake in fakes.all for each in fake.requests]


def test_no_room_for_the_output(config: str) -> None:
    """A full disk at the other end is told, and is a failure."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    words = [str(Path(sys.executable).with_name("mountfs")), "cat", f"{RESEARCH}/random.bin", "--config", config]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "mountfs: cannot write: No space left on device; look at where the output goes\n"


def test_reader_that_leaves(config: str) -> None:
    """`mountfs cat | head` ends quietly."""
    words = [str(Path(sys.executable).with_name("mountfs")), "cat", "kaizen/kz_big/recording.webm", "--config", config]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_names_for_a_terminal() -> None:
    """A name made to play tricks on a terminal loses them; any other stays."""
    assert printable("Übersicht, メモ.txt".encode()) == "Übersicht, メモ.txt"
    assert printable(b"\x1b[2J\x07\r\n\xff") == "?[2J???\ufffd"
    assert printable("\u202egnp.exe".encode()) == "?gnp.exe"
