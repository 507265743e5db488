"""What the demo says once it is mounted: a picture of the tree, and commands worth trying.

Concurrency: pure functions.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from mountfs.demo.samples import SAMPLES, Sample

FORMS: dict[str, str] = {
    "kaizen": "signed URLs, ranges work",
    "dari": "each archive in one piece",
    "browserbase": "each archive in one piece",
}
"""Provider -> how its archives come."""

TRIES: tuple[tuple[str, str], ...] = (
    ("ls -l dari", "a list: 1 request, no archive"),
    ("head -n 3 kaizen/kz_big/trace.log", "a little of 76 MiB"),
    ("grep -rc ERROR dari/sess_research/logs", "search in place"),
    ("cp -r dari/sess_research/reports /tmp", "copy out"),
    ("sqlite3 dari/sess_live/data/*.sqlite .schema", "a database in place"),
    ("ls kaizen/kz_building", "busy; ready {pending:g} s after the start"),
    ("ls dari/sess_gone", "an error that says what is wrong"),
    ("{mountfs} why dari/sess_gone", "and what to do about it"),
)
"""(command, what it shows)"""


def guide(place: str, *, pending: float, log: str, mountfs: str = "mountfs") -> str:
    """The whole text. ``pending``: seconds from the start until what is not ready becomes ready; ``log``: the
    daemon's; ``mountfs``: how this program is called in another terminal."""
    mountfs = shlex.quote(mountfs)
    tries = [(command.format(mountfs=mountfs), shows.format(pending=pending)) for command, shows in TRIES]
    width = max(len(command) for command, _ in tries)
    return "\n".join(
        [
            "Three fake services run on this machine, and their sessions are mounted:",
            "",
            f"  {place}",
            *(f"  {line}" for line in picture(SAMPLES)),
            "",
            "Try in another terminal:",
            "",
            f"  cd {shlex.quote(place)}",
            *(f"  {command:<{width}}  {shows}" for command, shows in tries),
            "",
            "What goes on meanwhile:",
            "",
            f"  {mountfs} status {shlex.quote(place)}",
            f"  tail -f {shlex.quote(log)}",
            "",
            "Ctrl-C here unmounts it and leaves nothing behind.",
        ]
    )


def picture(samples: Iterable[Sample]) -> list[str]:
    """The providers and their sessions as a tree."""
    below: dict[str, list[Sample]] = {}
    for sample in samples:
        below.setdefault(sample.provider, []).append(sample)
    width = max(len(sample.id) for sessions in below.values() for sample in sessions) + 4
    lines = []
    for number, (provider, sessions) in enumerate(below.items(), 1):
        branch, bar = ("└── ", "    ") if number == len(below) else ("├── ", "│   ")
        lines.append(f"{branch}{provider:<{width}}  {FORMS[provider]}")
        for count, sample in enumerate(sessions, 1):
            twig = "└── " if count == len(sessions) else "├── "
            lines.append(f"{bar}{twig}{sample.id:<{width - 4}}  {sample.title}")
    return lines
