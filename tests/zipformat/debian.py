"""Brings the archives that other projects test with: what Debian's source packages ship.

    python tests/zipformat/debian.py FOLDER      (`make zips`: into .zips, where test_real.py looks)

Each package is fetched by its name with ``apt-get source`` from Debian 12, with lists of its own, so that the machine's
apt is left as it is and no root is needed. Whatever begins like a zip is kept, under its package's name; libarchive
keeps its own uuencoded, Go some in base64. A package that cannot be had is told and left out.

Concurrency: one apt-get at a time.
"""

from __future__ import annotations

import base64
import binascii
import pathlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator

SOURCES = "deb-src http://deb.debian.org/debian bookworm main\n"
PACKAGES = (
    "ark",
    "busybox",
    "epubcheck",
    "file-roller",
    "fuse-zip",
    "golang-1.19",
    "haskell-zip-archive",
    "libarchive",
    "libarchive-zip-perl",
    "libcommons-compress-java",
    "libphysfs",
    "libzip",
    "node-yauzl",
    "python3.11",
    "ruby-zip",
    "rust-zip",
    "unar",
    "unzip",
    "zip4j",
    "zipios++",
    "zziplib",
)
LARGEST = 16 << 20
BEGINNINGS = (b"PK\3\4", b"PK\5\6", b"PK00PK\3\4")


def zips(tarball: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """(path, contents) of the archives in a source package."""
    with tarfile.open(tarball) as tar:
        for entry in tar:
            source = tar.extractfile(entry) if entry.isreg() and entry.size <= LARGEST else None
            if source is None:
                continue
            data = decoded(entry.name, source.read())
            if data.startswith(BEGINNINGS) or (data and entry.name.lower().endswith((".zip", ".zip.uu"))):
                yield entry.name, data


def decoded(name: str, data: bytes) -> bytes:
    """A file as it is meant."""
    try:
        if name.endswith(".uu"):
            lines = data.split(b"\n")
            first = next(number for number, line in enumerate(lines) if line.startswith(b"begin "))
            return b"".join(binascii.a2b_uu(line) for line in lines[first + 1 : lines.index(b"end", first)])
        if name.endswith(".base64"):
            return base64.b64decode(data)
    except (binascii.Error, ValueError, StopIteration):
        return b""
    return data


def main(folder: str) -> None:
    target = pathlib.Path(folder)
    with tempfile.TemporaryDirectory(prefix="apt-") as name:
        place = pathlib.Path(name)
        for each in ("lists/partial", "cache/archives/partial"):
            (place / each).mkdir(parents=True)
        (place / "sources.list").write_text(SOURCES)
        options = {
            "Dir::Etc::SourceList": place / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": place / "lists",
            "Dir::Cache": place / "cache",
        }
        apt = ["apt-get", "-qq", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
        subprocess.run([*apt, "update"], check=True, cwd=place)
        for package in PACKAGES:
            if (target / package).exists():
                continue
            work = place / package
            work.mkdir()
            got = subprocess.run(
                [*apt, "source", "--download-only", package], check=False, cwd=work, capture_output=True
            )
            tarballs = sorted(work.glob("*.orig*.tar.*z*"))
            if not tarballs:
                print(f"{package}: {got.stderr.decode(errors='replace').strip().splitlines()[-1:]}")
                continue
            count = 0
            for tarball in tarballs:
                if tarball.suffix != ".asc":
                    for path, data in zips(tarball):
                        keep = target / package / path.replace("/", "%")
                        keep = keep.with_name(keep.name[-200:] + ("" if keep.suffix == ".zip" else ".zip"))
                        keep.parent.mkdir(parents=True, exist_ok=True)
                        keep.write_bytes(data)
                        count += 1
            print(f"{package}: {count} archives", flush=True)
            for file in work.iterdir():
                file.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
