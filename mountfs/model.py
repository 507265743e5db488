"""The nouns: facts that travel between the floors, as frozen values. No I/O, no clock, no behaviour to speak of.

Units: bytes for sizes and offsets, nanoseconds since 1970 for ``*_ns``, seconds since 1970 for wall-clock times.
Concurrency: everything here is immutable, so it may be shared between tasks and threads.
"""

from __future__ import annotations

import enum
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple, NewType

Inode = NewType("Inode", int)
Handle = NewType("Handle", int)
MemberPath = NewType("MemberPath", bytes)
"""A member's path inside its session: relative, b"/"-separated, no empty, ``.`` or ``..`` component, no NUL.
Only ``zipformat.names`` makes one, so one that exists is safe."""


class Span(NamedTuple):
    """Half-open byte range [start, stop)."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class Kind(enum.Enum):
    """What a member or directory is to the kernel."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


class Phase(enum.Enum):
    """Whether a session's files may still change. A status we do not know counts as LIVE (providers.md §0.7)."""

    LIVE = "live"
    TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a service says of one session. Times are seconds since 1970, None where the service gives none."""

    id: str
    phase: Phase
    status: str = ""
    created: float | None = None
    modified: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Validator:
    """What tells two versions of one archive apart (RFC 9110 §8.8). ``version``: a store's generation or version id."""

    etag: str | None = None
    last_modified: str | None = None
    version: str | None = None

    @property
    def strong(self) -> bool:
        """Whether ranges may be joined under it: a strong ETag, or a store's version (providers.md §6)."""
        return self.version is not None or (self.etag is not None and not self.etag.startswith("W/"))

    def agrees(self, other: Validator) -> bool:
        """Whether both name the same bytes, by the strongest part they share; False where they share none."""
        for mine, theirs in (
            (self.version, other.version),
            (self.etag, other.etag),
            (self.last_modified, other.last_modified),
        ):
            if mine is not None and theirs is not None:
                return mine == theirs
        return False


@dataclass(frozen=True, slots=True)
class Member:
    """One file, link or explicit directory of a snapshot, as its source describes it."""

    path: MemberPath
    kind: Kind
    size: int
    mtime_ns: int
    executable: bool = False
    compressed_size: int = 0
    crc: int = 0
    method: int = 0
    header_offset: int = 0
    encrypted: bool = False
    fault: str = ""
    """Why it cannot be read at all (overlap, impossible sizes); empty for a sound member."""


class Brief(NamedTuple):
    """What a listing needs of a member: a tuple, since it is made for every dentry (Member takes three times as
    long)."""

    size: int
    crc: int
    mtime_ns: int
    kind: Kind
    executable: bool


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a per-file listing (Browserbase's downloads API). ``sha256``: lower-case hex, empty if not given."""

    id: str
    filename: str
    size: int
    sha256: str = ""
    created: float | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """How a provider's member paths become names. ``strip``: a first component dropped if every member lies under it.
    ``clean_suffix``: drop ``-\\d{13}`` before the extension where the result is unique in its directory."""

    strip: bytes = b""
    clean_suffix: bool = False


@dataclass(frozen=True, slots=True)
class Remarks:
    """What was odd in an archive, counted: reason -> how many members. Logged once per archive."""

    counts: dict[str, int] = field(default_factory=dict)


class Request(NamedTuple):
    """A file-system request that waits. ``number``: counted from the daemon's start, for the log."""

    number: int
    pid: int
    label: str


REQUEST: ContextVar[Request | None] = ContextVar("request", default=None)
"""The request a task works for; tasks it starts inherit it, so a line of the log can say who caused it, and the breaker
which failures have one cause."""
