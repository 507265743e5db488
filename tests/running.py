"""What a run of the command line gives, for the tests that run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """Exit status and output of one run."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]
