"""What the soak knows: every session, every version of it, every byte.

Contents are made from their names by a seeded generator, so that the model is a few numbers and a reader's bytes can
be checked anywhere. A live session gets a new version now and then: some files change, some go, some come; a reader
may see any version there was, but one open file shows one version only.

Concurrency: the mutator's thread adds versions, workers read them; a version that exists never changes.
"""

from __future__ import annotations

import io
import random
import threading
import uuid
import zipfile
from dataclasses import dataclass, field

from mountfs.demo.fake import FakeSession
from mountfs.demo.server import Fakes

MOMENT = (2026, 1, 2, 3, 4, 6)


def content(name: str, size: int) -> bytes:
    """The bytes of one file in one version: half of it noise, half of it text, so that it can be told and packed."""
    rng = random.Random(name)
    half = rng.randbytes(size // 2)
    line = f"{name}\n".encode()
    return (half + line * (size // len(line) + 1))[:size]


@dataclass(frozen=True)
class File:
    """``since``: the version in which it got these bytes."""

    path: str
    size: int
    since: int

    def data(self, session: str) -> bytes:
        return content(f"{session}/{self.path}@{self.since}", self.size)


@dataclass
class Known:
    """One session. ``versions``: the files of each, by path."""

    provider: str
    id: str
    fake: FakeSession
    live: bool = False
    versions: list[dict[str, File]] = field(default_factory=list)

    def files(self) -> list[str]:
        """Paths of some version that readers may ask for."""
        return list(self.versions[-1])

    def candidates(self, path: str, size: int | None = None) -> list[File]:
        """Every file this path has ever been, the newest first."""
        found = {version[path] for version in list(self.versions) if path in version}
        return sorted((each for each in found if size in {None, each.size}), key=lambda each: -each.since)


class Model:
    """All sessions, and the way to change them."""

    def __init__(self, fakes: Fakes, sessions: int, rng: random.Random) -> None:
        self._fakes = fakes
        self._rng = rng
        self._lock = threading.Lock()
        self.sessions: list[Known] = []
        for number in range(sessions):
            self._add(number)

    def _add(self, number: int) -> None:
        service = ("kaizen", "kaizen", "dari", "browserbase", "dari")[number % 5]
        fake = next(each for each in self._fakes.services if each.name == service)
        name = str(uuid.UUID(int=number + (1 << 64))) if service == "browserbase" else f"s{number}"
        session = fake.add(name)
        live = service != "kaizen" and number % 3 == 0
        if live:
            session.status, session.ended = ("RUNNING" if service == "browserbase" else "active"), None
        known = Known(service, name, session, live)
        large = service == "kaizen" and number % 4 == 0
        files = {path: File(path, size, 0) for path, size in self._layout(large=large)}
        known.versions.append(files)
        session.archive = pack(name, files)
        if not live:
            session.etag = f'"{name}-0"'
        self.sessions.append(known)

    def _layout(self, *, large: bool) -> list[tuple[str, int]]:
        count = self._rng.randint(3, 20)
        sizes = [int(self._rng.lognormvariate(7.5, 1.8)) % 120_000 + 1 for _ in range(count)]
        paths = [f"{self._rng.choice(('logs', 'reports', 'a/b/c', 'out'))}/f{at}.txt" for at in range(count)]
        more = [("big/one.bin", 2_500_000), ("big/two.bin", 5_000_000)] if large else []
        return [*zip(paths, sizes, strict=True), *more]

    def change(self) -> None:
        """One live session moves on."""
        known = self._rng.choice([each for each in self.sessions if each.live])
        version = len(known.versions)
        files = dict(known.versions[-1])
        for path in self._rng.sample(sorted(files), k=min(3, len(files))):
            kind = self._rng.random()
            if kind < 0.2 and len(files) > 3:
                del files[path]
            else:
                files[path] = File(path, self._rng.randint(1, 60_000), version)
        files[f"out/new{version % 5}.txt"] = File(f"out/new{version % 5}.txt", self._rng.randint(1, 9000), version)
        known.versions.append(files)  # before it can be seen
        known.fake.archive = pack(known.id, files)


def pack(session: str, files: dict[str, File]) -> bytes:
    """The archive: small files packed or stored, large ones packed."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compresslevel=1) as archive:
        for file in files.values():
            info = zipfile.ZipInfo(file.path, MOMENT)
            stored = file.size % 2 and file.size < 1_000_000
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, file.data(session))
    return made.getvalue()
