"""What one end record claims about its archive, with zip64 applied (APPNOTE 4.3.14-4.3.16).

Theory: the end record says how long the directory is and where it starts, counted from wherever the writer began;
what was put in front of the archive shifts every offset. So the directory is looked for right before its end
record, by its length, and the difference to the claimed offset is the *base* added to every member's offset. A
signature after the directory lies between the two; then the claimed offset itself is right.

Concurrency: pure functions. ``Refused`` is a signal to ``parser.py`` and never leaves the package.
"""

from __future__ import annotations

from dataclasses import dataclass

from mountfs.errors import BadArchive, LimitExceeded, MountfsError
from mountfs.zipformat.held import HeldBytes
from mountfs.zipformat.records import (
    ARCHIVE_EXTRA_SIGNATURE,
    CENTRAL_SIGNATURE,
    END_RECORD_SIZE,
    SENTINEL_16,
    SENTINEL_32,
    ZIP64_END_SIGNATURE,
    ZIP64_END_SIZE,
    ZIP64_LOCATOR_SIGNATURE,
    ZIP64_LOCATOR_SIZE,
    EndRecord,
    Zip64End,
    Zip64Locator,
)

MAX_COMMENT = 0xFFFF
MAX_GAP = 128 << 10
"""Bytes that may lie between directory and end record (a digital signature, a zip64 record's extensible data)."""
ENCRYPTED_VERSION = 62
"""Version needed to extract of archives whose directory is encrypted (APPNOTE 4.4.3.2)."""

DIRECTORY_STARTS = (CENTRAL_SIGNATURE.to_bytes(4, "little"), ARCHIVE_EXTRA_SIGNATURE)
DAMAGED = "the archive is damaged or truncated; `mountfs refresh` fetches it again"


class Refused(Exception):
    """A claim that is not believed."""

    def __init__(self, reason: MountfsError) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claim:
    """A believable end record at ``position``: its directory is [start, stop) of the archive, ``base`` is added to
    header offsets, and its members are ``count`` modulo ``modulus``. ``unsure``: it claims no members although
    something stands before it, so that nothing but itself speaks for it."""

    position: int
    start: int
    stop: int
    base: int
    count: int
    modulus: int
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class _Facts:
    """The end record's values with sentinels replaced. ``end``: where the directory must have ended."""

    end: int
    size: int
    offset: int
    count: int
    modulus: int


def read_claim(held: HeldBytes, position: int, max_directory_size: int) -> Claim:
    """Judges the end record at ``position`` of the archive. Raises Missing or Refused."""
    facts = _facts(held, position)
    shift = facts.end - facts.size - facts.offset
    if shift < 0:
        raise Refused(
            BadArchive(
                f"the archive's directory ({facts.size} bytes at {facts.offset}) does not fit before its end",
                advice=DAMAGED,
            )
        )
    if facts.size > max_directory_size:
        raise Refused(
            LimitExceeded(
                f"the archive's directory of {facts.size} bytes is larger than {max_directory_size}",
                advice="raise [limits] max_directory_size; mountfs keeps a directory in memory",
            )
        )
    if facts.size == 0:
        return Claim(position, facts.end, facts.end, 0, facts.count, facts.modulus, unsure=shift > 0)
    for base in (shift, 0):
        start = facts.offset + base
        if facts.end - (start + facts.size) > MAX_GAP:
            continue
        if held.get(start, start + 4, whole=start + facts.size) in DIRECTORY_STARTS:
            return Claim(position, start, start + facts.size, base, facts.count, facts.modulus)
    raise Refused(BadArchive("the archive has no directory where its end record says", advice=DAMAGED))


def misleads(held: HeldBytes, position: int, max_directory_size: int) -> bool:
    """Whether the end record at ``position``, which was refused, still has a directory where it says: programs that do
    not look at what it was refused for (zipfile and unzip believe any count) show that. Raises Missing."""
    record = EndRecord.at(held.get(position, position + END_RECORD_SIZE), 0)
    if not 0 < record.size <= max_directory_size:
        return False
    return any(
        0 <= start <= position - record.size <= start + MAX_GAP
        and held.get(start, start + 4, whole=start + record.size) in DIRECTORY_STARTS
        for start in (position - record.size, record.offset)
    )


def _facts(held: HeldBytes, position: int) -> _Facts:
    record = EndRecord.at(held.get(position, position + END_RECORD_SIZE), 0)
    numbers = (record.disk, record.directory_disk, record.count_here, record.members)
    wide = _zip64(held, position)
    if wide is None:
        if any(numbers[:2]) or record.count_here != record.members:
            raise _split()
        return _Facts(position, record.size, record.offset, record.members, 1 << 16)
    end, more = wide
    if more.version_needed >= ENCRYPTED_VERSION and more.record_size > ZIP64_END_SIZE - 12:
        raise Refused(encrypted_directory())
    disk, directory_disk, count_here, count = (
        there if here == SENTINEL_16 else here
        for here, there in zip(numbers, (more.disk, more.directory_disk, more.count_here, more.members), strict=True)
    )
    if disk or directory_disk or count_here != count:
        raise _split()
    return _Facts(
        end,
        more.size if record.size == SENTINEL_32 else record.size,
        more.offset if record.offset == SENTINEL_32 else record.offset,
        count,
        1 << (64 if record.members == SENTINEL_16 else 16),
    )


def _zip64(held: HeldBytes, position: int) -> tuple[int, Zip64End] | None:
    """(position, zip64 end record) that belongs to the end record at ``position``, None where there is none.

    It is found by its own length, which must reach exactly to its locator: so prefixes do not matter.
    """
    locator = position - ZIP64_LOCATOR_SIZE
    if locator < ZIP64_END_SIZE:
        return None
    located = held.get(locator, position)
    if not located.startswith(ZIP64_LOCATOR_SIGNATURE):
        return None
    if Zip64Locator.at(located, 0).disks > 1:
        raise _split()
    for reach in (ZIP64_END_SIZE, MAX_GAP):
        first = max(locator - reach, 0)
        window = held.get(first, locator)
        there = len(window)
        while (there := window.rfind(ZIP64_END_SIGNATURE, 0, there)) >= 0:
            if len(window) - there >= ZIP64_END_SIZE:
                found = Zip64End.at(window, there)
                if there + 12 + found.record_size == len(window):
                    return first + there, found
    raise Refused(BadArchive("the archive's zip64 end record is missing", advice=DAMAGED))


def encrypted_directory() -> BadArchive:
    """The error for an archive whose very list of members is encrypted."""
    return BadArchive(
        "the archive's directory is masked or encrypted", advice="mountfs cannot read it; use another program"
    )


def _split() -> Refused:
    return Refused(
        BadArchive("the archive is one part of a split zip", advice="mountfs reads archives in one piece only")
    )
