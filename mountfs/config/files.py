"""Reading the two kinds of file we must be able to trust: configuration and keys.

Whoever can write the configuration can send the key anywhere, and whoever can read a key file has the key. So a
file of someone else, or one that others may write, is refused, and one that holds a key must be readable by its
owner alone. The checks look at the opened file, so it cannot be exchanged between check and use.

Concurrency: blocking; called before the loop starts.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass

from mountfs.errors import ConfigError

MAX_CONFIG_SIZE = 1 << 20
MAX_KEY_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """What was read, and the permission bits it was read under."""

    data: bytes
    mode: int

    @property
    def private(self) -> bool:
        return not self.mode & 0o077


def read_trusted(path: str, *, limit: int, what: str) -> TrustedFile:
    """The file, at most ``limit`` bytes of it.

    Raises ConfigError if it is neither the caller's nor root's, or writable by group or others, or larger; OSError
    if it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid not in (0, os.geteuid()):
            raise ConfigError(
                f"{path}: the {what} belongs to {owner_name(status.st_uid)}",
                advice=f"it must be yours or root's: chown {owner_name(os.geteuid())} {path}",
            )
        # A pipe (bash's <(…)) has no name that others could open.
        if mode & 0o022 and stat.S_ISREG(status.st_mode):
            raise ConfigError(
                f"{path}: the {what} is writable by others (mode {mode:04o})", advice=f"run: chmod go-w {path}"
            )
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ConfigError(f"{path}: larger than {limit} bytes", advice=f"this is not a {what}")
    return TrustedFile(data, mode)


def owner_name(uid: int) -> str:
    """A user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
