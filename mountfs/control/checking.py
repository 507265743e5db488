"""Whether what the cache holds is what was fetched: ``mountfs cache verify``.

A zip's directory is compared with the digest that was kept of it, every member whose bytes are here is inflated and
its CRC-32 checked, and so is every member kept inflated; a file that came on its own is checked by its SHA-256. What
is only partly here cannot be checked yet and is counted as such.

A damaged member is forgotten, to be fetched again, where ranges can bring it; else the snapshot cannot be mended.

Concurrency: blocking, one snapshot at a time; a running mount may use the same snapshot meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from mountfs.config import Limits
from mountfs.errors import ArchiveError, CacheDamaged, CacheError, MemberUnsupported, MountfsError
from mountfs.files import FileTable
from mountfs.model import Kind, Member, Span
from mountfs.store import MemberFile
from mountfs.store import Snapshot as Kept
from mountfs.zipformat import (
    LOCAL_HEADER_SIZE,
    Directory,
    DirectoryParser,
    Inflater,
    NeedBytes,
    ZipLimits,
    crc32,
    data_start,
    ensure_readable,
    printable,
)

STEP = 1 << 20
TAIL = 256 << 10
LOCAL_HEADER_MOST = LOCAL_HEADER_SIZE + 2 * 0xFFFF

Tell = Callable[[int], None]
"""Told of every piece: so many bytes were checked."""


@dataclass(slots=True)
class Checked:
    """What was found in one snapshot. ``members``: how many were checked; ``bytes``: how many bytes of the cache that
    took; ``partial``: how many are not wholly here; ``damaged``: what was wrong, in words."""

    session: str
    members: int = 0
    bytes: int = 0
    partial: int = 0
    damaged: list[str] = field(default_factory=list)
    mended: bool = False
    """Whether what was damaged is forgotten, so that the rest can stay."""

    @property
    def sound(self) -> bool:
        """Whether the snapshot can stay."""
        return not self.damaged or self.mended


def check(kept: Kept, limits: Limits, tell: Tell = lambda _: None) -> Checked:
    """Checks all that is here of one snapshot."""
    found = Checked(kept.session_id)
    form = kept.facts.get("form")
    try:
        if form == "files":
            _check_files(kept, found, tell)
        elif form == "zip" and kept.length is not None:
            _Zip(kept, limits, found, tell).check()
    except _NotHere:
        found.partial += 1
    except (ArchiveError, CacheError, KeyError, TypeError, ValueError) as exc:
        found.damaged.append(exc.message if isinstance(exc, MountfsError) else "its description is damaged")
        found.mended = False
    return found


class _Zip:
    """A zip, its members in the order of their bytes."""

    def __init__(self, kept: Kept, limits: Limits, found: Checked, tell: Tell) -> None:
        assert kept.length is not None
        self._kept = kept
        self._length = kept.length
        self._limits = ZipLimits(
            max_members=limits.max_members,
            max_directory_size=limits.max_directory_size,
            max_member_size=limits.max_member_size,
            max_ratio=limits.max_ratio,
        )
        self._found = found
        self._tell = tell

    def check(self) -> None:
        directory = self._directory()
        if directory.checksum().hex() != self._kept.facts["digest"]:
            raise CacheDamaged("the directory is not the one that was kept")
        bad: list[Span] = []
        for index in directory.members_between(0, directory.start):
            try:
                member = directory[index]
            except KeyError:  # a hidden one
                continue
            if member.kind is Kind.DIRECTORY:
                continue
            self._check_inflated(index, member)
            span = directory.span(index)
            if not self._is_sound(index, member, span):
                bad.append(span)
        self._settle(bad)

    def _directory(self) -> Directory:
        parser = DirectoryParser(self._length, self._limits)
        start, stop = max(0, self._length - TAIL), self._length
        # Of the tail, what is here without a gap; the parser asks for more of it if it needs more.
        start = max([start, *(gap.stop for gap in self._kept.missing(Span(start, stop)))])
        while True:
            if start >= stop or self._kept.missing(Span(start, stop)):
                raise _NotHere
            answer = parser.feed(start, self._kept.read(start, stop - start))
            if not isinstance(answer, NeedBytes):
                return answer
            start, stop = answer.start, answer.stop

    def _check_inflated(self, index: int, member: Member) -> None:
        file = self._kept.member(index)
        if file is None:
            return
        with file:
            crc = 0
            for at in range(0, file.size, STEP):
                crc = crc32(file.read(at, min(STEP, file.size - at)), crc)
                self._tell(min(STEP, file.size - at))
            self._found.bytes += file.size
            wrong = file.size != member.size or crc != member.crc
        if wrong:
            self._found.damaged.append(f"{printable(member.path)}: what was kept inflated is damaged")
            self._kept.drop_member(index)

    def _is_sound(self, index: int, member: Member, span: Span) -> bool:
        """False if the member's bytes are here and wrong."""
        if self._kept.missing(span):
            self._found.partial += 1
            return True
        try:
            ensure_readable(member, self._limits)
        except ArchiveError:  # nobody reads it: encrypted, over a limit, at fault in the archive itself
            return True
        try:
            self._inflate(member, span)
        except MemberUnsupported:
            return True
        except _NotHere:
            self._found.partial += 1
            return True
        except ArchiveError as exc:
            self._found.damaged.append(exc.message)
            return False
        self._found.members += 1
        with contextlib.suppress(CacheError):
            self._kept.mark_verified(index)
        return True

    def _inflate(self, member: Member, span: Span) -> None:
        head = self._kept.read(span.start, min(span.size, LOCAL_HEADER_MOST))
        start = span.start + data_start(head, member)
        data = Span(start, start + member.compressed_size)
        if data.stop > self._length or self._kept.missing(data):
            raise _NotHere
        inflater = Inflater(member)
        for at in range(data.start, data.stop, STEP):
            for _ in inflater.feed(self._kept.read(at, min(STEP, data.stop - at))):
                pass
            self._tell(min(STEP, data.stop - at))
        inflater.finish()
        self._found.bytes += data.size

    def _settle(self, bad: list[Span]) -> None:
        """Forgets what was wrong, if it can be fetched again; believes a suspect snapshot that is wholly right."""
        if bad and not self._kept.facts.get("whole"):
            for span in bad:
                self._kept.forget(span)
            self._found.mended = True
        elif not bad:
            self._found.mended = True  # at most an inflated copy was dropped
            if not self._kept.trusted and self._kept.complete:
                with contextlib.suppress(CacheError):
                    self._kept.trust()


class _NotHere(Exception):
    """Bytes that are needed to judge have to be fetched first."""


def _check_files(kept: Kept, found: Checked, tell: Tell) -> None:
    """Files of their own: each is kept like an inflated member."""
    table = FileTable.load(kept.facts["files"])
    found.mended = True
    for index, remote in enumerate(table.files):
        file = kept.member(index)
        if file is None:
            found.partial += 1
            continue
        with file:
            digest = _sha256(file, tell)
            found.bytes += file.size
            wrong = file.size != remote.size or (remote.sha256 and digest != remote.sha256)
        if wrong:
            found.damaged.append(f"{printable(table[index].path)}: its SHA-256 is not the listed one")
            kept.drop_member(index)
        else:
            found.members += 1


def _sha256(file: MemberFile, tell: Tell) -> str:
    digest = hashlib.sha256()
    for at in range(0, file.size, STEP):
        size = min(STEP, file.size - at)
        digest.update(file.read(at, size))
        tell(size)
    return digest.hexdigest()
