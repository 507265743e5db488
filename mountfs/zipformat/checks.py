"""What makes a single member unreadable, found in the directory alone, before any byte of it is fetched.

Theory: a bad member fails alone. A *fault* is the archive's own contradiction (EIO): it stands in ``Member.fault``.
A limit is ours (EFBIG) and is judged when the member is opened, so that it is listed all the same.

Concurrency: pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from mountfs.errors import LimitExceeded, MemberDamaged
from mountfs.model import Member
from mountfs.zipformat.decoders import DECODERS
from mountfs.zipformat.inflate import unsupported
from mountfs.zipformat.names import printable

RATIO_SLACK = 64
"""Bytes by which a tiny member may pass its format's ratio."""
RATIO_FLOOR = 1 << 20
"""Members up to this size are never bombs."""

FAULT_ZIP64 = "its zip64 field is too short"
FAULT_OUTSIDE = "it lies outside the archive's data"
FAULT_OVERLAP = "its data overlaps another member's"
FAULT_RATIO = "it claims more bytes than its compressed data can hold"


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """Bounds of the configuration (``[limits]``). Sizes in bytes."""

    max_members: int = 5_000_000
    max_directory_size: int = 1 << 30
    """A directory is held in memory whole while its session is in use."""
    max_member_size: int = 100 << 30
    max_ratio: int = 2000
    """Inflated : compressed, of members above 1 MiB."""


def impossible_size(method: int, size: int, compressed_size: int) -> bool:
    """Whether no stream of that method and length inflates to so much (deflate: 1032 : 1)."""
    row = DECODERS.get(method)
    return (
        row is not None
        and row.ratio is not None
        and size > row.ratio * compressed_size + (RATIO_SLACK if row.ratio > 1 else 0)
    )


def ensure_readable(member: Member, limits: ZipLimits) -> None:
    """To be called when a member is opened.

    Raises MemberDamaged (its fault), MemberUnsupported (encrypted, unknown method) or LimitExceeded.
    """
    if member.fault:
        raise MemberDamaged(
            f"{printable(member.path)}: {member.fault}", advice="the archive is damaged, or made to do harm"
        )
    if member.encrypted or member.method not in DECODERS:
        raise unsupported(member)
    if member.size > limits.max_member_size:
        raise LimitExceeded(
            f"{printable(member.path)}: its {member.size} bytes are more than {limits.max_member_size}",
            advice="raise [limits] max_member_size to read it",
        )
    if member.size > RATIO_FLOOR and member.size > limits.max_ratio * member.compressed_size:
        raise LimitExceeded(
            f"{printable(member.path)}: it inflates to more than {limits.max_ratio} times its compressed size",
            advice="raise [limits] max_ratio if you trust the archive",
        )
