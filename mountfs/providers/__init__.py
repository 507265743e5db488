"""Floor 3, the services: which sessions exist, and where a session's archive lies. This page is the map.

    base        Provider: what every provider is and inherits
    sources     ZipSource, FileSource: where content lies and how it is opened
    kaizen, dari, browserbase    one file a service
    names, reading, expiry       ids worth a question, tolerant JSON, the life of signed URLs

Providers are found through the entry-point group ``mountfs.providers``; the built-ins go through the same door.
"""

from __future__ import annotations

from mountfs.providers.base import Options, Provider
from mountfs.providers.door import GROUP, available, load, make, options_of
from mountfs.providers.sources import FileSource, Location, ZipSource
from mountfs.transport import Body

__all__ = [
    "GROUP",
    "Body",
    "FileSource",
    "Location",
    "Options",
    "Provider",
    "ZipSource",
    "available",
    "load",
    "make",
    "options_of",
]
