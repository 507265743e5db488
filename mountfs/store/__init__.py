"""The disk cache: bytes of archives, inflated members and what is known of sessions, shared by every mount of a user.

``Store`` opens a directory; ``Snapshot`` is one version of one archive in it; ``Claim`` is the right to fetch some
of its bytes; ``Spool`` and ``MemberFile`` hold inflated members; ``SessionRecord`` what is known of a session.
Everything is bounded, atomic, and lost only as time: see ``place`` for the layout, ``snapshot`` for trust and locks,
``eviction`` for what goes first, ``budget`` for the bound.

Concurrency: thread-safe, shared between processes. Blocking, but for what ``snapshot`` names.
"""

from mountfs.store.about import Address, Facts
from mountfs.store.blocks import BLOCK
from mountfs.store.claims import Claim
from mountfs.store.core import CacheInfo, Store, Verified
from mountfs.store.members import MemberFile, Spool
from mountfs.store.records import SessionRecord
from mountfs.store.snapshot import Snapshot

__all__ = [
    "BLOCK",
    "Address",
    "CacheInfo",
    "Claim",
    "Facts",
    "MemberFile",
    "SessionRecord",
    "Snapshot",
    "Spool",
    "Store",
    "Verified",
]
