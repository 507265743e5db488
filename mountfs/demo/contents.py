"""What agents leave behind, made up: logs, JSON, CSV, Markdown, a PNG, a PDF, a SQLite file.

Everything is a function of its arguments: the same bytes at every call (a SQLite file: with the same SQLite). Pure
functions; the two large ones give pieces, so that nobody holds them whole.
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
import struct
import zlib
from collections.abc import Iterator

CITIES = ("Oslo", "Zürich", "São Paulo", "東京", "Reykjavík", "Nairobi", "Québec", "Kraków")
ACTIONS = ("navigate", "click", "type", "extract", "scroll", "download", "wait", "screenshot")
LEVELS = ("DEBUG", "INFO", "INFO", "INFO", "INFO", "WARNING", "ERROR")
PIECE = 1 << 20


def log(seed: int, lines: int) -> bytes:
    """An agent's log; about one line in seven is an ERROR, for grep."""
    rng = random.Random(seed)
    return "".join(_log_line(rng, number) for number in range(lines)).encode()


def _log_line(rng: random.Random, number: int) -> str:
    clock = f"{9 + number // 3600 % 12:02}:{number // 60 % 60:02}:{number % 60:02}.{rng.randrange(1000):03}"
    level, action, city = rng.choice(LEVELS), rng.choice(ACTIONS), rng.choice(CITIES)
    what = f"{action} https://example.org/{city.lower().replace(' ', '-')}/{rng.randrange(10_000)}"
    tail = "timed out, retrying" if level == "ERROR" else f"done in {rng.randrange(20, 4000)} ms"
    return f"2026-11-20 {clock} {level:<7} agent.step[{number:06}] {what}: {tail}\n"


def long_log(seed: int, size: int) -> Iterator[bytes]:
    """A log of exactly ``size`` bytes that deflates well, in pieces."""
    rng = random.Random(seed)
    left, number = size, 0
    stock = [log(seed + each, 2_000) for each in range(8)]
    while left > 0:
        piece = f"--- part {number} ---\n".encode() + rng.choice(stock)
        yield piece[:left]
        left -= len(piece)
        number += 1


def noise(seed: int, size: int) -> Iterator[bytes]:
    """``size`` bytes that do not deflate (a recording of the screen, say), in pieces."""
    rng = random.Random(seed)
    for start in range(0, size, PIECE):
        yield rng.randbytes(min(PIECE, size - start))


def steps(seed: int, count: int) -> bytes:
    """A trace of tool calls, one JSON object a line."""
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        step = {"step": number, "tool": rng.choice(ACTIONS), "ok": rng.random() > 0.1, "ms": rng.randrange(5, 9000)}
        lines.append(json.dumps(step | {"input": {"city": rng.choice(CITIES)}}, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


def summary(seed: int, title: str) -> bytes:
    """A result as JSON, indented, with letters beyond ASCII."""
    rng = random.Random(seed)
    cities = {city: {"mean": round(rng.uniform(-5, 30), 2), "days": rng.randrange(20, 31)} for city in CITIES}
    facts = {"title": title, "model": "demo-1", "finished": True, "cities": cities, "notes": None}
    return (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode()


def table(seed: int, rows: int) -> bytes:
    """Readings as CSV, CRLF line ends as RFC 4180 has them."""
    rng = random.Random(seed)
    lines = ["day,city,temperature,rain_mm,comment"]
    for number in range(rows):
        comment = '"windy, ""very"""' if number % 17 == 0 else ""
        values = f"{rng.uniform(-10, 35):.1f},{rng.expovariate(0.5):.1f},{comment}"
        lines.append(f"2026-10-{1 + number % 31:02},{rng.choice(CITIES)},{values}")
    return ("\r\n".join(lines) + "\r\n").encode()


def report(title: str, figure: str) -> bytes:
    """A report in Markdown."""
    rows = "\n".join(f"| {city} | {len(city)} |" for city in CITIES)
    return (
        f"# {title}\n\nThe agent visited {len(CITIES)} sites and wrote down what it found.\n\n![figure]({figure})\n\n"
        f"| site | pages |\n|---|---|\n{rows}\n\n- [x] collect\n- [x] clean\n- [ ] review — 見直し\n"
    ).encode()


def png(seed: int, width: int = 160, height: int = 96) -> bytes:
    """An RGB picture (PNG specification §5: signature, IHDR, IDAT, IEND)."""
    rng = random.Random(seed)
    phase = rng.uniform(0, math.tau)
    rows = bytearray()
    for y in range(height):
        rows.append(0)  # filter type: none
        for x in range(width):
            wave = int(127 + 120 * math.sin(x / 13 + y / 7 + phase))
            rows += bytes((wave, x * 255 // width, y * 255 // height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def pdf(text: str) -> bytes:
    """One page with one line of text and a cross-reference table that is right (ISO 32000 §7.5)."""
    shown = text.encode("latin-1", "replace").replace(b"\\", b"").replace(b"(", b"").replace(b")", b"")
    stream = b"BT /F1 18 Tf 72 720 Td (" + shown + b") Tj ET"
    fonts = b"<< /Font << /F1 5 0 R >> >>"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources %s >>" % fonts,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    made = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, each in enumerate(objects, 1):
        offsets.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    made += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(made)


def database(seed: int, rows: int) -> bytes:
    """A SQLite file with a table and an index."""
    rng = random.Random(seed)
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE reading (id INTEGER PRIMARY KEY, city TEXT NOT NULL, temperature REAL)")
        connection.execute("CREATE INDEX reading_city ON reading (city)")
        values = [(number, rng.choice(CITIES), round(rng.uniform(-10, 35), 2)) for number in range(rows)]
        connection.executemany("INSERT INTO reading VALUES (?, ?, ?)", values)
        connection.commit()
        return connection.serialize()
    finally:
        connection.close()
