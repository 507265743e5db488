"""The demo's sessions: what each holds, and the state its service says it is in.

A ``Sample`` is a value; its zip is made on first use under a directory the caller gives, with the same bytes every
time, and found there afterwards. Archives differ on purpose as those of the services do: Dari's are written as a stream
(data descriptors), with and without the ``workspace/`` root; Browserbase's carry the millisecond suffix in their names.

Concurrency: values and pure functions. Making a zip is atomic (a temporary name, then a rename), so two threads or
processes that make the same one both end up with it.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from mountfs.demo import contents

BASE = datetime(2026, 11, 20, 9, 0, 0, tzinfo=UTC)
"""The first file's time; each further one is two seconds later, the step DOS times have."""

State = Literal["ready", "pending", "empty", "gone"]
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One member. A path that ends in ``/`` is a directory; ``link``: a symbolic link's target. Large data comes as a
    function that gives pieces."""

    path: str
    data: bytes | Callable[[], Iterator[bytes]] = b""
    mode: int = 0o644
    link: str = ""
    stored: bool = False

    def pieces(self) -> Iterator[bytes]:
        if self.link:
            yield self.link.encode()
        elif isinstance(self.data, bytes):
            yield self.data
        else:
            yield from self.data()


@dataclass(frozen=True, slots=True)
class Sample:
    """One session. ``root``: a directory all members lie under, which mountfs strips; ``streamed``: sizes and CRCs
    come after the data, as from a writer that cannot seek. ``title`` says what it shows."""

    provider: str
    id: str
    title: str
    files: Callable[[], Iterable[SampleFile]] = tuple
    state: State = "ready"
    status: str = ""
    root: str = ""
    streamed: bool = False
    ended: bool = True

    def archive(self, directory: str | Path) -> Path:
        """The zip under ``directory``, made if it is not there yet."""
        made = Path(directory) / f"{self.provider}-{self.id}.zip"
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=made.parent, prefix=f".{made.name}-")
            with os.fdopen(descriptor, "w+b") as target:
                write_zip(target, self)
            os.replace(temporary, made)
        return made


class _Stream(io.RawIOBase):
    """A file that cannot seek: zipfile then writes data descriptors."""

    def __init__(self, target: io.BufferedIOBase) -> None:
        super().__init__()
        self._target = target

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return self._target.write(data)  # type: ignore[arg-type]


def write_zip(target: io.BufferedIOBase, sample: Sample) -> None:
    """Writes a sample's members in their order."""
    out = _Stream(target) if sample.streamed else target
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(sample.files()):
            with archive.open(_info(sample, number, file), "w") as member:
                for piece in file.pieces():
                    member.write(piece)


def _info(sample: Sample, number: int, file: SampleFile) -> zipfile.ZipInfo:
    moment = BASE + timedelta(seconds=2 * number)
    info = zipfile.ZipInfo(sample.root + file.path, moment.timetuple()[:6])
    info.create_system = 3  # Unix, so that the mode below counts
    kind = stat.S_IFLNK | 0o777 if file.link else stat.S_IFREG | file.mode
    if file.path.endswith("/"):
        kind = stat.S_IFDIR | 0o755
        info.external_attr = 0x10  # DOS's directory bit
    info.external_attr |= kind << 16
    info.compress_type = zipfile.ZIP_STORED if file.stored or file.link else zipfile.ZIP_DEFLATED
    return info


def workspace(seed: int, title: str) -> Callable[[], Iterator[SampleFile]]:
    """A session like most: a bit of everything."""

    def files() -> Iterator[SampleFile]:
        yield SampleFile("README.md", contents.report(title, "reports/temperature.png"))
        yield SampleFile("logs/agent.log", contents.log(seed, 4_000))
        yield SampleFile("logs/steps.jsonl", contents.steps(seed, 600))
        yield SampleFile("data/readings.csv", contents.table(seed, 2_500))
        yield SampleFile("data/summary.json", contents.summary(seed, title))
        yield SampleFile("data/readings.sqlite", contents.database(seed, 5_000), stored=True)
        yield SampleFile("reports/temperature.png", contents.png(seed), stored=True)
        yield SampleFile("reports/Report final.pdf", contents.pdf(title))
        yield SampleFile("reports/latest.md", link="../README.md")
        yield SampleFile("scripts/collect.sh", b'#!/bin/sh\nset -eu\necho "collecting $*"\n', mode=0o755)
        yield SampleFile("scripts/__init__.py")
        yield SampleFile("notes/to do, maybe.txt", b"1. ask\n2. wait\n")
        yield SampleFile("notes/Übersicht, naïve café.txt", "Grüße aus Zürich\n".encode())
        yield SampleFile("notes/日本語/メモ.md", "# メモ\n\nこれは試験です。\n".encode())
        yield SampleFile("tmp/a/b/c/d/e/deep.txt", b"five directories down\n")
        yield SampleFile("empty/")
        yield SampleFile("empty/inner/")
        yield SampleFile("random.bin", lambda: contents.noise(seed, 96 * 1024), stored=True)

    return files


