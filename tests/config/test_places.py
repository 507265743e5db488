"""Runtime and state directories: private, and never somebody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mountfs.config.places import mount_name, private_directory, runtime_directory, runtime_places, state_directory
from mountfs.errors import ConfigError


def test_runtime_directory(tmp_path: Path) -> None:
    """It lies in the session's runtime directory, private, and stays as it is the second time."""
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    path = runtime_directory(environ)
    assert path == f"{tmp_path}/mountfs" == runtime_directory(environ)
    assert os.stat(path).st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_session(tmp_path: Path) -> None:
    """Under sudo, root does not put its files into the user's runtime directory, but looks there too."""
    os.chown(tmp_path, 65534, -1)
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert runtime_directory(environ) == "/run/mountfs"
    assert not list(tmp_path.iterdir())
    assert runtime_places(environ, 7) == (f"{tmp_path}/mountfs", "/run/user/7/mountfs", "/tmp/mountfs-7")
    with pytest.raises(ConfigError, match="is not a directory of yours"):
        private_directory(str(tmp_path))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of a directory of ours is a trap."""
    (tmp_path / "mountfs").symlink_to("/tmp")
    with pytest.raises(ConfigError, match="is not a directory of yours"):
        runtime_directory({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_state_directory(tmp_path: Path) -> None:
    """It follows the XDG rules: the variable if it is absolute, else below the home directory."""
    home = str(tmp_path)
    assert state_directory({"HOME": home}) == f"{home}/.local/state/mountfs"
    assert state_directory({"HOME": home, "XDG_STATE_HOME": "relative"}) == f"{home}/.local/state/mountfs"
    assert state_directory({"HOME": home, "XDG_STATE_HOME": f"{home}/x"}) == f"{home}/x/mountfs"


def test_mount_names_differ() -> None:
    """Two mountpoints never share a name, and a name is a file's."""
    names = {mount_name(path) for path in ("/a/b", "/a-b", "/a/b/", "/", "/ü/ n", "/x" * 4000)}
    assert len(names) == 6
    assert all("/" not in name and len(name) < 60 and name.isascii() for name in names)
