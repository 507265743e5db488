"""Archives that others made: those of Python's own tests, jars and wheels on this machine, and ``$MOUNTFS_ZIPS``.

A differential test: where zipfile and unzip give a member's bytes, we give the same bytes or an error of ours.
``MOUNTFS_ZIPS`` names folders (``:`` between them) to take more archives from, e.g. libzip's ``regress``.
"""

from __future__ import annotations

import os
import pathlib
import sysconfig
import zipfile
from collections.abc import Iterator

import pytest
from zips import parse, read

from mountfs.errors import ArchiveError, BadArchive
from mountfs.model import Kind, Shape
from mountfs.tree import Namespace
from mountfs.zipformat import Directory, ZipLimits, ensure_readable

SUFFIXES = (".zip", ".jar", ".whl", ".egg", ".docx", ".xlsx", ".epub")
AT_MOST = 60
"""Archives, each of at most 4 MB: the test is to be quick."""


def found() -> Iterator[pathlib.Path]:
    folders = [pathlib.Path(sysconfig.get_paths()["stdlib"]) / "test"]
    folders += [pathlib.Path(folder) for folder in os.environ.get("MOUNTFS_ZIPS", "").split(":") if folder]
    for folder in folders:
        if folder.is_dir():
            yield from sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())


ARCHIVES = [path for path in found() if path.stat().st_size <= 4 << 20]


@pytest.mark.parametrize("path", ARCHIVES if "MOUNTFS_ZIPS" in os.environ else ARCHIVES[:AT_MOST], ids=lambda p: p.name)
def test_others_archives(path: pathlib.Path) -> None:
    """The same members with the same bytes as zipfile, or an error."""
    data = path.read_bytes()
    try:
        directory = parse(data)
    except BadArchive as error:
        print(f"{path.name}: {error}")
        return
    Namespace(directory, Shape(), root_mtime_ns=0)
    ours = {member: content for member, content in contents(data, directory) if content is not None}
    try:
        with zipfile.ZipFile(path) as reader:
            names = [info.filename for info in reader.infolist()]
            for info in reader.infolist():
                shown = info.filename.encode("utf-8", "surrogateescape")
                if shown in ours and names.count(info.filename) == 1:
                    assert ours[shown] == reader.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        print(f"{path.name}: zipfile says {error}")


def contents(data: bytes, directory: Directory) -> Iterator[tuple[bytes, bytes | None]]:
    for index, path, _ in directory.names():
        member = directory[index]
        if member.kind is Kind.DIRECTORY:
            continue
        try:
            ensure_readable(member, ZipLimits())
            yield path, read(data, directory, index)
        except ArchiveError as error:
            print(f"{path!r}: {error}")
            yield path, None
