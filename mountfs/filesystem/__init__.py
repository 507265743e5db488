"""Floor 5: the file system in our own types, usable with no FUSE in the loop.

``filesystem``: what each operation means. ``table``: which node an inode is. ``nodes``: the types. ``waiting``:
deadlines, signals, stuck reads.
"""

from mountfs.filesystem.filesystem import Filesystem
from mountfs.filesystem.nodes import NOBODY, Attributes, Caller, Dentry, Node
from mountfs.filesystem.waiting import note_request

__all__ = ["NOBODY", "Attributes", "Caller", "Dentry", "Filesystem", "Node", "note_request"]
