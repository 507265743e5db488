"""What ``zipfile`` and Info-ZIP ``unzip`` make of an archive, beside what we make of it: member by member, by the
position in the central directory, so that no rule of names is in the way.

    compared = compare(data)            # bytes of an archive
    compared.wrong                      # members of which we give bytes that a peer gives otherwise: must be empty
    python tests/peers.py FOLDER...     # prints the figures for every archive below

The rule: where we give a member's bytes, no peer that gives bytes gives others; where both peers agree on a member,
we give the same bytes or an error of ours.

Concurrency: pure functions, and a process of unzip at a time.
"""

from __future__ import annotations

import collections
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from zips import parse, read

from mountfs.errors import ArchiveError
from mountfs.model import Kind
from mountfs.zipformat import Directory, ZipLimits, ensure_readable

UNZIP = shutil.which("unzip")
LARGEST = 64 << 20
"""Members, and outputs of unzip, beyond this are left out: others ship bombs, too."""
WELL = (0, 1)
"""Statuses of unzip that stand behind what it wrote; 1 is a warning of the archive, or a member that it left out."""
ABOUT_THE_ARCHIVE = (b"warning [", b"  (")
SUFFIXES = (".zip", ".jar", ".whl", ".egg", ".docx", ".xlsx", ".epub", ".zipx", ".cbz", ".apk")


@dataclass
class Outcome:
    """A member's bytes from all three; None where one gave none. ``error``: ours."""

    name: str
    ours: bytes | None = None
    error: str = ""
    zipfile: bytes | None = None
    unzip: bytes | None = None

    @property
    def peers(self) -> list[bytes]:
        return [data for data in (self.zipfile, self.unzip) if data is not None]

    @property
    def wrong(self) -> bool:
        return self.ours is not None and any(data != self.ours for data in self.peers)

    @property
    def word(self) -> str:
        """What it counts as."""
        if self.wrong:
            return "DIFFERENT"
        if len(self.peers) == 2 and self.peers[0] != self.peers[1]:
            return "the peers differ, we give an error"
        if self.ours is None:
            return f"our error, {('no peer', 'one peer', 'both peers')[len(self.peers)]} reads it"
        return f"our bytes, {('no peer', 'one peer', 'both peers')[len(self.peers)]} to compare with"


@dataclass
class Compared:
    """``refused``: our error for the whole archive. ``members``: those that are comparable."""

    refused: str = ""
    zipfile_refused: str = ""
    members: list[Outcome] = field(default_factory=list)

    @property
    def wrong(self) -> list[Outcome]:
        return [member for member in self.members if member.wrong]


def compare(data: bytes, *, limits: ZipLimits | None = None) -> Compared:
    """All three over one archive."""
    found = Compared()
    try:
        directory = parse(data, limits)
    except ArchiveError as error:
        found.refused = error.message
        return found
    ours = dict(_ours(data, directory))
    found.members = list(ours.values())
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as reader:
            infos = reader.infolist()
            for index, info in enumerate(infos):
                outcome = ours.get(index)
                if outcome is not None and info.header_offset == directory[index].header_offset:
                    outcome.zipfile = _from_zipfile(reader, info)
    except Exception as error:  # noqa: BLE001  zipfile raises anything for a damaged archive
        found.zipfile_refused = f"{type(error).__name__}: {error}"
        return found
    if UNZIP is not None:
        _unzip(data, infos, ours)
    return found


def _ours(data: bytes, directory: Directory) -> Iterator[tuple[int, Outcome]]:
    for index, path, is_directory in directory.names():
        member = directory[index]
        if is_directory or member.size > LARGEST:
            continue
        outcome = Outcome(path.decode("utf-8", "backslashreplace"))
        try:
            ensure_readable(member, ZipLimits())
            outcome.ours = read(data, directory, index)
        except ArchiveError as error:
            outcome.error = error.message
        assert member.kind is not Kind.DIRECTORY
        yield index, outcome


def _from_zipfile(reader: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | None:
    try:
        return reader.read(info)
    except Exception:  # noqa: BLE001  as above: all that matters is that it gave no bytes
        return None


# -- unzip ---------------------------------------------------------------------------------------------------------


def _unzip(data: bytes, infos: Sequence[zipfile.ZipInfo], ours: dict[int, Outcome]) -> None:
    """Fills in what unzip gives. All at once, in directory order, where that is what zipfile gives too; else one
    process a member, if its name can be asked for and stands once."""
    with tempfile.TemporaryDirectory(prefix="unzip-") as place:
        path = pathlib.Path(place) / "a.zip"
        path.write_bytes(data)
        files = [index for index, info in enumerate(infos) if not info.filename.endswith("/")]
        known = [outcome.zipfile for index in files if (outcome := ours.get(index)) is not None]
        if len(known) == len(files) and None not in known and sum(map(len, filter(None, known))) <= LARGEST:
            status, output = _run(path)
            if status in WELL and output == b"".join(filter(None, known)):
                for index in files:
                    ours[index].unzip = ours[index].zipfile
                return
        names = collections.Counter(info.orig_filename for info in infos)
        for index, outcome in ours.items():
            name = infos[index].orig_filename if index < len(infos) else ""
            if names[name] == 1 and name.isascii() and name.isprintable() and not name.endswith("/"):
                status, output = _run(path, name)
                outcome.unzip = output if status in WELL else None


def _run(archive: pathlib.Path, *names: str) -> tuple[int, bytes]:
    """(status, what ``unzip -p`` writes). Names are patterns to it."""
    patterns = ["".join(f"\\{c}" if c in "\\[]*?" else c for c in name) for name in names]
    patterns = [f"[-]{pattern[1:]}" if pattern.startswith("-") else pattern for pattern in patterns]
    assert UNZIP is not None
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [UNZIP, "-p", "-P", "", str(archive), *patterns],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        ) as process,
    ):
        assert process.stdout is not None
        output = process.stdout.read(LARGEST + 1)
        if len(output) > LARGEST:
            process.kill()
        status = process.wait()
        errors.seek(0)
        left_out = not all(line.startswith(ABOUT_THE_ARCHIVE) for line in errors.read().splitlines() if line)
        return max(status, 2 * left_out), output


# -- figures -------------------------------------------------------------------------------------------------------


def archives(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """The archives below a folder, by their names."""
    yield from sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def main(*folders: str) -> None:
    counts = collections.Counter[str]()
    odd: list[str] = []
    for folder in folders:
        for path in archives(pathlib.Path(folder)):
            compared = compare(path.read_bytes())
            counts["archives"] += 1
            counts["members"] += len(compared.members)
            counts["archives we refuse"] += bool(compared.refused)
            counts["archives zipfile refuses and we read"] += bool(compared.zipfile_refused)
            if compared.refused:
                odd.append(f"{path}: {compared.refused}")
            for member in compared.members:
                counts[member.word] += 1
                if member.error or member.wrong:
                    odd.append(f"{path}: {member.word}: {member.error or member.name}")
    for word, count in counts.items():
        print(f"{count:8,} {word}")
    print(*odd, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
