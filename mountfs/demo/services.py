"""The map of the fake services: what a test imports."""

from __future__ import annotations

from mountfs.demo.browserbase import FakeBrowserbase
from mountfs.demo.dari import FakeDari
from mountfs.demo.fake import EMPTY_ZIP, Fake, FakeFile, FakeSession, Recorded, http_date, stamp
from mountfs.demo.kaizen import FakeKaizen
from mountfs.demo.store import FakeObject, FakeStore

__all__ = [
    "EMPTY_ZIP",
    "Fake",
    "FakeBrowserbase",
    "FakeDari",
    "FakeFile",
    "FakeKaizen",
    "FakeObject",
    "FakeSession",
    "FakeStore",
    "Recorded",
    "http_date",
    "stamp",
]
