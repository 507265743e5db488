"""A member's local header: the only thing believed of it is how long it is (APPNOTE 4.3.7).

Theory: name, sizes, method, flags and CRC stand in the directory, and a local header that says otherwise changes
nothing; writers that stream leave it half empty. But its name and extra field may be longer or shorter than the
directory's, so where the data starts is known from here alone.

Concurrency: a pure function.
"""

from __future__ import annotations

from struct import Struct

from mountfs.errors import MemberDamaged
from mountfs.model import Member
from mountfs.zipformat.names import printable
from mountfs.zipformat.records import LOCAL_HEADER_SIZE

LOCAL_SIGNATURE = 0x04034B50

_LENGTHS = Struct("<I22xHH")


def header_length(local: bytes | memoryview) -> int:
    """The length of the local header ``local`` starts with; 0 where none stands there."""
    if len(local) >= LOCAL_HEADER_SIZE:
        signature, name_length, extra_length = _LENGTHS.unpack_from(local)
        if signature == LOCAL_SIGNATURE:
            return int(LOCAL_HEADER_SIZE + name_length + extra_length)
    return 0


def data_start(local: bytes, member: Member) -> int:
    """How far a member's data lies behind its local header's first byte.

    ``local``: at least the header's 30 bytes. Raises MemberDamaged where no local header stands there.
    """
    if start := header_length(local):
        return start
    raise MemberDamaged(
        f"{printable(member.path)}: there is no local header at offset {member.header_offset}",
        advice="the archive is damaged; `mountfs refresh` fetches it again",
    )
