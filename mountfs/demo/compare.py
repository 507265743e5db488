"""Whether a mounted session is its archive: what Python's zipfile says of the archive, beside what find says of the
mount and what cp brought out of it.

Nothing here is shared with mountfs' own ZIP code, so a mistake in that shows. The rules for modes, times and links are
those of the contract (zip.md): files 0444 or 0555, directories 0555, DOS times as UTC.

Concurrency: blocking; touches only the archive and the copy.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Self

FIND = ("-mindepth", "1", "-printf", r"%y\0%m\0%s\0%T@\0%l\0%P\0")
"""find's arguments for ``parse_found``: type, mode, size, time, target, path."""
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """What stat shows of one name. ``kind``: find's letter, f, d or l. ``size``: 0 for a directory, whose size means
    nothing. ``mtime``: seconds since 1970."""

    kind: str
    mode: int
    size: int
    mtime: float
    link: str = ""


class Archive:
    """A sample's archive as zipfile reads it. ``root``: the directory all members lie under, which the mount drops."""

    def __init__(self, content: bytes | Path, root: str = "") -> None:
        self._zip = zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content)
        self._members = {info.filename.removeprefix(root).rstrip("/"): info for info in self._zip.infolist()}
        self._members.pop("", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def read(self, path: str) -> bytes:
        return self._zip.read(self._members[path])

    def open(self, path: str) -> IO[bytes]:
        return self._zip.open(self._members[path])

    def facts(self) -> dict[str, Facts]:
        """Every name there should be, directories that no member stands for among them: those are as new as the
        newest thing in them."""
        facts = {path: self._facts(info) for path, info in self._members.items()}
        implied: dict[str, float] = {}
        for path, each in facts.items():
            for parent in _parents(path):
                if parent not in facts:
                    implied[parent] = max(each.mtime, implied.get(parent, 0.0))
        return facts | {path: Facts("d", 0o555, 0, mtime) for path, mtime in implied.items()}

    def _facts(self, info: zipfile.ZipInfo) -> Facts:
        mode, mtime = info.external_attr >> 16, datetime(*info.date_time, tzinfo=UTC).timestamp()
        if info.is_dir():
            return Facts("d", 0o555, 0, mtime)
        if stat.S_ISLNK(mode):
            return Facts("l", 0o777, info.file_size, mtime, self._zip.read(info).decode())
        return Facts("f", 0o555 if mode & 0o111 else 0o444, info.file_size, mtime)


def parse_found(output: bytes) -> dict[str, Facts]:
    """What ``find DIR`` printed with the arguments of FIND."""
    words = [os.fsdecode(word) for word in output.split(b"\0")]
    facts = {}
    for kind, mode, size, mtime, link, path in zip(*[iter(words)] * 6, strict=False):
        facts[path] = Facts(kind, int(mode, 8), 0 if kind == "d" else int(size), float(mtime), link)
    return facts


def differences(archive: Archive, found: dict[str, Facts], copy: str) -> Iterator[str]:
    """A sentence for each name that is not as in the archive: in ``found``, or in ``copy``, a directory copied from
    the mount."""
    wanted = archive.facts()
    for path in sorted(wanted.keys() | found.keys()):
        if path not in found:
            yield f"{path}: is missing"
        elif path not in wanted:
            yield f"{path}: is not in the archive"
        elif found[path] != wanted[path]:
            yield f"{path}: is {found[path]}, should be {wanted[path]}"
        else:
            yield from _copied(archive, path, wanted[path], os.path.join(copy, path))


def _copied(archive: Archive, path: str, facts: Facts, place: str) -> Iterator[str]:
    """Whether the copy of one name is right."""
    if facts.kind == "d":
        if not os.path.isdir(place):
            yield f"{path}: was not copied as a directory"
    elif facts.kind == "l":
        if not os.path.islink(place) or os.readlink(place) != facts.link:
            yield f"{path}: was not copied as a link to {facts.link}"
    elif not os.path.isfile(place):
        yield f"{path}: was not copied"
    else:
        with archive.open(path) as wanted, open(place, "rb") as got:
            offset = first_difference(wanted, got)
        if offset is not None:
            yield f"{path}: its bytes differ at offset {offset:,}"


def first_difference(one: IO[bytes], other: IO[bytes]) -> int | None:
    """Where two files part, None if they do not; one being longer counts."""
    offset = 0
    while True:
        left, right = one.read(PIECE), other.read(PIECE)
        if left != right:
            same = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
            return offset + (min(len(left), len(right)) if same is None else same)
        if not left:
            return None
        offset += len(left)


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
