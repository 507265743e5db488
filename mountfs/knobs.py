"""The kernel's settings of one FUSE mount, raised where permitted: worth 5-13 times with 48 readers at 50 ms.

Read-ahead is root's alone. The two others are asked for in the handshake (``wire.handshake_for_kernel``) and granted to
everybody, up to the module's max_user_bgreq for who is not root (by memory: 1,337 with 4 GiB). Without that (``-o
noexpress``) they belong to who mounted, as far as /sys/fs/fuse/connections is mounted; more than allowed is refused, so
less is tried. All are reset by the INIT reply: raise them when the mount is served.

Concurrency: blocking, quick. The standard library alone: the privileged opener uses it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import subprocess

MAX_BACKGROUND = 4096
LEAST = 64
"""Below this it is not worth trying."""
READ_AHEAD_KIB = 1024
MOST = "/sys/module/fuse/parameters/max_user_bgreq"

CLEARED = (6, 11)
"""From this kernel on, what lies behind the end of a file that was given it is cleared (CVE-2024-44947)."""

KNOBS: dict[str, tuple[str, int]] = {
    "read_ahead_kb": ("/sys/class/bdi/{major}:{minor}/read_ahead_kb", READ_AHEAD_KIB),
    "max_background": ("/sys/fs/fuse/connections/{minor}/max_background", MAX_BACKGROUND),
    "congestion_threshold": ("/sys/fs/fuse/connections/{minor}/congestion_threshold", MAX_BACKGROUND * 3 // 4),
}


def granted(most: str = MOST) -> int:
    """What the kernel makes of MAX_BACKGROUND when this process asks for it in the handshake. ``most``: the file with
    an ordinary user's bound."""
    if os.geteuid() == 0:
        return MAX_BACKGROUND
    try:
        with open(most, encoding="ascii") as file:
            return min(MAX_BACKGROUND, int(file.read()) or MAX_BACKGROUND)
    except (OSError, ValueError):
        return LEAST


def takes_files(release: str) -> bool:
    """Whether a kernel may be given a file's pages unasked. ``release``: as of uname(2). One before CLEARED would show
    what its memory held behind the end of the file to who maps it; some of those were mended, which none tells."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is not None and (int(found[1]), int(found[2])) >= CLEARED


def tune(device: int) -> dict[str, str]:
    """Raises each for the mount with this ``st_dev``; answers what each is now, ``unknown`` where it cannot be read."""
    state: dict[str, str] = {}
    for knob, (place, value) in KNOBS.items():
        path = place.format(major=os.major(device), minor=os.minor(device))
        _raise(path, value)
        try:
            with open(path, encoding="ascii") as file:
                state[knob] = file.read().strip()
        except OSError:
            state[knob] = "unknown"
    if state.get("max_background") == "unknown" and os.geteuid() == 0:
        state |= _tune_apart(os.minor(device))
    return state


APART = """
mount -t fusectl none /sys/fs/fuse/connections && cd "/sys/fs/fuse/connections/$1" || exit 1
value=$2
until echo "$value" 2>/dev/null >max_background || [ "$value" -lt "$3" ]; do value=$((value / 2)); done
echo $((value * 3 / 4)) 2>/dev/null >congestion_threshold
cat max_background congestion_threshold
"""


def _tune_apart(minor: int) -> dict[str, str]:
    """The same where nobody has mounted fusectl (containers, small systems): in a mount namespace of a child's own, so
    that nothing of it is left."""
    words = ["unshare", "--mount", "sh", "-c", APART, "sh", str(minor), str(MAX_BACKGROUND), str(LEAST)]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(words, capture_output=True, text=True, timeout=5, check=True).stdout.split()
        if len(told) == 2:
            return {"max_background": told[0], "congestion_threshold": told[1]}
    return {}


def _raise(path: str, value: int) -> None:
    """Writes ``value``, or the half of it, and so on, whichever the kernel accepts first."""
    while value >= LEAST:
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(value))
        except OSError as error:
            if error.errno != errno.EINVAL:
                return
            value //= 2
        else:
            return
