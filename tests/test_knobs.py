"""The kernel's settings of a mount, as far as they are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mountfs import knobs

CODE = """
from mountfs.knobs import KNOBS, tune
KNOBS.clear()
KNOBS["adjust"] = ("/proc/self/oom_score_adj", 4096)
print(tune(0)["adjust"])
"""


def test_less_is_tried_where_more_is_refused() -> None:
    """An ordinary user may raise max_background up to a bound that depends on memory; beyond it is EINVAL, as for this
    other file of the kernel's, which takes up to 1000."""
    assert subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout == "512\n"


def test_places_are_those_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that is not there is told as unknown, and is no error."""
    (tmp_path / "0:61").write_text("128\n")
    places = {"there": (f"{tmp_path}/{{major}}:{{minor}}", 1024), "absent": (f"{tmp_path}/{{minor}}/x", 1024)}
    monkeypatch.setattr(knobs, "KNOBS", places)
    assert knobs.tune(61) == {"there": "1024", "absent": "unknown"}


@pytest.mark.parametrize(
    ("bound", "expected"), [("100\n", 100), ("100000\n", 4096), ("0\n", 4096), ("x", 64), (None, 64)]
)
def test_what_an_ordinary_user_is_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str | None, expected: int
) -> None:
    """Asked for in the handshake, max_background is bounded by the module's parameter; the least is assumed where that
    cannot be read. Root gets what it asks for."""
    place = tmp_path / "max_user_bgreq"
    if bound is not None:
        place.write_text(bound)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert knobs.granted(str(place)) == expected
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert knobs.granted(str(place)) == 4096


@pytest.mark.parametrize(
    ("release", "takes"),
    [
        ("6.18.44-fc", True),
        ("6.11.0", True),
        ("7.0-rc1", True),
        ("6.1.0-28-amd64", False),
        ("5.15", False),
        ("?", False),
    ],
)
def test_old_kernels_are_given_nothing_unasked(release: str, takes: bool) -> None:
    """They do not clear what lies behind a file's end."""
    assert knobs.takes_files(release) == takes
