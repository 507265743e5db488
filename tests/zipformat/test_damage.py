"""Archives built at random and then damaged: whatever comes, the right bytes or an error of ours."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable

from built import archives, damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zips import Part, archive, parse, read

from mountfs.errors import BadArchive, LimitExceeded, MemberDamaged, MemberUnsupported
from mountfs.model import Kind, Shape
from mountfs.tree import ROOT, Namespace
from mountfs.zipformat import Directory, ZipLimits, ensure_readable

LIMITS = ZipLimits(max_members=1000, max_directory_size=1 << 20, max_member_size=1 << 20, max_ratio=2000)


def outcome(data: bytes, tail: int) -> tuple[str, Directory | None]:
    try:
        return "", parse(data, LIMITS, tail=tail)
    except (BadArchive, LimitExceeded) as error:
        return error.message, None


def contents(data: bytes, directory: Directory) -> dict[bytes, bytes | None]:
    """Every file's bytes, None where it fails as it should."""
    found: dict[bytes, bytes | None] = {}
    for index, path, _ in directory.names():
        member = directory[index]
        assert member.path == path
        if member.kind is Kind.DIRECTORY:
            continue
        try:
            ensure_readable(member, LIMITS)
            span = directory.span(index)
            assert 0 <= span.start < span.stop <= directory.start
            found[path] = read(data, directory, index)
            assert zlib.crc32(found[path] or b"") == member.crc
        except (MemberDamaged, MemberUnsupported, LimitExceeded):
            found[path] = None
    return found


def walk(namespace: Namespace, directory: int = ROOT) -> int:
    """The number of files below, with every listing looked at."""
    listing = namespace.listing(directory)
    assert list(listing.names) == sorted(set(listing.names))
    return sum(1 if node >= 0 else walk(namespace, node) for node in listing.nodes)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(archives())
def test_sound_archives_read_like_zipfile_reads_them(data: bytes) -> None:
    """Where the standard library takes an archive and a member, the bytes are the same."""
    ours = contents(data, parse(data, LIMITS))
    try:
        reader = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile:
        return  # one bad extra field, and it refuses the whole archive
    with reader:
        infos = reader.infolist()
        for info in infos:
            theirs = expected(reader, info)
            path = info.filename.encode()
            if theirs is not None and path in ours and sum(other.filename == info.filename for other in infos) == 1:
                assert ours[path] == theirs


def expected(reader: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | None:
    try:
        return reader.read(info)
    except (NotImplementedError, zipfile.BadZipFile, RuntimeError, EOFError, zlib.error):
        return None


@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_damaged_archives_fail_by_our_errors_alone(data: bytes) -> None:
    """Parsing, the tree and every member: bytes whose CRC is right, or an error of the tree of errors."""
    _, directory = outcome(data, 262_144)
    if directory is not None:
        contents(data, directory)
        directory.digest()
        namespace = Namespace(directory, Shape(), root_mtime_ns=0)
        assert walk(namespace) == namespace.files


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(damaged(), st.binary(max_size=300)), st.integers(1, 200))
def test_how_it_is_fed_makes_no_difference(data: bytes, tail: int) -> None:
    """Whole, or a small tail and then what is asked for: the same directory or the same error."""
    whole_error, whole = outcome(data, 262_144)
    piece_error, piece = outcome(data, min(tail, max(len(data), 1)))
    assert piece_error == whole_error
    if whole is not None and piece is not None:
        assert piece.digest() == whole.digest()
        assert (piece.start, piece.stop) == (whole.start, whole.stop)


def test_every_byte_of_a_small_archive() -> None:
    """Each byte changed in turn, to each of a few values: never another error, never other bytes."""
    texts = {b"a": b"alpha" * 9, b"d/b": b"beta" * 9}
    sound = archive(Part("a", texts[b"a"], method=8), Part("d/b", texts[b"d/b"]), end64=True, comment=b"x")
    changes: tuple[Callable[[int], int], ...] = (lambda b: b ^ 1, lambda b: b ^ 0x80, lambda _: 0, lambda _: 0xFF)
    for at in range(len(sound)):
        for change in changes:
            data = sound[:at] + bytes([change(sound[at])]) + sound[at + 1 :]
            _, directory = outcome(data, 262_144)
            for path, content in contents(data, directory).items() if directory else ():
                if path in texts and content is not None and zlib.crc32(content) == zlib.crc32(texts[path]):
                    assert content == texts[path]
