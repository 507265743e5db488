"""A member's bytes, however they come: what an open file reads from. The map of the package:

    readers.py      a small member in memory, a finished file; what every reader can do
    progressive.py  a large member made in order by a pump, read meanwhile
    sinks.py        where a pump appends: a spool of the store, or a ring in memory

Concurrency: state changes on the trio task thread; see the modules.
"""

from __future__ import annotations

from mountfs.content.progressive import Progressive, Pump, Shared
from mountfs.content.readers import SMALL, FileReader, InMemory, Reader
from mountfs.content.sinks import RING, Ring, Sink, SpoolSink, open_sink

__all__ = [
    "RING",
    "SMALL",
    "FileReader",
    "InMemory",
    "Progressive",
    "Pump",
    "Reader",
    "Ring",
    "Shared",
    "Sink",
    "SpoolSink",
    "open_sink",
]
