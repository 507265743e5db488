"""Names and facts of the store: how a session and its snapshots are addressed, and what ``meta`` says of one.

Addresses are hashes over everything that decides the bytes, so two accounts, two base URLs or two ``paths`` never
meet, and nothing of a key, a URL or a query can be read off a path.

Pure: no I/O. Concurrency: immutable values.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mountfs.errors import CacheDamaged

VERSION = 1
_NAME_MAX = 200
"""Bytes of a quoted session id used as a file name; a longer one is hashed (NAME_MAX is 255)."""

Facts = dict[str, Any]
"""JSON values of a caller: never a URL, a key or a body."""


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def shelf(content_key: str, account: str) -> str:
    """The directory name of all sessions of one archive request under one account."""
    return _hash(content_key, account)


def snapshot_key(shelf_name: str, session_id: str, name: str) -> str:
    """The directory name of one snapshot."""
    return _hash(shelf_name, session_id, name)


def record_name(session_id: str) -> str:
    """The file name of a session's record: readable where possible, never ``.``, ``..`` or too long."""
    quoted = quote(session_id, safe="")
    if len(quoted) > _NAME_MAX:
        quoted = "%" + _hash(session_id)
    return quoted + ".json"


@dataclass(frozen=True, slots=True)
class Address:
    """One session. ``content_key``: base URL and archive request, no key; ``account``: from ``Store.account``."""

    content_key: str
    account: str
    session_id: str

    @property
    def shelf(self) -> str:
        """See the function of this name."""
        return shelf(self.content_key, self.account)


@dataclass(frozen=True, slots=True)
class About:
    """``meta`` of one snapshot.

    ``length``: bytes of the whole archive, None while unknown. ``dirty_boot``: the boot in which bytes were written
    that may not be on the disk yet; None: all is synced. ``suspect``: a boot ended before its bytes were synced, so
    nothing is believed before its CRC was checked. ``facts``: the caller's.
    """

    shelf: str
    session_id: str
    name: str
    length: int | None = None
    dirty_boot: str | None = None
    suspect: bool = False
    facts: Facts = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The snapshot's directory name."""
        return snapshot_key(self.shelf, self.session_id, self.name)

    def dump(self) -> bytes:
        """As JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({"version": VERSION, **fields}).encode()

    @classmethod
    def load(cls, data: bytes) -> About:
        """Parse ``dump``'s output; anything else is ``CacheDamaged``."""
        try:
            fields = json.loads(data)
            if fields.pop("version") != VERSION:
                raise CacheDamaged("a snapshot in the cache was written by another version of mountfs")
            about = cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CacheDamaged("a snapshot in the cache has no readable description") from error
        if not (isinstance(about.facts, dict) and isinstance(about.length, int | None)):
            raise CacheDamaged("a snapshot in the cache has a wrong description")
        return about
