"""``[metrics] listen``: what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from mountfs.config import load
from mountfs.errors import ConfigError


def _listen(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.toml"
    path.write_text(f'[metrics]\nlisten = "{text}"\n')
    path.chmod(0o600)
    return load(str(path), {"HOME": "/home/ann"}).metrics.listen


@pytest.mark.parametrize("text", ["", "127.0.0.1:9464", "127.8.8.8:1", "localhost:65535", "[::1]:9464"])
def test_loopback(tmp_path: Path, text: str) -> None:
    """A port on a loopback address is taken as it stands; nothing is nowhere."""
    assert _listen(tmp_path, text) == text


def test_socket(tmp_path: Path) -> None:
    """The path of a socket is made absolute, as every path in the file."""
    assert _listen(tmp_path, "unix:~/metrics.sock") == "unix:/home/ann/metrics.sock"
    assert _listen(tmp_path, "unix:metrics.sock") == f"unix:{tmp_path}/metrics.sock"


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:80", "example.com:9464", ":9464"])
def test_elsewhere(tmp_path: Path, text: str) -> None:
    """Any other address is refused: anybody on the network could look."""
    with pytest.raises(ConfigError, match=r"config.toml:2: metrics.listen: (only a loopback address|write)"):
        _listen(tmp_path, text)


@pytest.mark.parametrize("text", ["9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "unix:"])
def test_not_an_address(tmp_path: Path, text: str) -> None:
    """What is neither address and port nor a socket's path is met with what to write."""
    with pytest.raises(ConfigError, match=r"config.toml:2: metrics.listen: write"):
        _listen(tmp_path, text)
