"""How long a signed URL is good, read from the URL itself (providers.md §2). Pure.

S3 and its like sign a date and a duration (``X-Amz-Date`` + ``X-Amz-Expires``), GCS the same under its own name, the
older forms and CloudFront a moment (``Expires``), Azure a moment in ISO 8601 (``se``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

UNKNOWN_LIFE = 60.0
"""Seconds a URL that tells nothing is used again."""
MARGIN = 5.0
"""Seconds before its end at which it counts as expired: clocks differ, and the request still has to arrive."""


def expiry(url: str, wall: float) -> float:
    """Seconds since 1970 until which ``url`` is to be used, ``wall`` being now."""
    query = {name.lower(): value for name, value in parse_qsl(url.partition("?")[2].partition("#")[0])}
    for prefix in ("x-amz-", "x-goog-"):
        end = _sum(query.get(prefix + "date", ""), query.get(prefix + "expires", ""))
        if end is not None:
            return end - MARGIN
    end = _number(query.get("expires", "")) or moment(query.get("se"))
    return wall + UNKNOWN_LIFE if end is None else end - MARGIN


def _sum(date: str, seconds: str) -> float | None:
    life = _number(seconds)
    if life is None:
        return None
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() + life
    except ValueError:
        return None


def _number(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 13 else None


def moment(value: object) -> float | None:
    """Seconds since 1970 of a service's time: ISO 8601 (UTC where no zone is given) or a number of seconds, or of
    milliseconds where seconds would lie beyond the year 5000. None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        seconds = value / 1000 if value > 1e11 else value
        return float(seconds) if 0 < seconds < 1e11 else None
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value.strip())
        seconds = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None  # Go's zero time is the year 1
