"""From an archive's tail to its Directory, without I/O: the parser says which bytes it wants next.

Theory: a zip is read from its end. The end record names the directory; since an archive's comment, a member or
what was appended may hold bytes that look like an end record, every candidate is judged by what it claims, and an
archive with two believable directories that differ is refused, because two programs would see two archives. When
no candidate is there, the first bytes are asked for, to say what came instead. Source: APPNOTE 4.3.13-4.3.16.

Concurrency: one parser for one archive, used by one task or thread at a time. The last ``feed`` may take seconds
(a million members), so it belongs in a worker thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mountfs.errors import BadArchive, LimitExceeded
from mountfs.zipformat.checks import ZipLimits
from mountfs.zipformat.directory import Directory
from mountfs.zipformat.endrecord import (
    DAMAGED,
    MAX_COMMENT,
    Claim,
    Refused,
    encrypted_directory,
    misleads,
    read_claim,
)
from mountfs.zipformat.held import HeldBytes, Missing
from mountfs.zipformat.records import ARCHIVE_EXTRA_SIGNATURE, END_RECORD_SIZE, END_SIGNATURE
from mountfs.zipformat.scan import scan
from mountfs.zipformat.sniff import SNIFF_SIZE, TRUNCATED, what_is_it

MAX_JUNK = 64 << 10
"""Bytes after the end record that are put up with."""
MAX_CANDIDATES = 16
"""End records whose claims are looked at; a crafted tail can hold thousands."""
STRICT_TAIL = END_RECORD_SIZE + MAX_COMMENT
LOOSE_TAIL = STRICT_TAIL + MAX_JUNK


class NeedBytes(NamedTuple):
    """Fetch [start, stop) of the archive and feed it. Some of it may have been fed before."""

    start: int
    stop: int


class DirectoryParser:
    """Finds and parses one archive's directory."""

    def __init__(self, total: int, limits: ZipLimits, *, archive_mtime_ns: int = 0) -> None:
        """``total``: the archive's length in bytes. ``archive_mtime_ns``: for members that have no time."""
        self._total = total
        self._limits = limits
        self._archive_mtime_ns = archive_mtime_ns
        self._held = HeldBytes(total)
        self._sniffing = False

    def feed(self, start: int, data: bytes) -> NeedBytes | Directory:
        """Takes the archive's bytes from ``start``: first its tail (any length, or all of it), then what was asked for.

        Raises BadArchive (its message says what came instead of a zip) or LimitExceeded.
        """
        if self._sniffing:
            raise _not_a_zip(data)
        self._held.put(start, data)
        try:
            return self._find()
        except Missing as missing:
            return NeedBytes(missing.start, missing.stop)

    def _find(self) -> NeedBytes | Directory:
        if self._total == 0:
            raise BadArchive("the archive is an empty file", advice="the service gave no archive; try again later")
        refused: Refused | None = None
        for reach, junk in ((STRICT_TAIL, 0), (LOOSE_TAIL, MAX_JUNK)):
            claims, refused = self._claims(max(self._total - reach, 0), junk)
            if claims:
                return self._agreed(claims)
        if refused is not None:
            raise refused.reason
        if self._held.start > 0:
            self._sniffing = True
            return NeedBytes(0, min(SNIFF_SIZE, self._total))
        raise _not_a_zip(self._held.get(0, SNIFF_SIZE))

    def _claims(self, first: int, junk: int) -> tuple[list[Claim], Refused | None]:
        """The claims that are believed, and the refusal to tell of where none is: a limit of ours before others."""
        claims: list[Claim] = []
        refused: Refused | None = None
        rivals: list[int] = []
        most = self._limits.max_directory_size
        for count, position in enumerate(self._candidates(first, junk)):
            if count >= MAX_CANDIDATES:
                raise _ambiguous()
            try:
                claims.append(read_claim(self._held, position, most))
            except Refused as error:
                rivals += [position] if misleads(self._held, position, most) else []
                if refused is None or not isinstance(refused.reason, LimitExceeded):
                    refused = error
        if junk:  # a zip stored in a zip shows its own end record, inside the data of the outer one
            claims = [claim for claim in claims if not any(claim.position < other.start for other in claims)]
        if any(position >= claim.start for claim in claims for position in rivals):
            raise _ambiguous()
        return [claim for claim in claims if not claim.unsure] or claims, refused

    def _candidates(self, first: int, junk: int) -> Iterator[int]:
        """Positions in the archive, from the last one on, where an end record may lie: with its comment it ends the
        file, or at most ``junk`` bytes before."""
        tail = self._held.get(first, self._total)
        position = len(tail)
        while (position := tail.rfind(END_SIGNATURE, 0, position)) >= 0:
            if position + END_RECORD_SIZE <= len(tail):
                comment_length = int.from_bytes(tail[position + 20 : position + 22], "little")
                if 0 <= len(tail) - (position + END_RECORD_SIZE + comment_length) <= junk:
                    yield first + position

    def _agreed(self, claims: list[Claim]) -> Directory:
        """The one directory that all claims that hold lead to."""
        found: list[Directory] = []
        failure: BadArchive | None = None
        for claim in {(claim.start, claim.stop, claim.base): claim for claim in claims}.values():
            try:
                found.append(self._parse(claim))
            except BadArchive as error:
                failure = error
        if len(found) > 1 and any(map(len, found)):
            raise _ambiguous()
        if failure is not None and not found:
            raise failure
        self._held.clear()
        return found[0]

    def _parse(self, claim: Claim) -> Directory:
        raw = self._held.get(claim.start, claim.stop)
        if raw.startswith(ARCHIVE_EXTRA_SIGNATURE):
            raise encrypted_directory()
        found = scan(raw, base=claim.base, data_end=claim.start, max_members=self._limits.max_members)
        members = len(found.positions)
        if members % claim.modulus != claim.count:
            raise BadArchive(
                f"the archive's end record counts {claim.count} members, its directory has {members}", advice=DAMAGED
            )
        return Directory(raw, found, start=claim.start, base=claim.base, archive_mtime_ns=self._archive_mtime_ns)


def _not_a_zip(head: bytes) -> BadArchive:
    what = what_is_it(head)
    if what == TRUNCATED:
        return BadArchive(f"the archive is {what}: its end record is missing", advice=DAMAGED)
    return BadArchive(
        f"the archive is not a zip but {what}", advice="look at what the service gives for this session's archive"
    )


def _ambiguous() -> BadArchive:
    return BadArchive(
        "the archive is ambiguous: it has several end records that differ",
        advice="programs would disagree on its contents, so mountfs shows none",
    )
