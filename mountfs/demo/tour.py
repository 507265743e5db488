"""The demo's scripted tour: real tools walk through the mount, and every session is compared with its archive.

A step is one method of ``Tour`` that returns what it saw, or raises ``Differs``. Later steps run all the same, so one
tour shows everything that is wrong. Only tools touch the mount, each under a deadline: a mount that hangs fails a step,
and does not hang the tour.

Concurrency: one thread; the fakes answer in theirs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from mountfs.demo.bodies import size_of
from mountfs.demo.compare import FIND, Archive, Facts, differences, parse_found
from mountfs.demo.fake import Fake, FakeSession
from mountfs.demo.samples import MIB, SAMPLES, Sample
from mountfs.demo.server import Fakes

TOOL_TIMEOUT = 120.0
"""Seconds for one tool; the longest copies 116 MiB."""
ENDING_TIMEOUT = 5.0
"""Seconds for a killed tool to go; one that waits for a hung mount may not."""
BUILDING = 2.0
"""Seconds until a session that is not ready becomes ready, once the tour has seen that it is not."""
READY_TIMEOUT = 30.0
LOOK_AGAIN = 0.25
WHOLE = 4 * MIB
"""Bytes. Reading one small member of a large archive that has ranges must cost less."""
NOT_READY = os.strerror(errno.EBUSY)
DEAD = os.strerror(errno.ENOTCONN)
SHOWN = 3
"""Differences told of one session."""
QUERY = "SELECT city, count(*), round(avg(temperature), 2) FROM reading GROUP BY city ORDER BY city"
SQLITE = (
    "import sqlite3, sys; connection = sqlite3.connect('file:' + sys.argv[1] + '?immutable=1', uri=True); "
    f"print(connection.execute({QUERY!r}).fetchall()); connection.close()"
)


class Differs(Exception):
    """A step did not see what it should have."""


class Unmounted(Differs):
    """The daemon is gone, and no further step makes sense."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a tool ended: its status, standard output, the last line of standard error, and its time in seconds."""

    status: int
    output: bytes
    complaint: str
    seconds: float

    @property
    def lines(self) -> list[str]:
        return self.output.decode().splitlines()


def run(place: str, fakes: Fakes, echo: Callable[[str], None]) -> bool:
    """Walks through the demo's sessions mounted at ``place``, tells each step by ``echo``; True if all was right."""
    echo(f"A tour of the fake services' sessions, mounted at {place}\n")
    begun, wrong, count = time.monotonic(), 0, 0
    for title, step in Tour(place, fakes).steps():
        count += 1
        try:
            echo(f"  ✓ {title}: {step()}")
        except Differs as error:
            echo(f"  ✗ {title}: {error}")
            wrong += 1
            if isinstance(error, Unmounted):
                break
    total = f"{count} steps in {time.monotonic() - begun:.1f} s"
    echo(f"\n{total}, {wrong} went wrong." if wrong else f"\n{total}, all as it should be.")
    return not wrong


