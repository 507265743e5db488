"""What came instead of a zip: a message that says so (zip.md, last row of "Structure").

Concurrency: a pure function.
"""

from __future__ import annotations

SNIFF_SIZE = 512
"""Bytes of a body's front that tell what it is."""
TRUNCATED = "a truncated zip"

TEXT_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"<", "an HTML or XML page"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)
PREFIXES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", TRUNCATED),
    (0, b"PK\x07\x08", "one part of a split zip"),
    (0, b"\x1f\x8b", "gzip"),
    (257, b"ustar", "tar"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (0, b"Rar!", "RAR"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x89PNG", "a PNG"),
    (0, b"\x7fELF", "a program"),
)


def what_is_it(head: bytes) -> str:
    """Names a body that is not a zip by its first ``SNIFF_SIZE`` bytes; "unknown data" where nothing fits."""
    for offset, magic, name in PREFIXES:
        if head[offset : offset + len(magic)] == magic:
            return name
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, name in TEXT_PREFIXES:
        if text.startswith(magic):
            return name
    return "unknown data"
