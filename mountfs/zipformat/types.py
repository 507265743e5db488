"""What a member is: file, directory, link, or something that is never shown (zip.md, "Types, modes, times").

Theory: the upper half of the external attributes is the Unix mode, whatever host the writer claims; where it has
no type bits, hosts of the FAT family say "directory" or "volume label" in the lower half, and a trailing ``/``
says "directory" for everybody. Set-id and sticky bits are never looked at.

Concurrency: pure functions.
"""

from __future__ import annotations

from mountfs.model import Kind
from mountfs.zipformat.decoders import DECODERS
from mountfs.zipformat.records import FAT_LIKE_HOSTS, FLAG_ENCRYPTED

DIRECTORY = 1
LINK = 2
HIDDEN = 4
ODD = 8
"""Traits of a member, one byte each: ODD says that its path is not simply the bytes of its name."""

KINDS = (Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK)
"""Indexed by ``trait & 3``."""

HIDDEN_SPECIAL = "hidden: device, fifo or socket"
HIDDEN_LABEL = "hidden: volume label"

S_IFREG_NIBBLE = 0o10
S_IFLNK_NIBBLE = 0o12
DOS_LABEL = 0x08
DOS_DIRECTORY = 0x10
MAX_LINK_TARGET = 4095
"""PATH_MAX less its NUL."""

TYPES: dict[int, int] = {
    0o01: HIDDEN,  # S_IFIFO
    0o02: HIDDEN,  # S_IFCHR
    0o04: DIRECTORY,  # S_IFDIR
    0o06: HIDDEN,  # S_IFBLK
    0o10: 0,  # S_IFREG
    0o12: LINK,  # S_IFLNK
    0o14: HIDDEN,  # S_IFSOCK
}
"""The file type of a Unix mode (its upper four bits) -> trait. A type that no Unix has counts as none."""


def traits(name: bytes, *, host: int, attributes: int, flags: int, method: int, size: int) -> tuple[int, str]:
    """(trait, remark) of a member, by its record's fields. ``size``: of the link's target, if it is one."""
    trait = TYPES.get(attributes >> 28)
    if trait == HIDDEN:
        return HIDDEN, HIDDEN_SPECIAL
    if trait is None and host in FAT_LIKE_HOSTS:
        if attributes & DOS_LABEL and not attributes & DOS_DIRECTORY:
            return HIDDEN, HIDDEN_LABEL
        if attributes & DOS_DIRECTORY:
            return DIRECTORY, ""
    if trait == DIRECTORY or name.endswith(b"/"):
        return DIRECTORY, ""
    readable = not flags & FLAG_ENCRYPTED and method in DECODERS
    if trait == LINK and readable and 1 <= size <= MAX_LINK_TARGET:
        return LINK, ""
    return 0, ""


def executable(attributes: int) -> bool:
    """Whether any x bit is set in the Unix mode. A link's say nothing, also where it is shown as a file."""
    return bool(attributes >> 16 & 0o111) and attributes >> 28 != S_IFLNK_NIBBLE
