"""Sizes and durations as people write them: "10GiB", "1.5 MB", "30s", "1h30m".

A size is a whole number of bytes, a duration seconds as a float. Numbers without a unit are bytes and seconds.
``KB`` is 1000 bytes, ``KiB`` and ``K`` are 1024 (as in coreutils and rclone). Case does not matter.

Concurrency: pure functions.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

SIZE_UNITS: dict[str, int] = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "k": 1 << 10,
    "m": 1 << 20,
    "g": 1 << 30,
    "t": 1 << 40,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
DURATION_UNITS: dict[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}

_SIZE = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)
_DURATION_PART = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", re.IGNORECASE | re.ASCII)
_PLAIN_NUMBER = re.compile(r"\d[\d_]*(?:\.\d+)?", re.ASCII)

_MAX_SIZE = (1 << 63) - 1
"""What an off_t holds; a size beyond it is a slip of the pen."""


def parse_size(value: object) -> int:
    """Bytes of a size. Raises ValueError, with the accepted forms, for anything else."""
    size: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        unit = SIZE_UNITS.get(match[2].lower())
        size = None if unit is None else int(Decimal(match[1].replace("_", "")) * unit)
    if size is None or not 0 <= size <= _MAX_SIZE:
        raise ValueError(
            f"{quoted(value)} is not a size; write a number of bytes, or one with B, KiB, MiB, GiB, TiB "
            'or KB, MB, GB, TB, such as "10GiB"'
        )
    return size


def parse_duration(value: object) -> float:
    """Seconds of a duration. Raises ValueError, with the accepted forms, for anything else."""
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        seconds = _seconds(value.strip())
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        raise ValueError(
            f"{quoted(value)} is not a duration; write a number of seconds, or one with ms, s, m, h, d, "
            'such as "30s", "0.5s" or "1h30m"'
        )
    return seconds


def _seconds(text: str) -> float | None:
    if _PLAIN_NUMBER.fullmatch(text):
        return float(text.replace("_", ""))
    total, position = 0.0, 0
    while match := _DURATION_PART.match(text, position):
        total += float(match[1].replace("_", "")) * DURATION_UNITS[match[2].lower()]
        position = match.end()
    return total if position and position == len(text) else None


def format_size(size: int) -> str:
    """The shortest exact way to write ``size`` with a binary unit; parse_size reads it back."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % SIZE_UNITS[unit.lower()] == 0:
            return f"{size // SIZE_UNITS[unit.lower()]}{unit}"
    return f"{size}B"


def format_duration(seconds: float) -> str:
    """An exact way to write ``seconds`` with one unit; parse_duration reads it back."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % DURATION_UNITS[unit] == 0:
            return f"{int(seconds // DURATION_UNITS[unit])}{unit}"
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{seconds:f}".rstrip("0") + "s"


def quoted(value: object) -> str:
    """A value as it stands in a TOML file, cut short, for messages."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
