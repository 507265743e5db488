"""The configuration written back, and the example."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from mountfs.config import EXAMPLE, Config, load, resolve_keys, show
from mountfs.config.schema import FileSections
from mountfs.config.text import toml

ENVIRON = {"HOME": "/home/someone", "A_KEY": "sk-very-secret"}


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return load(str(path), ENVIRON)


def test_example_is_valid_and_changes_nothing(tmp_path: Path) -> None:
    """The example as it is written gives the defaults."""
    assert replace(loaded(tmp_path, EXAMPLE), path=None) == replace(loaded(tmp_path, ""), path=None)


def test_example_uncommented(tmp_path: Path) -> None:
    """With the comment signs taken away, it loads, has every setting, and their values are the defaults."""
    text = "".join(
        re.sub(r"^# (?=[\w.]+ = |\[)", "", line)
        for line in EXAMPLE.splitlines(keepends=True)
        if not re.match(r"# api_key_(file|command|credential)", line)
    )
    document = tomllib.loads(text)
    config, bare = loaded(tmp_path, text), loaded(tmp_path, "")
    assert (config.cache, config.freshness, config.network) == (bare.cache, bare.freshness, bare.network)
    assert (config.limits, config.crawlers) == (bare.limits, bare.crawlers)
    assert [each.name for each in config.providers] == ["dari", "kaizen", "browserbase"]
    for name in FileSections.model_fields:
        fields = getattr(type(getattr(config, name)), "model_fields", {})
        assert set(document[name]) >= set(fields) if fields else name in document


def test_show_round_trip(tmp_path: Path) -> None:
    """What is shown loads again to the same configuration."""
    text = """
        mountpoint = "~/a \\"b\\""
        [providers."a.b"]
        type = "dari"
        api_key_env = "A_KEY"
        base_url = "http://127.0.0.1:1"
        sessions = ["s1"]
        list = true
        id_pattern = "a\\\\d+"
        paths = ["x y", "ü"]
        flag = true
        when = 2026-11-23
        table = { "k 1" = 1.5, inner = { x = [] } }
        [cache]
        max_size = "1001B"
        [network]
        read_timeout = "1.25s"
    """
    config = loaded(tmp_path, text)
    again = loaded(tmp_path, show(config))
    assert [replace(each, key_source=None) for each in again.providers] == [
        replace(each, key_source=None) for each in config.providers
    ]
    assert replace(again, providers=()) == replace(config, providers=())


def test_show_masks(tmp_path: Path) -> None:
    """No key is shown: not a resolved one, not an inline one, not one among a command's words or a plug-in's keys."""
    text = """
        [providers.a]
        type = "dari"
        api_key = "sk-inline"
        [providers.b]
        type = "dari"
        api_key_env = "A_KEY"
        [providers.c]
        type = "dari"
        api_key_command = "print-key --password sk-word"
        [providers.d]
        type = "plugin"
        access_token = "sk-token"
        nested = { "X-Secret" = "sk-nested" }
    """
    config = loaded(tmp_path, text.replace("print-key --password", "echo"))
    shown = show(resolve_keys(config, ENVIRON))
    assert "sk-" not in shown
    assert 'api_key = "********"' in shown
    assert 'api_key_env = "A_KEY"' in shown
    assert 'api_key_command = ["echo", "********"]' in shown


def test_show_without_a_file() -> None:
    """It says so where there was no file."""
    assert show(Config()).startswith("# no file was found")


def test_what_toml_has_not() -> None:
    """A value TOML cannot hold is a bug of the caller."""
    with pytest.raises(TypeError, match="TOML has no NoneType"):
        toml(None)
