"""``python -m tests.soak --minutes 10 --workers 64``: the soak, and what came of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

LONG = 5.0
"""Minutes from which on the caches have been full for a while, and what still grows is a leak."""


def main() -> int:
    from soak.soak import run

    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--faults", type=float, default=0.05, help="share of requests that fail")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    result = run(60 * args.minutes, workers=args.workers, sessions=args.sessions, rate=args.faults, seed=args.seed)
    print("\n".join(result.lines()))
    long = args.minutes >= LONG
    return 1 if result.wrong or result.unexplained or (long and not result.flat()) else 0


if __name__ == "__main__":
    sys.exit(main())
