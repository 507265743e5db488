"""When to try again, and after how long: pure decisions, one table.

Every request here reads (Kaizen's POST too), so all may be repeated. Only what may pass by itself is: the vendor
clients' list (providers.md §4) without 409, which means "not ready" and is the session's business.
Concurrency: pure functions; clock and dice are parameters.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
"""Seconds. The vendors' own clients back off like this; four retries ride out a service's restart."""

PASSING = frozenset({408, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529, 530})
"""Statuses that may pass by themselves. 501 and 505 do not; 52x and 530 are Cloudflare's, 529 is "overloaded"."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Try again after ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not try again. ``busy``: the service asked for a wait that ends beyond the deadline."""

    busy: bool = False


def decide(
    *,
    failures: int,
    retries: int,
    retry_after: float | None,
    now: float,
    deadline: float,
    rng: random.Random,
    at_once: bool = False,
) -> Pause | GiveUp:
    """After the ``failures``-th failure (1, 2, …) of a request that may be repeated. ``at_once``: the first needs no
    pause. Times are seconds of one clock."""
    if retry_after is not None and now + retry_after >= deadline:
        return GiveUp(busy=True)
    if failures > retries:
        return GiveUp()
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (failures - 1)) * rng.uniform(0.5, 1.0)
    if at_once and failures == 1:
        pause = 0.0
    if retry_after is not None:
        pause = retry_after + rng.uniform(0.0, 0.1)
    return GiveUp() if now + pause >= deadline else Pause(pause)


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Seconds to wait from now (never below 0), None where the service does not say.

    ``retry-after-ms`` (the vendors' clients obey it), then ``Retry-After`` in seconds or as a date (RFC 9110 §10.2.3).
    ``wall``: seconds since 1970.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall)
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return max(0.0, value) if value < 1e9 else None  # NaN and infinity fall out here
