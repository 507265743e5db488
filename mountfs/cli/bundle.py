"""The report of ``mountfs doctor --bundle``: one text file for a bug report, with no secret in it.

No key is read for it. What might still hold one (a log line of a library, an old one) goes through the same scrubbing
as a service's words: of a URL scheme and host are left, credential-like words lose their value.

Concurrency: blocking, each wait bounded.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from mountfs.cli.common import read_config
from mountfs.cli.finding import Finding
from mountfs.errors import ConfigError, MountfsError

LOG_LINES = 300
LINE_MOST = 2000
JOURNAL_TIMEOUT = 5.0
VARIABLES = ("MOUNTFS_CONFIG", "MOUNTFS_LOG", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME", "INVOCATION_ID")
SECRET_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Told as set or not: a proxy's URL may hold a password."""


def write(path: str, found: list[Finding]) -> None:
    """Writes the report. Raises ConfigError if ``path`` is there already, or cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path}: is there already", advice="name another file") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", advice="name another file") from None
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        for title, lines in sections(found):
            file.write(f"== {title}\n")
            file.writelines(f"{_clean(line)}\n" for line in lines)
            file.write("\n")


def sections(found: list[Finding]) -> Iterator[tuple[str, Iterable[str]]]:
    """Titles and lines."""
    from mountfs.cli.versions import versions

    yield "mountfs doctor", [f"written {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC as user {os.geteuid()}"]
    yield "checks", [f"{each.state}: {each.what}: {each.says}; {each.advice}".rstrip("; ") for each in found]
    yield "versions", versions().splitlines()
    yield "environment", _environment()
    yield "configuration", _configuration()
    yield "mount table", _table()
    yield from _daemons()
    yield from _logs()


def _clean(line: str) -> str:
    from mountfs.transport import scrub

    indent = line[: len(line) - len(line.lstrip())]
    return indent + scrub(line, longest=LINE_MOST)


def _environment() -> Iterator[str]:
    for name in VARIABLES:
        if name in os.environ:
            yield f"{name}={os.environ[name]}"
    for name in SECRET_VARIABLES:
        if name in os.environ or name.lower() in os.environ:
            yield f"{name} is set"
    yield f"variables ending in _API_KEY: {sum(name.endswith('_API_KEY') for name in os.environ)}"


def _configuration() -> Iterator[str]:
    from mountfs.config import show

    try:
        yield from show(read_config()).splitlines()
    except MountfsError as error:
        yield from error.message.splitlines()


def _table() -> Iterator[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="backslashreplace") as file:
        yield from (line.rstrip("\n") for line in file if "fuse" in line)


def _daemons() -> Iterator[tuple[str, Iterable[str]]]:
    from mountfs.cli.daemons import running

    for daemon in running():
        for verb in ("status", "tasks"):
            try:
                told = json.dumps(daemon.answer(verb, timeout=5.0), indent=1).splitlines()
            except MountfsError as error:
                told = [str(error)]
            yield f"{verb} of {daemon.label} (process {daemon.pid})", told
        yield f"process {daemon.pid}", _process(daemon.pid)


def _process(pid: int) -> Iterator[str]:
    for name in ("status", "limits"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            yield from (line.rstrip("\n") for line in file)


def _logs() -> Iterator[tuple[str, Iterable[str]]]:
    from mountfs.config import state_directory

    for path in sorted(glob.glob(os.path.join(glob.escape(state_directory(os.environ)), "mount-*.log"))):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            yield f"the end of {path}", [line.rstrip("\n") for line in deque(file, LOG_LINES)]
    for words in (["--user", "-u", "mountfs*"], ["-u", "mountfs*"]):
        command = ["journalctl", *words, "-n", str(LOG_LINES), "--no-pager", "-o", "short-iso"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            ended = subprocess.run(command, capture_output=True, text=True, timeout=JOURNAL_TIMEOUT, check=False)
            if not ended.returncode:
                yield " ".join(command), ended.stdout.splitlines()
