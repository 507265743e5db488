"""Bytes under HTTP's rules: conditions, ranges and validators over an archive in memory or in a file.

One function answers for the object store and for the services that send a zip themselves; what stores do differently
(providers.md §6) is a field of ``RangeRules``. Files are read a piece at a time with ``pread`` in the loop itself: they
lie in the page cache, and a thread hop costs more than the read.

Concurrency: no state; each body belongs to the task that sends it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Literal

from mountfs.demo.wire import Ask, Reply, plain
from mountfs.model import Span

Content = bytes | Path
"""An archive: its bytes, or the file that holds them."""

PIECE = 256 * 1024
"""Bytes a read: with less the time goes into ASGI messages, with more a client that leaves early is sent too much."""

EPOCH = 1_760_000_000
"""Last-Modified of an archive in memory: any fixed time will do."""


@dataclass(frozen=True, slots=True)
class RangeRules:
    """How a server treats ranges. ``ranges``: False ignores them (200 with everything), "no-suffix" knows only absolute
    ones. The statuses: what a suffix gets where it is not known (200 ignores it), what a suffix longer than the object
    gets, what any range of an empty object gets (206 is MinIO's, with a Content-Range that says nothing)."""

    ranges: bool | Literal["no-suffix"] = True
    etags: Literal["strong", "weak"] | None = "strong"
    suffix_refusal: Literal[200, 400, 416] = 416
    long_suffix: Literal[206, 416] = 206
    empty: Literal[200, 206, 416] = 416
    chunked: bool = False
    last_modified: bool = True


def size_of(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def tag_of(content: Content) -> str:
    """A strong validator's opaque part: hash of the bytes, or of what the file system says of the file."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()[:32]
    facts = content.stat()
    return hashlib.sha256(f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}".encode()).hexdigest()[:32]


def sha256_of(content: Content) -> str:
    digest = hashlib.sha256()
    for piece in pieces(content, Span(0, size_of(content))):
        digest.update(piece)
    return digest.hexdigest()


def pieces(content: Content, span: Span) -> Iterator[bytes]:
    """The bytes of a span, a piece at a time."""
    if isinstance(content, bytes):
        for start in range(span.start, span.stop, PIECE):
            yield content[start : min(start + PIECE, span.stop)]
        return
    descriptor = os.open(content, os.O_RDONLY | os.O_CLOEXEC)
    try:
        position = span.start
        while position < span.stop:
            data = os.pread(descriptor, min(PIECE, span.stop - position), position)
            if not data:
                return
            position += len(data)
            yield data
    finally:
        os.close(descriptor)


def read(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def serve(content: Content, ask: Ask, rules: RangeRules, *, kind: str, etag: str | None = None) -> Reply:
    """What a GET of these bytes gets. ``etag``: instead of the one made from the bytes, quotes and ``W/`` included.

    Conditions in the order of RFC 9110 §13.2.2, ranges as §14.2 has them: one that is malformed or multiple is
    ignored, as S3 does [D].
    """
    size = size_of(content)
    modified = formatdate(EPOCH if isinstance(content, bytes) else content.stat().st_mtime, usegmt=True)
    headers = {"content-type": kind}
    tag = etag or {"strong": '"{}"', "weak": 'W/"{}"', None: ""}[rules.etags].format(tag_of(content))
    if tag:
        headers["etag"] = tag
    if rules.last_modified:
        headers["last-modified"] = modified
    refused = _precondition(ask, tag, modified)
    if refused is not None:
        return plain(refused, headers=headers)
    if rules.ranges:
        headers["accept-ranges"] = "bytes"
    wanted = _range(ask, tag, modified) if rules.ranges else None
    outcome: Span | int = Span(0, size) if wanted is None else _span(wanted, size, rules)
    if isinstance(outcome, int):
        return plain(outcome, headers={"content-range": f"bytes */{size}"} if outcome == 416 else None)
    if wanted is None or (outcome == Span(0, size) and _ignored(wanted, size, rules)):
        whole = Reply(200, headers | {"content-length": str(size)}, pieces(content, Span(0, size)))
        if rules.chunked:
            del whole.headers["content-length"]
        return whole
    # An empty object's range cannot be written down: MinIO answers "bytes 0--1/0" [T].
    place = f"bytes {outcome.start}-{outcome.stop - 1}/{size}"
    length = {"content-range": place, "content-length": str(outcome.size)}
    return Reply(206, headers | length, pieces(content, outcome))


def _precondition(ask: Ask, tag: str, modified: str) -> int | None:
    """412, 304, or None to go on."""
    if "if-match" in ask.headers:
        asked = ask.headers["if-match"]
        if asked != "*" and (tag.startswith("W/") or tag not in _tags(asked)):  # strong comparison only
            return 412
    if "if-none-match" in ask.headers:
        bare = {each.removeprefix("W/") for each in _tags(ask.headers["if-none-match"])}
        return 304 if tag and ("*" in bare or tag.removeprefix("W/") in bare) else None
    if ask.headers.get("if-modified-since") == modified:
        return 304
    return None


def _tags(header: str) -> list[str]:
    return [each.strip() for each in header.split(",")]


def _range(ask: Ask, tag: str, modified: str) -> tuple[int | None, int | None] | None:
    """(first, last), (first, None), (None, suffix length); None: there is no range to honour."""
    condition = ask.headers.get("if-range")
    if condition is not None and (condition != tag or tag.startswith("W/")) and condition != modified:
        return None
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", ask.headers.get("range", ""))
    if found is None or not (found[1] or found[2]):
        return None
    first, last = (int(each) if each else None for each in found.groups())
    return None if first is not None and last is not None and last < first else (first, last)


def _span(wanted: tuple[int | None, int | None], size: int, rules: RangeRules) -> Span | int:
    """What a well-formed range selects, or the status that refuses it."""
    first, last = wanted
    if size == 0:
        return 416 if rules.empty == 416 else Span(0, 0)
    if first is not None:
        return 416 if first >= size else Span(first, size if last is None else min(last + 1, size))
    suffix = last or 0
    if rules.ranges == "no-suffix":
        return Span(0, size) if rules.suffix_refusal == 200 else rules.suffix_refusal
    if suffix == 0 or (suffix > size and rules.long_suffix == 416):
        return 416
    return Span(max(0, size - suffix), size)


def _ignored(wanted: tuple[int | None, int | None], size: int, rules: RangeRules) -> bool:
    """Whether the whole object is sent because the range was not heeded, rather than because it asked for all."""
    if size == 0:
        return rules.empty == 200
    return wanted[0] is None and rules.ranges == "no-suffix"
