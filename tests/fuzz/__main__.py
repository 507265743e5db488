"""``python tests/fuzz TARGET CORPUS [libFuzzer options]``: one fuzzing process; ends with status 77 at a finding."""

from __future__ import annotations

import pathlib
import sys

import atheris

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

with atheris.instrument_imports(include=["mountfs.zipformat", "mountfs.tree"]):
    import mountfs.tree
    import mountfs.zipformat  # noqa: F401

from targets import TARGETS


def main() -> None:
    target, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
