"""A few seconds of the soak: no wrong byte, no error without a reason. ``make soak`` runs it for minutes."""

from __future__ import annotations

import pytest
from mounts import needs_fuse
from soak.soak import run

pytestmark = needs_fuse


@pytest.mark.parametrize("seed", [11])
def test_short_soak(seed: int) -> None:
    """Random operations, sessions that change, services that fail: right bytes, or an errno with a reason."""
    result = run(6, workers=16, sessions=40, seed=seed)
    assert result.wrong == []
    assert result.unexplained == []
    assert result.operations > 100
