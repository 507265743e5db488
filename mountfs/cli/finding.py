"""What an examination finds, one line each, with what to do about it.

Concurrency: immutable values.
"""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, PROBLEM = "ok", "note", "problem"
"""A note is worth knowing and stops nothing; a problem makes ``mountfs doctor`` end with status 1."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``what``: what was looked at; ``state``: OK, NOTE or PROBLEM; ``advice``: what to do, empty if nothing."""

    what: str
    state: str
    says: str
    advice: str = ""
