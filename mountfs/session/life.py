"""The life of a session: what is believed of it after each outcome, and for how long. Pure; one table.

A *belief* is a state, an error (or none) and a time until which the same question is answered without a request. The
times come from ``[freshness]``; ``FOREVER`` means until evicted or refreshed. Design.md §2 is the table's source.

Concurrency: values and pure functions. ``now`` is a monotonic clock (trio's), ``wall`` seconds since 1970; both are
handed in.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from mountfs import errors
from mountfs.config import Freshness
from mountfs.errors import MountfsError
from mountfs.model import Phase, SessionInfo

FOREVER = math.inf
SYNC_GRACE = 300.0
"""Seconds after a session's end in which an empty archive may still fill (providers.md §4: syncing goes on 20-30 s)."""


class State(enum.Enum):
    """What a session is to us, in ``status``'s words."""

    UNKNOWN = "unknown"
    NOT_READY = "not ready"
    LIVE = "live"
    TERMINAL = "terminal"
    EMPTY = "empty"
    ABSENT = "absent"
    REFUSED = "refused"
    FAILING = "failing"
    BAD = "bad archive"


@dataclass(frozen=True, slots=True)
class Belief:
    """``until``: on the monotonic clock; from then on the question is asked again. ``error``: raised until then."""

    state: State
    until: float = 0.0
    error: MountfsError | None = None

    def holds(self, now: float) -> bool:
        return now < self.until

    def left(self, now: float) -> float:
        """Seconds it still holds: what the kernel may be told, never the whole."""
        return max(0.0, self.until - now)


NOTHING = Belief(State.UNKNOWN)

# What an error says of its session: the state, and the setting that bounds it (None: as its snapshot would have been).
# Searched along the error's MRO, so a subclass without a row takes its parent's.
OUTCOMES: dict[type[BaseException], tuple[State, str | None]] = {
    errors.NotReady: (State.NOT_READY, "pending"),
    errors.Throttled: (State.FAILING, "failing"),
    errors.Absent: (State.ABSENT, "absent"),
    errors.NoKey: (State.REFUSED, "refused"),
    errors.KeyRejected: (State.REFUSED, "refused"),
    errors.AccessDenied: (State.REFUSED, "refused"),
    errors.RequestRefused: (State.REFUSED, "refused"),
    errors.ArchiveError: (State.BAD, None),
    errors.SnapshotLost: (State.FAILING, "failing"),
    errors.ServiceError: (State.FAILING, "failing"),
    errors.CacheError: (State.FAILING, "failing"),
    errors.MountfsError: (State.FAILING, "failing"),
}


def after_error(error: MountfsError, phase: Phase, freshness: Freshness, now: float) -> Belief:
    """What is believed after ``error``. A Busy answer's Retry-After binds longer than the setting, never shorter."""
    state, setting = next(OUTCOMES[cls] for cls in type(error).__mro__ if cls in OUTCOMES)
    if setting is None:
        until = FOREVER if phase is Phase.TERMINAL else now + freshness.live
    else:
        seconds: float = getattr(freshness, setting)
        if isinstance(error, errors.Busy) and error.retry_after is not None:
            seconds = max(seconds, error.retry_after)
        until = now + seconds
    return Belief(state, until, error)


def after_snapshot(*, members: int, info: SessionInfo, freshness: Freshness, now: float, wall: float) -> Belief:
    """What is believed of a session whose archive was obtained with ``members`` members, while ``info`` was its status
    *before* the archive was asked for (a status read later would call bytes final that were taken before the end)."""
    if members == 0 and (info.phase is Phase.LIVE or (info.ended is not None and wall - info.ended < SYNC_GRACE)):
        return Belief(State.EMPTY, now + freshness.empty)
    if info.phase is Phase.TERMINAL:
        return Belief(State.TERMINAL, FOREVER)
    return Belief(State.LIVE, now + freshness.live)


def refetch_after(freshness: Freshness, download_seconds: float) -> float:
    """Seconds between two whole downloads of a session that has no validator: a slow one is not repeated all the
    time."""
    return max(freshness.live, 10.0 * download_seconds)
