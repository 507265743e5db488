"""A session's life and its snapshots.

``life``: what is believed after each outcome, pure. ``opening``: from a source to a snapshot; ``download``: a whole
archive. ``snapshot``: one version, as a tree. ``session``: which one is shown now. ``sessions``: which there are.
``record``: what the cache is told, ``keeping``: how; ``stale``: what of it is to be asked for again.
"""

from mountfs.session.download import Progress, Workshop
from mountfs.session.life import FOREVER, Belief, State
from mountfs.session.session import Session
from mountfs.session.sessions import Sessions
from mountfs.session.snapshot import Facts, Snapshot
from mountfs.session.stale import mark_stale
from mountfs.session.surroundings import Surroundings

__all__ = [
    "FOREVER",
    "Belief",
    "Facts",
    "Progress",
    "Session",
    "Sessions",
    "Snapshot",
    "State",
    "Surroundings",
    "Workshop",
    "mark_stale",
]
