"""Keys from every source, each with its mistakes; a key never shows."""

from __future__ import annotations

import copy
import os
import pickle
import select
import sys
from pathlib import Path

import pytest

from mountfs.config import Config, KeySource, ProviderSettings, Secret, resolve_key, resolve_keys
from mountfs.config.files import MAX_KEY_SIZE
from mountfs.errors import ConfigError

ENVIRON = dict(os.environ)
KEY = "sk-very-secret"


def settings(kind: str, value: str | tuple[str, ...] | Secret) -> ProviderSettings:
    return ProviderSettings("dari", "dari", key_source=KeySource(kind, value, f"c.toml:3: providers.dari.{kind}"))


def revealed(secret: Secret | None) -> str | None:
    return secret.reveal() if secret else None


def test_secret_does_not_show() -> None:
    """Neither repr, str, format, an f-string, nor an error gives the key away; equal keys are equal."""
    secret = Secret(KEY)
    provider = ProviderSettings("dari", "dari", key=secret)
    shown = f"{secret} {secret!r} {[secret]} {provider} {Config(providers=(provider,))}" + "%s" % secret  # noqa: UP031
    assert KEY not in shown
    assert secret == Secret(KEY) != Secret("another")
    assert secret != KEY
    assert len({secret, Secret(KEY)}) == 1
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="not pickled"):
        copy.copy(secret)


def test_nothing_configured() -> None:
    """Without a source, or with its variable unset or empty, there is no key, which is no error."""
    assert resolve_key(ProviderSettings("x", "x"), {}) is None
    assert resolve_key(settings("api_key_env", "A"), {}) is None
    assert resolve_key(settings("api_key_env", "A"), {"A": ""}) is None


def test_environment_and_inline() -> None:
    """The simple sources; a line end after the key does no harm."""
    assert revealed(resolve_key(settings("api_key_env", "A"), {"A": KEY + "\n"})) == KEY
    assert revealed(resolve_key(settings("api_key", Secret(KEY)), {})) == KEY


@pytest.mark.parametrize("text", ["sk 1", "sk\n1", "schlüssel", "a\x00b", "a\r\nX-Evil: 1"])
def test_not_a_header_value(text: str) -> None:
    """A key that cannot stand in a header is refused, and not repeated."""
    with pytest.raises(ConfigError, match="cannot stand in a request header") as caught:
        resolve_key(settings("api_key_env", "A"), {"A": text})
    assert text not in str(caught.value)


def test_file(tmp_path: Path) -> None:
    """A key file must be there, be ours, be readable by us alone, and hold a key."""
    path = tmp_path / "key"
    source = settings("api_key_file", str(path))
    with pytest.raises(ConfigError, match=r"^c.toml:3: providers.dari.api_key_file: .*key: No such file"):
        resolve_key(source, {})
    path.write_text(KEY + "\n")
    for mode, message in ((0o644, "readable by others"), (0o640, "readable by others"), (0o620, "writable by others")):
        path.chmod(mode)
        with pytest.raises(ConfigError, match=rf"^c.toml:3: .*{message} \(mode 0{mode:o}\); run: chmod"):
            resolve_key(source, {})
    path.chmod(0o600)
    assert revealed(resolve_key(source, {})) == KEY
    for data, message in ((b" \n", "the key is empty"), (b"\xff", "not text"), (b"x" * (MAX_KEY_SIZE + 1), "larger")):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=message):
            resolve_key(source, {})


def test_credential(tmp_path: Path) -> None:
    """A systemd credential is found in the directory the unit was given; its permissions are systemd's business."""
    (tmp_path / "dari").write_text(KEY)
    (tmp_path / "dari").chmod(0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert revealed(resolve_key(settings("api_key_credential", "dari"), environ)) == KEY
    with pytest.raises(ConfigError, match=r"credential other: No such file.*LoadCredential=other"):
        resolve_key(settings("api_key_credential", "other"), environ)
    with pytest.raises(ConfigError, match="CREDENTIALS_DIRECTORY is not set; this source works under systemd"):
        resolve_key(settings("api_key_credential", "dari"), {})


def command(program: str) -> ProviderSettings:
    return settings("api_key_command", (sys.executable, "-c", program))


def test_command() -> None:
    """What the program prints is the key; it runs without a shell, and in the environment given."""
    assert revealed(resolve_key(command(f"print({KEY!r})"), ENVIRON)) == KEY
    assert revealed(resolve_key(command("import os; print(os.environ['A'])"), {**ENVIRON, "A": KEY})) == KEY
    assert revealed(resolve_key(settings("api_key_command", ("echo", "$HOME")), ENVIRON)) == "$HOME"


def test_command_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    """A command that fails is named by its program alone: its arguments and output may hold secrets."""
    with pytest.raises(ConfigError, match=r"^c.toml:3: .* ended with status 3; run it by hand") as caught:
        resolve_key(command(f"print({KEY!r}); raise SystemExit(3)"), ENVIRON)
    assert KEY not in str(caught.value)
    with pytest.raises(ConfigError, match="ended with status 3"):
        resolve_key(command("raise SystemExit(3)"), ENVIRON)
    with pytest.raises(ConfigError, match="/no/such/program: No such file"):
        resolve_key(settings("api_key_command", ("/no/such/program",)), ENVIRON)
    with pytest.raises(ConfigError, match="larger than"):
        resolve_key(command("while True: print('x' * 4096)"), ENVIRON)
    capfd.readouterr()


def test_command_that_hangs(tmp_path: Path) -> None:
    """A command that does not answer is ended, with the children it left behind."""
    children = tmp_path / "children"
    program = (
        "import subprocess, sys, os, time\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        f"open({str(children)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "child.wait()"
    )
    with pytest.raises(ConfigError, match="did not answer within 2 s"):
        resolve_key(command(program), ENVIRON, timeout=2)
    for pid in children.read_text().split():
        assert ended(int(pid))


def ended(pid: int, timeout: float = 10.0) -> bool:
    """Whether a process ends within ``timeout`` seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout)[0])
    finally:
        os.close(descriptor)


def test_all_providers_at_once() -> None:
    """resolve_keys fills in every key that can be had."""
    config = Config(
        providers=(settings("api_key_env", "A"), ProviderSettings("k", "kaizen"), settings("api_key_env", "B"))
    )
    resolved = resolve_keys(config, {"A": KEY})
    assert [revealed(each.key) for each in resolved.providers] == [KEY, None, None]
    assert config.providers[0].key is None
    # A second time costs nothing: a key command is not asked again.
    assert revealed(resolve_keys(resolved, {"A": "another"}).providers[0].key) == KEY
