"""``python -m mountfs``: the command line, also where the scripts of the package are not on PATH."""

from __future__ import annotations

from mountfs.cli import main

if __name__ == "__main__":
    main(prog_name="mountfs")
