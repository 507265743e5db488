"""Which symbolic links may be shown as links (zip.md, "Types, modes, times").

Theory: resolving a target as text is not enough. ``r -> ../../..`` stays inside as long as nobody goes through
it, and ``esc -> x/r/../../S`` uses it to walk out, because ``..`` after a link is taken from where the link led.
So ``..`` may stand at the front only: directories of a session are never links, so the front ones are counted
against the link's own depth, and what follows only descends, each further link being under the same rule.

Concurrency: a pure function.
"""

from __future__ import annotations

from mountfs.zipformat.types import MAX_LINK_TARGET


def safe_link(target: bytes, depth: int) -> bool:
    """Whether a link may keep its target; otherwise it is shown as a file that holds it.

    ``depth``: the number of directories above the link inside its session.
    """
    if not 1 <= len(target) <= MAX_LINK_TARGET or b"\0" in target or target.startswith(b"/"):
        return False
    components = [component for component in target.split(b"/") if component not in (b"", b".")]
    rising = 0
    while rising < len(components) and components[rising] == b"..":
        rising += 1
    return rising <= depth and b".." not in components[rising:]
