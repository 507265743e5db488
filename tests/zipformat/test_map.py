"""The maps: what the packages export is there, and all of what their docstrings name."""

from __future__ import annotations

import pathlib
import re
import types

import pytest

import mountfs.tree
import mountfs.zipformat


@pytest.mark.parametrize("package", [mountfs.zipformat, mountfs.tree])
def test_the_map_is_the_territory(package: types.ModuleType) -> None:
    """Every export exists, sorted as ruff sorts; every module stands in the map and every module of the map exists."""
    assert all(hasattr(package, name) for name in package.__all__)
    folder = pathlib.Path(package.__file__ or "").parent
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"\b\w+\.py\b", package.__doc__ or "")) == modules


@pytest.mark.parametrize("package", [mountfs.zipformat, mountfs.tree])
def test_every_module_says_its_concurrency_rule(package: types.ModuleType) -> None:
    """The top of a file says its theory and its concurrency rule, and files stay short."""
    for path in pathlib.Path(package.__file__ or "").parent.glob("*.py"):
        text = path.read_text()
        assert "Concurrency:" in text
        assert text.count("\n") <= 400
