"""config check, show and init."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from running import Run

from mountfs.config import EXAMPLE
from mountfs.demo.server import Fakes


def test_check_tells_where_keys_come_from(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider without a key is no error, but is told."""
    path = tmp_path / "c.toml"
    path.write_text('[providers.a]\ntype = "dari"\n[providers.b]\ntype = "kaizen"\napi_key_env = "B_KEY"\n')
    monkeypatch.setenv("B_KEY", "sk-secret")
    told = run("config", "check", "--config", str(path))
    assert (told.status, told.err) == (0, "")
    assert told.out.splitlines() == [
        f"{path}: ok",
        "  a: dari, no key, looked for in DARI_API_KEY",
        "  b: kaizen, key found",
    ]


def test_check_finds_a_key_file_others_can_read(run: Run, tmp_path: Path) -> None:
    """A key file that is readable by others is refused, with the setting's place and what to do."""
    key = tmp_path / "dari.key"
    key.write_text("sk-secret")
    key.chmod(0o644)
    path = tmp_path / "c.toml"
    path.write_text('[providers.dari]\ntype = "dari"\napi_key_file = "dari.key"\n')
    told = run("config", "check", "--config", str(path))
    assert told.status == 1
    assert told.err == (
        f"mountfs: {path}:3: providers.dari.api_key_file: {key}: the key file is readable by others (mode 0644); "
        f"run: chmod 600 {key}\n"
    )


def test_unknown_type_names_those_there_are(run: Run, tmp_path: Path) -> None:
    """The accepted types are those that are installed."""
    path = tmp_path / "c.toml"
    path.write_text('[providers.x]\ntype = "darri"\n')
    told = run("config", "check", "--config", str(path))
    assert told.status == 1
    assert f"{path}:2: providers.x.type: unknown provider type 'darri'" in told.err
    for kind in ("kaizen", "dari", "browserbase"):
        assert kind in told.err


def test_show(run: Run, config: str, fakes: Fakes) -> None:
    """The effective configuration is TOML, and holds no key."""
    told = run("config", "show", "--config", config)
    assert told.status == 0
    assert tomllib.loads(told.out)["providers"]["dari"]["base_url"] == fakes.dari.url
    assert fakes.dari.key not in told.out


def test_init(run: Run, tmp_path: Path) -> None:
    """The example is written where mountfs looks first, private, and never over a file that is there."""
    target = tmp_path / "home" / ".config" / "mountfs" / "config.toml"
    told = run("config", "init")
    assert (told.status, told.out) == (0, f"wrote {target}\n")
    assert target.read_text() == EXAMPLE
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.parent.stat().st_mode & 0o777 == 0o700
    told = run("config", "init")
    assert told.status == 1
    assert "is there already; --force replaces it" in told.err
    target.write_text("x")
    assert run("config", "init", "--force").status == 0
    assert target.read_text() == EXAMPLE
    assert run("config", "check").status == 1  # it is found, and names no provider


def test_init_elsewhere(run: Run, tmp_path: Path) -> None:
    """The example goes to a path, to what --config says, or to standard output."""
    assert run("config", "init", str(tmp_path / "a.toml")).status == 0
    assert run("config", "init", "--config", str(tmp_path / "b.toml")).status == 0
    assert (tmp_path / "a.toml").read_text() == (tmp_path / "b.toml").read_text() == EXAMPLE
    assert run("config", "init", "-").out == EXAMPLE
    told = run("config", "init", "/proc/x.toml")
    assert told.status == 1
    assert told.err.startswith("mountfs: /proc/x.toml: ")
