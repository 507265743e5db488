"""The pure table of a session's life (design.md §2, first table): what is believed after each outcome, and until
when."""

from __future__ import annotations

import pytest

from mountfs import errors
from mountfs.config import Freshness
from mountfs.errors import MountfsError
from mountfs.model import Phase, SessionInfo
from mountfs.session.life import (
    FOREVER,
    NOTHING,
    OUTCOMES,
    SYNC_GRACE,
    Belief,
    State,
    after_error,
    after_snapshot,
    refetch_after,
)

NOW = 1000.0
WALL = 1_790_000_000.0
TIMES = Freshness(
    listing=1.0, live=30.0, pending=5.0, absent=60.0, empty=4.0, failing=2.0, refused=31.0, ready_wait=0.0
)

# (error, state, seconds it is believed of a live session, of a terminal one)
ROWS: list[tuple[MountfsError, State, float, float]] = [
    (errors.NotReady("x"), State.NOT_READY, 5, 5),
    (errors.Throttled("x"), State.FAILING, 2, 2),
    (errors.Absent("x"), State.ABSENT, 60, 60),
    (errors.NoKey("x"), State.REFUSED, 31, 31),
    (errors.KeyRejected("x"), State.REFUSED, 31, 31),
    (errors.AccessDenied("x"), State.REFUSED, 31, 31),
    (errors.RequestRefused("x"), State.REFUSED, 31, 31),
    (errors.BadArchive("x"), State.BAD, 30, FOREVER),
    (errors.LimitExceeded("x"), State.BAD, 30, FOREVER),
    (errors.SnapshotLost("x"), State.FAILING, 2, 2),
    (errors.ServiceFailed("x"), State.FAILING, 2, 2),
    (errors.BadAnswer("x"), State.FAILING, 2, 2),
    (errors.ArchiveHostRefused("x"), State.FAILING, 2, 2),
    (errors.Unreachable("x"), State.FAILING, 2, 2),
    (errors.DeadlineExceeded("x"), State.FAILING, 2, 2),
    (errors.CacheFull("x"), State.FAILING, 2, 2),
    (errors.CacheDamaged("x"), State.FAILING, 2, 2),
    (MountfsError("x"), State.FAILING, 2, 2),
]


@pytest.mark.parametrize(("error", "state", "live", "terminal"), ROWS, ids=lambda value: type(value).__name__)
def test_error(error: MountfsError, state: State, live: float, terminal: float) -> None:
    """Each error leads to its state, is believed as long as its setting says, and is what is raised until then."""
    for phase, seconds in ((Phase.LIVE, live), (Phase.TERMINAL, terminal)):
        assert after_error(error, phase, TIMES, NOW) == Belief(state, NOW + seconds, error)


def test_every_row_is_reached() -> None:
    """No row of the table is there for nothing, and every error of ours finds one."""
    assert {next(cls for cls in type(error).__mro__ if cls in OUTCOMES) for error, *_ in ROWS} == set(OUTCOMES)


@pytest.mark.parametrize("kind", [errors.NotReady, errors.Throttled])
@pytest.mark.parametrize(("said", "seconds"), [(None, 0.0), (0.5, 0.0), (100.0, 100.0)])
def test_retry_after(kind: type[errors.Busy], said: float | None, seconds: float) -> None:
    """What a busy service asks for binds longer than the setting, never shorter."""
    setting = 5.0 if kind is errors.NotReady else 2.0
    belief = after_error(kind("x", retry_after=said), Phase.LIVE, TIMES, NOW)
    assert belief.until == NOW + max(setting, seconds)


# (phase, seconds since its end or None, members, state, seconds)
SNAPSHOTS = [
    (Phase.TERMINAL, 10.0, 3, State.TERMINAL, FOREVER),
    (Phase.TERMINAL, None, 3, State.TERMINAL, FOREVER),
    (Phase.LIVE, None, 3, State.LIVE, 30.0),
    (Phase.LIVE, None, 0, State.EMPTY, 4.0),
    (Phase.TERMINAL, SYNC_GRACE - 1, 0, State.EMPTY, 4.0),
    (Phase.TERMINAL, SYNC_GRACE, 0, State.TERMINAL, FOREVER),
    (Phase.TERMINAL, None, 0, State.TERMINAL, FOREVER),
]


@pytest.mark.parametrize(("phase", "ended", "members", "state", "seconds"), SNAPSHOTS)
def test_snapshot(phase: Phase, ended: float | None, members: int, state: State, seconds: float) -> None:
    """An archive is believed for ever once its session has ended; an empty one only when the end is five minutes
    past."""
    info = SessionInfo("s", phase, "", ended=None if ended is None else WALL - ended)
    belief = after_snapshot(members=members, info=info, freshness=TIMES, now=NOW, wall=WALL)
    assert belief == Belief(state, NOW + seconds)


def test_belief_runs_out() -> None:
    """A belief holds until its time, not at it; what is left of it is never negative; nothing is believed at first."""
    belief = Belief(State.LIVE, NOW + 1)
    assert belief.holds(NOW)
    assert belief.left(NOW + 0.25) == 0.75
    assert not belief.holds(NOW + 1)
    assert belief.left(NOW + 9) == 0
    assert not NOTHING.holds(0.0)
    assert Belief(State.TERMINAL, FOREVER).left(NOW) == FOREVER


@pytest.mark.parametrize(("took", "pause"), [(0.0, 30.0), (2.9, 30.0), (3.0, 30.0), (60.0, 600.0)])
def test_a_slow_download_is_not_repeated_all_the_time(took: float, pause: float) -> None:
    """Without a validator a session is fetched again no sooner than ten times what the last download took."""
    assert refetch_after(TIMES, took) == pytest.approx(pause)
