"""``python -m tests.soak --minutes 10 --workers 64``: the soak, and what came of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> int:
    from soak.soak import growth, run

    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--faults", type=float, default=0.05, help="share of requests that fail")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    result = run(60 * args.minutes, workers=args.workers, sessions=args.sessions, rate=args.faults, seed=args.seed)
    print("\n".join(result.lines()))
    print(f"memory of the last quarter over the second: {growth(result):.2f}")
    return 1 if result.wrong or result.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
