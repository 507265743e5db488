"""Member names: from the bytes an archive gives to a path that is safe to show, by zip.md's table of names.

Theory: a name is an attacker's. It is decoded by the rules below, split into components, and each component is
kept, cut or, where it cannot be shown without lying about where it leads, the whole member is hidden. Nothing is
ever resolved. Bytes are identity: no Unicode normalisation, no case folding. A ``MemberPath`` is made here only.

Concurrency: pure functions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mountfs.model import MemberPath
from mountfs.zipformat.crc import crc32
from mountfs.zipformat.records import EXTRA_UNICODE_PATH, FAT_LIKE_HOSTS, FLAG_UTF8, extra_field

MAX_COMPONENT = 255
"""NAME_MAX of Linux, in bytes."""
MAX_DEPTH = 256
"""Components. Deeper trees break clients that recurse."""
MAX_PATH = 4096
"""PATH_MAX of Linux, in bytes."""
MAX_EXTENSION = 32
"""A "." further than this from the end of an overlong component does not start an extension worth keeping."""

HIDDEN_PARENT = "hidden: '..' in the name"
HIDDEN_NAMELESS = "hidden: no name left"
HIDDEN_DEEP = "hidden: too deep or too long a path"
RENAMED_ABSOLUTE = "renamed: leading '/' dropped"
RENAMED_NUL = "renamed: NUL in the name"
RENAMED_LONG = "renamed: component over 255 bytes cut"
RENAMED_BACKSLASH = "renamed: backslashes taken as separators"
RENAMED_CP437 = "renamed: decoded from CP437"


@dataclass(frozen=True, slots=True)
class SafeName:
    """What became of a name. ``path`` is None where the member is hidden; ``remarks`` says what was odd."""

    path: MemberPath | None
    directory: bool
    remarks: tuple[str, ...] = ()


def decode_name(raw: bytes, *, flags: int, host: int, extra: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A name's bytes as they are to be shown, and what was odd. Never fails (APPNOTE 4.4.4 bit 11, appendix D)."""
    if flags & FLAG_UTF8:
        return raw, ()
    if extra and (better := _unicode_path(raw, extra)) is not None:
        return better, ()
    if _is_utf8(raw) or host not in FAT_LIKE_HOSTS:
        return raw, ()
    return raw.decode("cp437").encode(), (RENAMED_CP437,)


def safe_path(name: bytes, *, host: int = 3) -> SafeName:
    """The path under which a member of that (decoded) name is shown. ``host``: APPNOTE 4.4.2's numbers, 3 is Unix."""
    remarks: list[str] = []
    if b"\0" in name:
        name = name.replace(b"\0", b"_")
        remarks.append(RENAMED_NUL)
    if host in FAT_LIKE_HOSTS and b"\\" in name and b"/" not in name:
        name = name.replace(b"\\", b"/")
        remarks.append(RENAMED_BACKSLASH)
    if name.startswith(b"/"):
        remarks.append(RENAMED_ABSOLUTE)
    pieces = name.split(b"/")
    directory = pieces[-1] in (b"", b".")
    components = [piece for piece in pieces if piece and piece != b"."]
    if b".." in components:
        return SafeName(None, directory, (HIDDEN_PARENT,))
    if not components:
        return SafeName(None, directory, (HIDDEN_NAMELESS,))
    if len(components) > MAX_DEPTH:
        return SafeName(None, directory, (HIDDEN_DEEP,))
    if len(name) > MAX_COMPONENT and any(len(component) > MAX_COMPONENT for component in components):
        components = [cut(component) for component in components]
        remarks.append(RENAMED_LONG)
    path = b"/".join(components)
    if len(path) > MAX_PATH:
        return SafeName(None, directory, (HIDDEN_DEEP,))
    return SafeName(MemberPath(path), directory, tuple(remarks))


def cut(component: bytes) -> bytes:
    """A component of at most 255 bytes: cut on a UTF-8 boundary, its extension kept, ``~`` and 8 hex digits of the
    whole component's SHA-256 in between, so that two long names that differ late stay two."""
    if len(component) <= MAX_COMPONENT:
        return component
    stem, extension = split_extension(component)
    mark = b"~" + hashlib.sha256(component).hexdigest()[:8].encode()
    return _cut_utf8(stem, MAX_COMPONENT - len(mark) - len(extension)) + mark + extension


def split_extension(component: bytes) -> tuple[bytes, bytes]:
    """(stem, extension with its dot). A leading dot starts no extension, nor does one too far from the end."""
    stem, dot, tail = component.rpartition(b".")
    if not stem or not dot or len(tail) >= MAX_EXTENSION:
        return component, b""
    return stem, dot + tail


class Numbering:
    """Free names for components that others displaced. ``taken``: what cannot be given any more; grows as names are.

    It remembers how far each name was counted, so that ten thousand files of one name are not counted over again.
    """

    def __init__(self, taken: set[bytes]) -> None:
        self.taken = taken
        self._counted: dict[bytes, int] = {}

    def free(self, component: bytes, *, under: bytes = b"") -> bytes:
        """The first of ``a (1).txt``, ``a (2).txt`` … that is not taken. ``under``: put before both, e.g. ``dir/``."""
        stem, extension = split_extension(component)
        number = self._counted.get(under + component, 0)
        while True:
            number += 1
            name = under + cut(b"%b (%d)%b" % (stem, number, extension))
            if name not in self.taken:
                break
        self._counted[under + component] = number
        self.taken.add(name)
        return name


def printable(path: bytes) -> str:
    """A path for logs and terminals: control characters, undecodable bytes and the backslash itself are escaped."""
    text = path.decode("utf-8", "backslashreplace")
    if text.isprintable():  # nearly always; this is on the way of every open
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _cut_utf8(name: bytes, length: int) -> bytes:
    """At most ``length`` bytes, no character cut in two. A run of continuation bytes longer than 3 is no UTF-8."""
    if len(name) <= length:
        return name
    for back in range(4):
        if name[length - back] & 0xC0 != 0x80:
            return name[: length - back]
    return name[:length]


def _unicode_path(raw: bytes, extra: bytes) -> bytes | None:
    """The name of the Unicode Path field (APPNOTE 4.6.9), if the CRC-32 of ``raw`` proves that it is not stale."""
    body = extra_field(extra, EXTRA_UNICODE_PATH)
    if body is None or body[:1] != b"\x01" or body[1:5] != crc32(raw).to_bytes(4, "little") or not _is_utf8(body[5:]):
        return None
    return body[5:]


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
