"""Running daemons, found by their sockets and asked by them; and what a path means to them.

Nothing here touches the inside of a mount, which may hang: a path is walked part by part, links followed, only as far
as a mountpoint of ours.

Concurrency: blocking, each wait bounded by the protocol's timeout.
"""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mountfs.cli.lock import locked_by
from mountfs.cli.table import FSTYPES, MountFailed, mounts
from mountfs.config import mount_name, runtime_places

if TYPE_CHECKING:
    from mountfs.config import Config
    from mountfs.store import Store

ANSWER_TIMEOUT = 10.0
"""Seconds of silence: a daemon whose loop turns says every 2 s that it is alive."""
MAX_LINKS = 40
"""As the kernel's own limit (path_resolution(7))."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A process that serves a mount. ``mountpoint``: as the mount table has it; empty if it is not there."""

    socket: str
    mountpoint: str
    pid: int

    @property
    def label(self) -> str:
        """What to call it in a message."""
        return self.mountpoint or f"process {self.pid}"

    def ask(
        self, verb: str, args: Mapping[str, Any] | None = None, *, timeout: float = ANSWER_TIMEOUT
    ) -> Iterator[Any]:
        """The news and, last, the result. Raises ControlError."""
        from mountfs.control import ask

        return ask(self.socket, verb, args, timeout=timeout)

    def answer(self, verb: str, args: Mapping[str, Any] | None = None, *, timeout: float = ANSWER_TIMEOUT) -> Any:
        """The result alone. Raises ControlError."""
        result = None
        for result in self.ask(verb, args, timeout=timeout):  # noqa: B007 - the last one counts
            pass
        return result


def running() -> list[Daemon]:
    """Every daemon of this user, by mountpoint; root sees those of the users whose mounts are in the table, too."""
    table = {mount_name(mount.path): mount for mount in mounts() if mount.fstype in FSTYPES}
    me = os.geteuid()
    uids = dict.fromkeys([me, *(mount.uid for mount in table.values() if me == 0)])
    found: dict[str, Daemon] = {}
    for directory in dict.fromkeys(place for uid in uids for place in runtime_places(os.environ, uid)):
        for path in glob.glob(os.path.join(glob.escape(directory), "*.sock")):
            name = os.path.basename(path).removesuffix(".sock")
            pid = locked_by(path.removesuffix(".sock") + ".lock")
            if pid is not None and name not in found:
                found[name] = Daemon(path, table[name].path if name in table else "", pid)
    return sorted(found.values(), key=lambda daemon: daemon.label)


def daemon_at(mountpoint: str) -> Daemon:
    """The daemon of one mount. Raises MountFailed if none serves it."""
    from mountfs.cli.table import canonical, mount_at

    path = canonical(mountpoint)
    for daemon in running():
        if path == daemon.mountpoint or os.path.basename(daemon.socket) == f"{mount_name(path)}.sock":
            return daemon
    if mount_at(path) is None:
        raise MountFailed(f"{path}: not a mount of mountfs", advice="'mountfs status' lists the mounts")
    raise MountFailed(
        f"{path}: its daemon has ended, or is another user's", advice=f"run: mountfs umount {path}, or ask as that user"
    )


def split(path: str) -> tuple[str, str]:
    """(mountpoint, path inside it) of a path in a mount of ours; ("", path) of any other, cleaned."""
    points = {mount.path for mount in mounts() if mount.fstype in FSTYPES}
    if not points:
        return "", _inside(path)
    at, rest, links = "/", deque(os.path.join(_working_directory(), path).split("/")), 0
    while rest:
        part = rest.popleft()
        at = os.path.dirname(at) if part == ".." else os.path.normpath(os.path.join(at, part))
        if at in points:
            return at, _inside("/".join(rest))
        if links < MAX_LINKS and os.path.islink(at):
            links += 1
            rest.extendleft(reversed(os.readlink(at).split("/")))
            at = "/" if os.readlink(at).startswith("/") else os.path.dirname(at)
    return "", _inside(path)


def _inside(path: str) -> str:
    return os.path.normpath("/" + path).strip("/")


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it is gone: relative paths can only mean sessions
        return "/"


def identities(config: Config, daemons: list[Daemon]) -> dict[str, str]:
    """What the configuration's providers would be known as in the caches of ``daemons``: name -> identity. Keys must
    have been resolved. Empty where no daemon is there, so that no cache is made."""
    from mountfs.control import identity
    from mountfs.providers import make
    from mountfs.store import Store

    if not daemons or not os.path.isdir(config.cache.dir):
        return {}
    store: Store = Store(config.cache.dir, max_size=config.cache.max_size, min_free=config.cache.min_free)
    known = {}
    for settings in config.providers:
        provider = make(settings, config.network)
        key = provider.service.auth.key
        account = store.account(provider.service.base_url, key.reveal() if key is not None else None)
        known[settings.name] = identity(provider.content_key, account)
    return known
