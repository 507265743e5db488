"""Where things that are neither configuration nor cache lie: the daemon's lock and socket, its log.

The runtime directory is ``$XDG_RUNTIME_DIR/mountfs``; without that ``/run/mountfs`` for root, else
``/tmp/mountfs-UID``, whose owner is checked, since /tmp is everybody's. ``mountfs@NAME.service`` sets the variable to
``/run/mountfs/NAME``, closed to all but its daemon and root. One mount is known there by a digest of its
mountpoint, so that it can be found without touching the mountpoint, which may hang.

Concurrency: blocking, but quick.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Mapping

from mountfs.config.load import home
from mountfs.errors import ConfigError

SERVICES = "/run/mountfs/*/mountfs"
"""The runtime directories of mountfs@NAME.service (RuntimeDirectory=mountfs/%i, and XDG_RUNTIME_DIR= the same)."""


def runtime_directory(environ: Mapping[str, str]) -> str:
    """The directory, made with mode 0700 if it is not there. Raises ConfigError if it is not ours."""
    given = environ.get("XDG_RUNTIME_DIR", "")
    # Under `sudo -E` it is still the user's, and root must leave nothing of its own there.
    if os.path.isabs(given) and os.path.isdir(given) and os.stat(given).st_uid == os.geteuid():
        return private_directory(os.path.join(given, "mountfs"))
    return private_directory(_without_session(os.geteuid()))


def runtime_places(environ: Mapping[str, str], uid: int) -> tuple[str, ...]:
    """Where the runtime directory of user ``uid`` may be, likeliest first; for looking, nothing is made or checked."""
    given = environ.get("XDG_RUNTIME_DIR", "")
    session = [os.path.join(given, "mountfs")] if os.path.isabs(given) else []
    services = sorted(glob.glob(SERVICES))  # their users' numbers are made up by systemd, so all are looked into
    return tuple(dict.fromkeys([*session, f"/run/user/{uid}/mountfs", _without_session(uid), *services]))


def _without_session(uid: int) -> str:
    return "/run/mountfs" if uid == 0 else f"/tmp/mountfs-{uid}"  # noqa: S108  # its owner is checked


def state_directory(environ: Mapping[str, str]) -> str:
    """``$XDG_STATE_HOME/mountfs``, for the log of a daemon without a terminal or journal. Made if it is not there."""
    given = environ.get("XDG_STATE_HOME", "")
    base = given if os.path.isabs(given) else os.path.join(home(environ), ".local", "state")
    return private_directory(os.path.join(base, "mountfs"))


def private_directory(path: str) -> str:
    """``path``, made with mode 0700 if it is not there. Raises ConfigError if it is a link or somebody else's."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.lstat(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", advice="this directory must be yours and writable") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ConfigError(f"{path}: is not a directory of yours", advice="remove it, or set XDG_RUNTIME_DIR")
    return path


def mount_name(mountpoint: str) -> str:
    """A file name for one mount: readable, and unique by a digest of the absolute mountpoint."""
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:12]
    readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in os.path.basename(mountpoint))[:32]
    return f"{readable or 'root'}-{digest}"
