"""Floor 6: the kernel on one side, ``Filesystem`` on the other: types and errnos. It decides nothing.

``operations``: every request, through pyfuse3. ``express``: those that can be answered at once, without the way
through pyfuse3 and the scheduler. ``mounting``: mounts, serves, unmounts. ``invalidation``: the names the kernel is to
drop.

This package alone imports pyfuse3, and nothing but the mount imports it.
"""

from mountfs.fuse.mounting import mounted, tune
from mountfs.fuse.operations import Operations, Owner, guarded

__all__ = ["Operations", "Owner", "guarded", "mounted", "tune"]
