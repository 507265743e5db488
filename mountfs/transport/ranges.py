"""Byte ranges (RFC 9110 §14), pure: how a want is asked for, and whether a 206 may count.

A 206 counts only with a well-formed ``Content-Range`` that covers what was asked (providers.md §0.2).
Concurrency: pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mountfs.errors import BadAnswer
from mountfs.model import Span, Validator
from mountfs.transport.messages import Suffix, Want

LONGEST_VALIDATOR = 512
"""Characters. Stores use some 40; what is longer is not kept for every snapshot."""

_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.IGNORECASE | re.ASCII)
_UNSATISFIED = re.compile(r"bytes\s+\*/(\d{1,19})", re.IGNORECASE | re.ASCII)


def range_header(want: Want) -> str:
    """The value of ``Range``: one range a request, since S3 answers several with everything (providers.md §6)."""
    if isinstance(want, Suffix):
        return f"bytes=-{want.size}"
    return f"bytes={want.start}-{want.stop - 1}"


def unsatisfied_total(headers: Mapping[str, str]) -> int | None:
    """The length a 416 tells (``Content-Range: bytes */N``), None where it tells none."""
    match = _UNSATISFIED.fullmatch(headers.get("content-range", "").strip())
    return int(match[1]) if match else None


def content_length(headers: Mapping[str, str]) -> int | None:
    """``Content-Length``, None where there is none (chunked). h11 has refused malformed ones before."""
    text = headers.get("content-length", "").strip()
    return int(text) if re.fullmatch(r"\d{1,19}", text, re.ASCII) else None


def served(want: Want, headers: Mapping[str, str]) -> tuple[Span, int | None]:
    """What a 206 brings: its span, and the archive's whole length (None for ``/*``).

    Raises BadAnswer where Content-Range is missing, malformed or does not cover the want: those bytes could land at
    the wrong place, so none of them is used.
    """
    length = content_length(headers)
    text = headers.get("content-range", "").strip()
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None:
        if length == 0 and text.endswith("/0"):  # MinIO of an empty object: 206, "bytes 0--1/0" (providers.md §6)
            return Span(0, 0), 0
        raise BadAnswer("the answer to a range request has no usable Content-Range", status=206)
    span = Span(int(match[1]), int(match[2]) + 1)
    total = None if match[3] == "*" else int(match[3])
    if not _covers(span, total, want) or (length is not None and length != span.size):
        raise BadAnswer("the answer to a range request is not the range that was asked for", status=206)
    return span, total


def _covers(span: Span, total: int | None, want: Want) -> bool:
    if span.size <= 0 or (total is not None and span.stop > total):
        return False
    if isinstance(want, Suffix):
        return total is not None and span.start <= max(0, total - want.size) and span.stop == total
    return span.start <= want.start < span.stop and (span.stop >= want.stop or span.stop == total)


def validator_of(headers: Mapping[str, str]) -> Validator:
    """What an answer says of its version. ``x-amz-version-id: null`` means an unversioned bucket."""
    version = _word(headers, "x-goog-generation") or _word(headers, "x-amz-version-id")
    return Validator(
        etag=_word(headers, "etag"),
        last_modified=_word(headers, "last-modified"),
        version=None if version == "null" else version,
    )


def _word(headers: Mapping[str, str], name: str) -> str | None:
    """A header's value, None where it is missing or could not be sent back."""
    text = headers.get(name, "").strip()
    return text if text and text.isascii() and text.isprintable() and len(text) <= LONGEST_VALIDATOR else None
