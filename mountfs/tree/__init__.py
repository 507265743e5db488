"""The tree of names and nodes, pure. The map of the package:

    namespace.py   one snapshot's tree: child, listing, resolve, path      builder.py   how it is made
    members.py     what it is made from: MemberList, MemberTable         inodes.py    numbers and handles for the kernel
    route.py       in which order a walk comes to its members

Concurrency: see each module; nothing here waits.
"""

from __future__ import annotations

from mountfs.tree.members import MemberList, MemberTable
from mountfs.tree.namespace import ROOT, Listing, Namespace

__all__ = ["ROOT", "Listing", "MemberList", "MemberTable", "Namespace"]
