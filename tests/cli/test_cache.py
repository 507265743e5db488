"""``mountfs cache``: info, prune, clear, verify."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import Run

RESEARCH = "dari/sess_research"


@pytest.fixture
def filled(run: Run, alone: None, config: str, tmp_path: Path) -> Path:
    """A cache that holds two sessions."""
    assert run("fetch", "--config", config, RESEARCH, "kaizen/kz_weather_2026-11-20").status == 0
    return tmp_path / "cache"


def run_bytes(config: str, path: str) -> bytes:
    """A file's bytes."""
    words = [str(Path(sys.executable).with_name("mountfs")), "cat", "--config", config, path]
    return subprocess.run(words, capture_output=True, check=True).stdout


def data_file(cache: Path, session: str) -> Path:
    """The archive's bytes of a session."""
    for meta in cache.glob("v1/snapshots/*/meta"):
        if json.loads(meta.read_text())["session_id"] == session and (meta.parent / "data").stat().st_size:
            return meta.parent / "data"
    raise AssertionError(session)


def test_info(run: Run, filled: Path, config: str) -> None:
    """What is used, of how much, by how many."""
    told = run("cache", "info", "--config", config)
    assert told.status == 0
    assert told.out.startswith(f"{filled}\n  used ")
    assert "sessions   2" in told.out
    facts = json.loads(run("cache", "info", "--json", "--config", config).out)
    assert facts["sessions"] == 2
    assert facts["used"] > 400_000


def test_verify(run: Run, filled: Path, config: str) -> None:
    """A sound cache is told as such, with how much was looked at."""
    told = run("cache", "verify", "--config", config)
    assert told.status == 0, told.err
    assert "2 of 2 snapshots sound" in told.out
    assert "nothing damaged" in told.err


def test_verify_finds_a_flipped_byte(run: Run, filled: Path, config: str) -> None:
    """A damaged member is found and dropped, is told with status 1, and comes again when it is read."""
    random = run_bytes(config, f"{RESEARCH}/random.bin")
    path = data_file(filled, "sess_research")
    with path.open("r+b") as file:
        file.seek(file.read().index(random) + 3)
        file.write(bytes([random[3] ^ 1]))
    told = run("cache", "verify", "--config", config)
    assert told.status == 1
    assert "random.bin: has CRC-32" in told.out
    assert "to be fetched again" in told.out
    assert run("cache", "verify", "--config", config).status == 0
    assert run_bytes(config, f"{RESEARCH}/random.bin") == random


def test_verify_as_json(run: Run, filled: Path, config: str) -> None:
    """A program gets a row a snapshot."""
    data_file(filled, "sess_research").write_bytes(b"")
    told = run("cache", "verify", "--json", "--config", config)
    assert told.status == 1
    rows = {row["session"]: row for row in json.loads(told.out)["snapshots"]}
    assert rows["sess_research"]["dropped"]
    assert rows["kz_weather_2026-11-20"]["members"] > 3


def test_clear_and_prune(run: Run, filled: Path, config: str) -> None:
    """Pruning keeps what is shown, clearing keeps nothing."""
    assert run("cache", "prune", "--config", config).out.startswith("freed ")
    assert run("cat", "--offline", "--config", config, f"{RESEARCH}/README.md").status == 0
    told = run("cache", "clear", "--config", config)
    assert told.status == 0
    assert told.out.startswith("freed ")
    assert run("cat", "--offline", "--config", config, f"{RESEARCH}/README.md").status == 1


def test_clear_leaves_what_is_in_use(run: Run, mounted: Path, config: str) -> None:
    """An open file of a running mount keeps its bytes."""
    with (mounted / RESEARCH / "random.bin").open("rb") as file:
        first = file.read(4096)
        told = run("cache", "clear", "--config", config)
        assert "in use and stay" in told.out
        file.seek(0)
        assert file.read(4096) == first


@pytest.mark.parametrize("verb", ["info", "prune", "clear", "verify"])
def test_no_cache(run: Run, config: str, verb: str, tmp_path: Path) -> None:
    """Where there is none yet, none is made; where a file stands, that is told."""
    told = run("cache", verb, "--config", config)
    assert told.status == 1
    assert told.err.startswith(f"mountfs: {tmp_path}/cache: there is no cache yet; ")
    assert not os.path.exists(tmp_path / "cache")
    (tmp_path / "cache").write_text("")
    assert "is not a directory" in run("cache", verb, "--config", config).err