class Tour:
    """The steps, in order. ``place``: the mountpoint."""

    def __init__(self, place: str, fakes: Fakes) -> None:
        self._place = place
        self._fakes = fakes

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """(what is typed, what does it)."""
        yield "ls", self.providers
        for fake in self._fakes.services:
            yield f"ls -l {fake.name}", partial(self.sessions, fake)
        weather, research, big = (_sample(name) for name in ("kz_weather_2026-11-20", "sess_research", "kz_big"))
        pending = [each for each in SAMPLES if each.state == "pending"]
        for sample in pending:
            yield f"ls {_name(sample)}", partial(self.not_ready, sample)
        for sample in SAMPLES:
            if sample.state == "gone":
                yield f"ls {_name(sample)}", partial(self.gone, sample)
        page = "pages/04/page-0100.md"
        yield f"cat {_name(big)}/{page}", partial(self.cat_little, big, page)
        yield f"cat {_name(big)}/{page} again", partial(self.cat_again, big, page)
        yield f"grep -rc ERROR {_name(research)}/logs", partial(self.grep, research, "logs")
        database = "data/readings.sqlite"
        yield f"Python's sqlite3 on {_name(weather)}/{database}", partial(self.query, weather, database)
        yield f"touch {_name(weather)}/new", partial(self.read_only, weather)
        for sample in SAMPLES:
            if sample.state in ("ready", "empty"):
                yield f"cp -r {_name(sample)}", partial(self.copy, sample)
        for sample in pending:
            yield f"ls {_name(sample)} until it is ready", partial(self.becomes_ready, sample)
            yield f"cp -r {_name(sample)}", partial(self.copy, sample)

    # -- what there is -------------------------------------------------------------------------------------------

    def providers(self) -> str:
        names = self._tool("ls").lines
        _expect(names, sorted(fake.name for fake in self._fakes.services))
        return " ".join(names)

    def sessions(self, fake: Fake) -> str:
        """Every session the service lists, for the price of the list."""
        self._fakes.clear_requests()
        lines = self._tool("ls", "-l", fake.name).lines[1:]  # the first is the total
        _expect(sorted(line.split()[-1] for line in lines), sorted(fake.sessions))
        requests, size = self._moved()
        if requests != 1:
            raise Differs(f"cost {requests} requests, {_size(size)}; one should do")
        return f"{len(lines)} sessions, for 1 request and no archive"

    def not_ready(self, sample: Sample) -> str:
        """Makes it ready a little later."""
        session = self._session(sample)
        session.ready = False
        try:
            return self._refused(NOT_READY, "ls", _name(sample)) + ", since it is not ready"
        finally:
            session.ready = True
            session.ready_in(BUILDING)

    def gone(self, sample: Sample) -> str:
        """It was listed; from now on the mount knows better."""
        told = self._refused("No such file or directory", "ls", _name(sample))
        if sample.id in self._tool("ls", sample.provider).lines:
            raise Differs(f"ls {sample.provider} still shows it")
        return f"{told}, and ls {sample.provider} shows it no more"

    # -- tools ---------------------------------------------------------------------------------------------------

    def cat_little(self, sample: Sample, path: str) -> str:
        """One small member of a large archive, where ranges are known."""
        self._fakes.clear_requests()
        told = self._cat(sample, path)
        requests, size = self._moved()
        if size >= WHOLE:
            raise Differs(f"fetched {_size(size)}, which is far more than it needs")
        whole = size_of(self._session(sample).content())
        return f"{told}, for {_count(requests, 'request')} and {_size(size)} of {_size(whole)}"

    def cat_again(self, sample: Sample, path: str) -> str:
        self._fakes.clear_requests()
        told = self._cat(sample, path)
        requests, _ = self._moved()
        if requests:
            raise Differs(f"cost {requests} requests though it was just read")
        return f"{told}, for no request"

    def _cat(self, sample: Sample, path: str) -> str:
        output = self._tool("cat", f"{_name(sample)}/{path}").output
        with self._archive(sample) as archive:
            if output != archive.read(path):
                raise Differs(f"printed {len(output):,} bytes that are not the archive's")
        return f"{len(output):,} bytes"

    def grep(self, sample: Sample, directory: str) -> str:
        found = self._tool("grep", "-rc", "ERROR", f"{_name(sample)}/{directory}").lines
        counts = {line.rpartition(":")[0].removeprefix(f"{_name(sample)}/"): line.rpartition(":")[2] for line in found}
        with self._archive(sample) as archive:
            paths = [path for path, each in archive.facts().items() if path.startswith(directory) and each.kind == "f"]
            wanted = {path: sum(b"ERROR" in line for line in archive.read(path).split(b"\n")) for path in paths}
        _expect(counts, {path: str(count) for path, count in wanted.items()})
        return f"{sum(wanted.values()):,} lines in {len(wanted)} files"

    def query(self, sample: Sample, path: str) -> str:
        """A question to the database in place, and to the one in the archive."""
        answer = self._tool(sys.executable, "-c", SQLITE, f"{self._place}/{_name(sample)}/{path}").output
        with self._archive(sample) as archive, tempfile.NamedTemporaryFile(prefix="mountfs-tour-") as unpacked:
            unpacked.write(archive.read(path))
            unpacked.flush()
            wanted = self._tool(sys.executable, "-c", SQLITE, unpacked.name).output
        if answer != wanted:
            raise Differs("the database in the mount answers otherwise than the one in the archive")
        return "answers as the archive's database does"

    def read_only(self, sample: Sample) -> str:
        return self._refused("Read-only file system", "touch", f"{_name(sample)}/new")

    # -- whole sessions ------------------------------------------------------------------------------------------

    def copy(self, sample: Sample) -> str:
        """Copies it out, and compares all there is to see of it."""
        name = _name(sample)
        self._fakes.clear_requests()
        with tempfile.TemporaryDirectory(prefix="mountfs-tour-") as scratch, self._archive(sample) as archive:
            copy = os.path.join(scratch, "copy")
            took = self._tool("cp", "-r", "--", name, copy).seconds
            requests, size = self._moved()
            found = parse_found(self._tool("find", name, *FIND).output)
            wrong = list(islice(differences(archive, found, copy), SHOWN + 1))
        if wrong:
            more = " …" if len(wrong) > SHOWN else ""
            raise Differs("; ".join(wrong[:SHOWN]) + more)
        fetched = f"{_count(requests, 'request')}, {_size(size)}" if requests else "already here"
        return f"{_contents(found)}, as in the archive ({fetched}, {took:.1f} s)"

    def becomes_ready(self, sample: Sample) -> str:
        until = time.monotonic() + READY_TIMEOUT
        tries = 1
        while (ended := self._try("ls", _name(sample))).status:
            if not ended.complaint.endswith(NOT_READY):
                raise Differs(ended.complaint)
            if time.monotonic() > until:
                raise Differs(f"{ended.complaint}, still after {READY_TIMEOUT:g} s")
            time.sleep(LOOK_AGAIN)
            tries += 1
        return f"ready, after {_count(tries, 'look')}"

    # -- underneath ----------------------------------------------------------------------------------------------

    def _try(self, *words: str) -> Ended:
        """Runs a tool in the mountpoint."""
        started = time.monotonic()
        process = self._start(words)
        try:
            output, errors = process.communicate(timeout=TOOL_TIMEOUT)
        except BaseException as error:
            # Not `with process`: one that waits for a hung daemon does not even die of SIGKILL.
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=ENDING_TIMEOUT)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Differs(f"{words[0]} did not end within {TOOL_TIMEOUT:g} s") from None
            raise
        said = errors.decode(errors="replace").strip().splitlines()
        if DEAD in errors.decode(errors="replace"):
            raise Unmounted(f"{said[-1]}: the daemon has ended")
        return Ended(process.returncode, output, said[-1] if said else "", time.monotonic() - started)

    def _start(self, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                words,
                cwd=self._place,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        except OSError as error:  # the tool is not there, or the mountpoint cannot be entered
            dead = error.errno == errno.ENOTCONN
            raise (Unmounted if dead else Differs)(f"{error.filename}: {error.strerror}") from None

    def _tool(self, *words: str) -> Ended:
        """Runs a tool that must succeed."""
        ended = self._try(*words)
        if ended.status or ended.complaint:
            raise Differs(f"{words[0]} ended with status {ended.status}: {ended.complaint}")
        return ended

    def _refused(self, reason: str, *words: str) -> str:
        """Runs a tool that must fail for this reason."""
        ended = self._try(*words)
        if not ended.status:
            raise Differs(f"it worked, but should have failed: {reason}")
        if not ended.complaint.endswith(reason):
            raise Differs(f"{ended.complaint}; it should be: {reason}")
        return reason

    def _session(self, sample: Sample) -> FakeSession:
        fake = next(each for each in self._fakes.services if each.name == sample.provider)
        return fake.sessions[sample.id]

    def _archive(self, sample: Sample) -> Archive:
        return Archive(self._session(sample).content(), sample.root)

    def _moved(self) -> tuple[int, int]:
        """Requests to all fakes since the last ``clear_requests``, and the bytes of their answers."""
        return sum(len(fake.requests) for fake in self._fakes.all), sum(fake.bytes_sent() for fake in self._fakes.all)


def _sample(name: str) -> Sample:
    return next(each for each in SAMPLES if each.id == name)


def _name(sample: Sample) -> str:
    return f"{sample.provider}/{sample.id}"


def _expect(seen: object, wanted: object) -> None:
    if seen != wanted:
        raise Differs(f"it is {seen}, should be {wanted}")


def _contents(found: dict[str, Facts]) -> str:
    files = [each for each in found.values() if each.kind == "f"]
    if not found:
        return "empty"
    return f"{_count(len(files), 'file')}, {_size(sum(each.size for each in files))}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    return f"{size / MIB:.1f} MiB" if size >= MIB else f"{-(-size // 1024):,} KiB"
