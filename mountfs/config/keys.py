"""Where a provider's key comes from: one row of SOURCES a way.

A key is read once, when the mount starts, and lives in a Secret from then on. That there is none is no error here:
the provider's directory then answers ENOKEY, and the others work. A source that is named but broken (a file others
can read, a command that fails) is an error, for that is a mistake somebody wants to know about.

Concurrency: blocking (a key command may wait for a person); called before the loop starts.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from mountfs.config.files import MAX_KEY_SIZE, read_trusted
from mountfs.config.schema import Config, KeySource, ProviderSettings
from mountfs.config.secret import Secret
from mountfs.errors import ConfigError

KEY_COMMAND_TIMEOUT = 60.0
"""Seconds: a password manager may ask a person for a PIN or a finger."""

_HEADER_VALUE = re.compile(r"[\x21-\x7e]+", re.ASCII)
"""What can stand in a request header without changing its meaning (RFC 9110 §5.5), blanks left out."""


def resolve_keys(config: Config, environ: Mapping[str, str]) -> Config:
    """The configuration with every provider's key in place; those that are there already stay. Raises ConfigError."""
    return replace(config, providers=tuple(replace(each, key=resolve_key(each, environ)) for each in config.providers))


def resolve_key(
    settings: ProviderSettings, environ: Mapping[str, str], *, timeout: float = KEY_COMMAND_TIMEOUT
) -> Secret | None:
    """The provider's key; None if its variable is not set or nothing is configured.

    ``timeout``: seconds a key command may take. Raises ConfigError for a source that is named but cannot be used.
    """
    source = settings.key_source
    if source is None or settings.key is not None:
        return settings.key
    text = SOURCES[source.kind](source, environ, timeout)
    if text is None:
        return None
    key = text.strip()
    if not key:
        raise ConfigError(f"{source.origin}: the key is empty", advice="put the key there")
    if not _HEADER_VALUE.fullmatch(key):
        raise ConfigError(
            f"{source.origin}: the key holds a blank or a character that cannot stand in a request header",
            advice="it must be the key alone, on one line",
        )
    return Secret(key)


def _from_value(source: KeySource, _environ: Mapping[str, str], _timeout: float) -> str | None:
    assert isinstance(source.value, Secret)
    return source.value.reveal()


def _from_environment(source: KeySource, environ: Mapping[str, str], _timeout: float) -> str | None:
    # A variable set to nothing is how shells and unit files unset one.
    return environ.get(str(source.value)) or None


def _from_file(source: KeySource, _environ: Mapping[str, str], _timeout: float) -> str | None:
    path = str(source.value)
    try:
        file = read_trusted(path, limit=MAX_KEY_SIZE, what="key file")
    except OSError as error:
        raise ConfigError(f"{source.origin}: {path}: {error.strerror}", advice="put the key there") from None
    except ConfigError as error:
        raise ConfigError(f"{source.origin}: {error.message}", advice=error.advice) from None
    if not file.private:
        raise ConfigError(
            f"{source.origin}: {path}: the key file is readable by others (mode {file.mode:04o})",
            advice=f"run: chmod 600 {path}",
        )
    return _decoded(source, file.data)


def _from_credential(source: KeySource, environ: Mapping[str, str], _timeout: float) -> str | None:
    # systemd.exec(5), LoadCredential=: a directory only the service can read, so its bits are not ours to judge.
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise ConfigError(
            f"{source.origin}: $CREDENTIALS_DIRECTORY is not set",
            advice="this source works under systemd only: add LoadCredential= to the unit",
        )
    name = str(source.value)
    try:
        with open(os.path.join(directory, name), "rb") as file:
            data = file.read(MAX_KEY_SIZE + 1)
    except OSError as error:
        raise ConfigError(
            f"{source.origin}: credential {name}: {error.strerror}", advice=f"add LoadCredential={name}:… to the unit"
        ) from None
    return _decoded(source, data)


def _from_command(source: KeySource, environ: Mapping[str, str], timeout: float) -> str | None:
    # No shell, so nothing in the words is expanded.
    words = [str(word) for word in source.value] if isinstance(source.value, tuple) else [str(source.value)]
    try:
        # Standard error stays the terminal's: a password manager asks there, and we repeat none of it.
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=dict(environ), start_new_session=True
        )
    except OSError as error:
        raise ConfigError(f"{source.origin}: {words[0]}: {error.strerror}", advice="is it installed?") from None
    try:
        data = _output(process, time.monotonic() + timeout)
        text = _decoded(source, data)
        code = process.wait(timeout)
    except (TimeoutError, subprocess.TimeoutExpired):
        raise ConfigError(
            f"{source.origin}: {words[0]} did not answer within {timeout:g} s", advice="run it by hand to see why"
        ) from None
    finally:
        _end(process)
    if code:
        raise ConfigError(f"{source.origin}: {words[0]} ended with status {code}", advice="run it by hand to see why")
    return text


def _output(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """What it writes, up to a key's greatest size. Raises TimeoutError."""
    assert process.stdout is not None
    descriptor, data = process.stdout.fileno(), b""
    while len(data) <= MAX_KEY_SIZE:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            break
        data += chunk
    return data


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command that is still there, and what it started, for its pipe would stay open."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _decoded(source: KeySource, data: bytes) -> str:
    if len(data) > MAX_KEY_SIZE:
        raise ConfigError(f"{source.origin}: larger than {MAX_KEY_SIZE} bytes", advice="this is not a key")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{source.origin}: not text", advice="it must be the key alone, on one line") from None


SOURCES: dict[str, Callable[[KeySource, Mapping[str, str], float], str | None]] = {
    "api_key": _from_value,
    "api_key_env": _from_environment,
    "api_key_file": _from_file,
    "api_key_command": _from_command,
    "api_key_credential": _from_credential,
}
