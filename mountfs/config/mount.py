"""What ``-o`` says: mountfs's own words and those every mount takes, as in mount(8) and fstab(5).

Words are a table (OWN, IGNORED, REFUSED), so that a new one is a row. Values never hold a key.

Concurrency: immutable values, pure functions.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mountfs.config.problems import nearest
from mountfs.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MountOptions:
    """How a tree is mounted. ``uid``, ``gid``: None for the mounting user's own. ``umask``: bits taken from every
    mode. ``xattr``: whether extended attributes are answered (``filesystem/xattrs.py`` says what that costs).
    ``express``: whether what is at hand is answered without pyfuse3 (``fuse/express.py``); for finding faults.
    ``source``: what the mount table shows as the device. ``config``: the configuration's path, from ``config=``; for
    the command line only."""

    allow_other: bool = False
    uid: int | None = None
    gid: int | None = None
    umask: int = 0
    noexec: bool = False
    xattr: bool = False
    express: bool = True
    offline: bool = False
    source: str = "mountfs"
    config: str | None = None


# fmt: off
IGNORED = frozenset((
    "ro", "defaults", "nosuid", "nodev", "exec", "auto", "noauto", "user", "nouser", "users", "owner", "group",
    "nofail", "_netdev", "async", "atime", "noatime", "relatime", "norelatime", "diratime", "nodiratime",
    "strictatime", "lazytime", "nolazytime", "silent", "loud",
))
# fmt: on
"""Words of fstab(5) that are for mount(8) and systemd, or that a read-only FUSE mount fulfils anyway."""
IGNORED_STARTS = ("x-", "X-", "comment=", "user=", "uhelper=")
REFUSED: dict[str, str] = {
    "rw": "the tree is read-only; write ro",
    "suid": "a FUSE mount honours no set-user-id bits; leave it out",
    "dev": "the tree holds no devices; leave it out",
    "auto_unmount": "a mount whose daemon died must give errors, not an empty directory; leave it out",
    "allow_root": "write allow_other",
    "nonempty": "FUSE 3 mounts over files anyway; leave it out",
}


def parse_mount_words(words: Iterable[str], *, helper: bool = False) -> MountOptions:
    """The meaning of ``-o`` words; each item may hold several, separated by commas.

    ``helper``: mount(8) called us, which adds ``rw`` where nothing was said. Raises ConfigError for a word that is
    not known or has a wrong value.
    """
    options = MountOptions()
    for word in (word.strip() for item in words for word in item.split(",")):
        if not word or word in IGNORED or word.startswith(IGNORED_STARTS) or (helper and word == "rw"):
            continue
        if word in REFUSED:
            raise ConfigError(f"-o {word}: {REFUSED[word]}")
        name, equals, value = word.partition("=")
        read = OWN.get(name)
        if read is None:
            raise ConfigError(f"-o {word}: unknown option{nearest(name, OWN)}", advice=f"accepted: {', '.join(OWN)}")
        try:
            options = read(options, value if equals else None)
        except ValueError as error:
            raise ConfigError(f"-o {word}: {error}") from None
    return options


def mount_words(options: MountOptions) -> list[str]:
    """The words that give ``options`` again, ``config`` and ``offline`` left to their own flags."""
    words = [name for name in ("allow_other", "noexec", "xattr") if getattr(options, name)]
    words += [] if options.express else ["noexpress"]
    words += [f"{name}={getattr(options, name)}" for name in ("uid", "gid") if getattr(options, name) is not None]
    if options.umask:
        words.append(f"umask={options.umask:03o}")
    if options.source != "mountfs":
        words.append(f"fsname={options.source}")
    return words


def _no_value(value: str | None) -> bool:
    if value is not None:
        raise ValueError("takes no value")
    return True


def _required(value: str | None, form: str) -> str:
    if not value:
        raise ValueError(f"write {form}")
    return value


def _uid(options: MountOptions, value: str | None) -> MountOptions:
    text = _required(value, "uid=NUMBER or uid=NAME")
    return replace(options, uid=_id(text, lambda name: pwd.getpwnam(name).pw_uid, "user"))


def _gid(options: MountOptions, value: str | None) -> MountOptions:
    text = _required(value, "gid=NUMBER or gid=NAME")
    return replace(options, gid=_id(text, lambda name: grp.getgrnam(name).gr_gid, "group"))


def _id(text: str, look_up: Callable[[str], int], what: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < (1 << 32) - 1:
        return int(text)
    try:
        return look_up(text)
    except KeyError:
        raise ValueError(f"no such {what}") from None


def _umask(options: MountOptions, value: str | None) -> MountOptions:
    text = _required(value, "umask=077, in octal")
    try:
        mask = int(text, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise ValueError("write umask=000 to umask=777, in octal")
    return replace(options, umask=mask)


def _source(options: MountOptions, value: str | None) -> MountOptions:
    return replace(options, source=_required(value, "fsname=NAME"))


def _config(options: MountOptions, value: str | None) -> MountOptions:
    return replace(options, config=_required(value, "config=PATH"))


OWN: dict[str, Callable[[MountOptions, str | None], MountOptions]] = {
    "allow_other": lambda options, value: replace(options, allow_other=_no_value(value)),
    "uid": _uid,
    "gid": _gid,
    "umask": _umask,
    "noexec": lambda options, value: replace(options, noexec=_no_value(value)),
    "offline": lambda options, value: replace(options, offline=_no_value(value)),
    "xattr": lambda options, value: replace(options, xattr=_no_value(value)),
    "noexpress": lambda options, value: replace(options, express=not _no_value(value)),
    "fsname": _source,
    "config": _config,
}