def downloads(seed: int) -> Callable[[], Iterator[SampleFile]]:
    """What a browser downloaded: flat, each name with its time in milliseconds, one name twice."""

    def files() -> Iterator[SampleFile]:
        first = int(BASE.timestamp() * 1000)
        made: Mapping[str, bytes] = {
            f"invoice-{first + 1_797}.pdf": contents.pdf("Invoice 2026-001"),
            f"invoice-{first + 9_204}.pdf": contents.pdf("Invoice 2026-002"),
            f"prices-{first + 12_345}.csv": contents.table(seed, 400),
            f"screenshot-{first + 15_001}.png": contents.png(seed),
            f"Preisliste für März-{first + 20_500}.json": contents.summary(seed, "Preisliste"),
            f"export-{first + 31_000}.sqlite": contents.database(seed, 800),
            f"page-{first + 40_000}.log": contents.log(seed, 300),
        }
        for path, data in made.items():
            yield SampleFile(path, data)

    return files


def big(seed: int, *, flat: bool = False) -> Callable[[], Iterator[SampleFile]]:
    """72 MiB and more: a large log that deflates, a large recording that does not, and 1,200 small files whose
    directories take turns, so that the archive's order is not the tree's."""

    def files() -> Iterator[SampleFile]:
        for number in range(1_200):
            if number == 400:
                yield SampleFile("trace.log", lambda: contents.long_log(seed, 48 * MIB))
            if number == 800:
                yield SampleFile("recording.webm", lambda: contents.noise(seed, 68 * MIB), stored=True)
            directory = "" if flat else f"pages/{number % 24:02}/"
            if number % 2:
                yield SampleFile(f"{directory}page-{number:04}.json", contents.steps(seed + number, 6 + number % 40))
            else:
                yield SampleFile(f"{directory}page-{number:04}.md", contents.report(f"Page {number}", "../x.png"))

    return files


SAMPLES: tuple[Sample, ...] = (
    Sample("kaizen", "kz_weather_2026-11-20", "a workspace, a bit of everything", workspace(11, "Weather by city")),
    Sample("kaizen", "kz_big", "76 MiB, made on first use", big(12)),
    Sample("kaizen", "kz_building", "not ready at first", workspace(13, "Being built"), state="pending"),
    Sample(
        "dari",
        "sess_research",
        "a finished workspace",
        workspace(21, "Research notes"),
        root="workspace/",
        streamed=True,
    ),
    Sample("dari", "sess_live", "a session still at work", workspace(22, "Live"), status="active", ended=False),
    Sample("dari", "sess_big", "76 MiB, made on first use", big(23), root="workspace/", streamed=True),
    Sample("dari", "sess_starting", "not ready at first", workspace(24, "Starting"), state="pending", status="active"),
    Sample("dari", "sess_gone", "listed, but gone", state="gone", status="expired"),
    Sample("browserbase", "0f2c1d3e-7a41-4c55-9d0b-51c7a1e00001", "a few downloads", downloads(31)),
    Sample("browserbase", "0f2c1d3e-7a41-4c55-9d0b-51c7a1e00002", "no downloads at all", state="empty"),
    Sample("browserbase", "0f2c1d3e-7a41-4c55-9d0b-51c7a1e00003", "76 MiB, made on first use", big(33, flat=True)),
)
"""At least one of each archive form has 64 MiB; one is not ready yet, one empty, one listed but gone."""
