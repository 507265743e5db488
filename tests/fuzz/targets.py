"""What is fuzzed: the directory parser with the tree on top, and the member reader. Run by ``__main__`` under atheris.

A target takes any bytes and must come back: no exception but ours, right bytes or an error, no more output than
declared. atheris finds bytes that reach new lines of ``mountfs.zipformat`` and ``mountfs.tree``.

Concurrency: pure functions.
"""

from __future__ import annotations

import io
import zipfile
import zlib

from zips import parse, read

from mountfs.errors import BadArchive, LimitExceeded, MemberDamaged, MemberUnsupported
from mountfs.model import Kind, Member, MemberPath, Shape
from mountfs.tree import ROOT, Namespace
from mountfs.zipformat import DECODERS, Directory, Inflater, ZipLimits, ensure_readable

LIMITS = ZipLimits(max_members=2000, max_directory_size=1 << 20, max_member_size=1 << 20, max_ratio=2000)
METHODS = sorted(DECODERS)


def directory(data: bytes) -> None:
    """The first byte says how much of the tail comes first; the rest is the archive."""
    tail, body = data[0] + 1 if data else 1, data[1:]
    try:
        whole = parse(body, LIMITS)
    except (BadArchive, LimitExceeded):
        whole = None
    try:
        pieces = parse(body, LIMITS, tail=min(tail, max(len(body), 1)))
    except (BadArchive, LimitExceeded):
        pieces = None
    assert (whole is None) == (pieces is None)
    if whole is None or pieces is None:
        return
    assert whole.digest() == pieces.digest()
    ours = _members(body, whole)
    _tree(whole)
    _compare(body, ours)


def member(data: bytes) -> None:
    """A byte for the method, two for the declared size, one for how it is fed and whether a checkpoint is taken on the
    way; the rest is compressed data. Going on from the checkpoint comes to the same."""
    if len(data) < 4:
        return
    method = METHODS[data[0] % len(METHODS)]
    size = int.from_bytes(data[1:3], "little") << (data[0] >> 6)
    declared = Member(path=MemberPath(b"m"), kind=Kind.FILE, size=size, mtime_ns=0, method=method)
    step, packed, kept = (data[3] >> 1) + 1, data[4:], None
    inflater = Inflater(declared, copyable=bool(data[3] & 1))
    made = bytearray()
    try:
        for position in range(0, len(packed), step):
            for part in inflater.feed(packed[position : position + step]):
                assert 0 < len(part) <= 1 << 20
                made += part
                if data[3] & 1 and kept is None and len(made) >= size // 2:
                    kept = inflater.copy()
        assert len(made) == inflater.produced <= size
    except MemberDamaged as error:
        ended = error.message
    else:
        ended = _ending(inflater, made)
    if kept is not None:
        again, failed = made[: kept.produced], False
        try:
            for pieces in (kept.drain(), kept.feed(packed[kept.consumed :])):
                for part in pieces:
                    again += part
            failed = bool(_ending(kept, again))
        except MemberDamaged:
            failed = True
        assert failed == bool(ended)
        # Fed in other pieces, a decoder meets broken data some bytes earlier or later.
        assert again == made if not ended else made.startswith(again) or again.startswith(made)


def _ending(inflater: Inflater, made: bytearray) -> str:
    """What ``finish`` says."""
    try:
        inflater.finish()
    except MemberDamaged as error:
        return error.message
    assert (len(made), zlib.crc32(made)) == (inflater.member.size, inflater.member.crc)
    return ""


def _members(data: bytes, found: Directory) -> dict[str, bytes]:
    """The bytes of every file that can be read."""
    contents: dict[str, bytes] = {}
    for index, path, _ in found.names():
        one = found[index]
        assert one.path == path
        if one.kind is Kind.DIRECTORY:
            continue
        try:
            ensure_readable(one, LIMITS)
            content = read(data, found, index)
        except (MemberDamaged, MemberUnsupported, LimitExceeded):
            continue
        assert (len(content), zlib.crc32(content)) == (one.size, one.crc)
        contents[path.decode("utf-8", "surrogateescape")] = content
    return contents


def _tree(found: Directory) -> None:
    namespace = Namespace(found, Shape(strip=b"workspace", clean_suffix=True), root_mtime_ns=0)
    level = [ROOT]
    while level:
        listing = namespace.listing(level.pop())
        assert list(listing.names) == sorted(set(listing.names))
        level += [node for node in listing.nodes if node < 0]


def _compare(data: bytes, ours: dict[str, bytes]) -> None:
    """Where zipfile gives a member's bytes under a name that stands once, ours are the same."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as reader:
            names = [info.filename for info in reader.infolist()]
            for info in reader.infolist():
                if names.count(info.filename) > 1 or info.filename not in ours or info.file_size > 1 << 20:
                    continue
                assert reader.read(info) == ours[info.filename]
    except AssertionError:
        raise
    except Exception:  # noqa: BLE001  zipfile raises anything; only its bytes are of interest
        return


TARGETS = {"directory": directory, "member": member}
