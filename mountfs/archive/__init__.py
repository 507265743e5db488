"""A zip archive as a source of members.

``transfers``: the bytes of one archive version, local or on their way. ``members``: members as readers. ``window``:
how much to fetch when something is needed, pure.
"""

from mountfs.archive.members import ZipContent
from mountfs.archive.transfer import Patience
from mountfs.archive.transfers import Archive

__all__ = ["Archive", "Patience", "ZipContent"]
