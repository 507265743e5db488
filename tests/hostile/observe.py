"""What is seen of a session, and whether it is what a case says: the same judgement for the file system and a mount.

Concurrency: plain values.
"""

from __future__ import annotations

import errno
import stat
from dataclasses import dataclass, field

from hostile.cases import ARCHIVES, Case, File, Folder, Link

from mountfs.zipformat import printable


@dataclass
class Seen:
    """One name as it is shown. ``data``: what came before the error, if there is one; ``opened``: it came after the
    open."""

    mode: int
    size: int
    mtime_ns: int
    data: bytes = b""
    errno: int = 0
    opened: bool = True


@dataclass
class Observed:
    """All of a session. ``errno``: of entering it; ``log``: its lines."""

    mtime_ns: int = 0
    errno: int = 0
    names: dict[bytes, Seen] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


def judge(case: Case, observed: Observed) -> None:
    """Fails where they differ."""
    if case.refused:
        assert observed.errno == errno.EIO
        assert observed.names == {}
        return
    assert observed.errno == 0
    assert sorted(observed.names) == sorted(case.shows)
    for path, node in case.shows.items():
        seen = observed.names[path]
        match node:
            case Folder():
                assert seen.mode == stat.S_IFDIR | 0o555, path
            case Link():
                assert stat.S_ISLNK(seen.mode), path
                assert seen.data == node.target
                assert seen.size == len(node.target)
            case File():
                assert seen.mode == stat.S_IFREG | (0o555 if node.executable else 0o444), path
                assert seen.size == node.shown_size
                assert seen.errno == node.errno, path
                assert seen.opened or not node.late
                if node.errno:
                    assert len(seen.data) < max(1, seen.size)
                    assert node.data.startswith(seen.data)
                else:
                    assert seen.data == node.data, path
        if not isinstance(node, Link) and node.mtime_ns is not None:
            assert seen.mtime_ns == (observed.mtime_ns if node.mtime_ns == ARCHIVES else node.mtime_ns), path


def judge_log(case: Case, log: list[str]) -> None:
    """One line for an archive that is refused, one for what is odd in it, one for each member that cannot be read."""
    for line in log:
        assert line.isprintable(), line
    if case.refused:
        (line,) = log
        assert case.refused in line
        return
    odd = [line for line in log if "odd members of its archive" in line]
    assert len(odd) == bool(case.remarks)
    for reason, count in case.remarks.items():
        assert f"{count} {reason}" in odd[0]
    for path, node in case.bad.items():
        lines = [line for line in log if f" {printable(path)}: " in line and line not in odd]
        assert len(lines) == 1, (path, log)
        assert node.says == "late" or node.says in lines[0]
    if case.says:
        assert sum(case.says in line for line in log) == sum(isinstance(node, File) for node in case.shows.values())
