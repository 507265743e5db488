"""Coverage-guided fuzzing of the zip floor by atheris: seconds in ``make test``, ``FUZZ_SECONDS`` in ``make fuzz``."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
from zips import COMPRESSORS, DIRECTORY, EMPTY, LINK, Part, archive, extended_time, unicode_path, zip64

SECONDS = int(os.environ.get("FUZZ_SECONDS", "5"))
TEXT = b"some text that compresses, some text that compresses\n" * 4
SENTINEL = 2**32 - 1

ARCHIVES = (
    EMPTY,
    archive(Part("a", TEXT, method=8), Part("d/", mode=DIRECTORY), Part("d/l", b"../a", mode=LINK), comment=b"c"),
    archive(
        Part("a", b"alpha", size=SENTINEL, compressed_size=SENTINEL, offset=SENTINEL, extra=zip64(5, 5, 0)),
        Part("a/b", b"x", extra=extended_time(1), local_zeroed=True),
        end64=True,
        prefix=b"#!",
    ),
    archive(Part(b"caf\x82", b"x", host=0, flags=0, extra=unicode_path(b"caf\x82", b"caf\xc3\xa9")), junk=b"\n"),
    archive(*(Part(f"m{method}", TEXT, method=method) for method in COMPRESSORS), signature=b"s"),
)


@pytest.mark.parametrize("target", ["directory", "member"])
def test_nothing_but_our_errors(target: str, tmp_path: pathlib.Path) -> None:
    """No input found makes the parser, the tree or a decoder fail otherwise, hang or take 512 MiB."""
    pytest.importorskip("atheris", reason="atheris has no wheel for this machine")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    if target == "directory":
        seeds = [b"\x40" + data for data in ARCHIVES]
    else:
        seeds = [
            bytes((number, len(TEXT), 0, 20)) + compress(TEXT)
            for number, (_, compress) in enumerate(sorted(COMPRESSORS.items()))
        ]
    for number, seed in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    run = subprocess.run(
        [
            # The shell forks: libFuzzer takes its memory from the rusage, which a process inherits from its parent.
            *("sh", "-c", '"$@"; exit $?', "sh", sys.executable),
            str(pathlib.Path(__file__).parent),
            target,
            str(corpus),
            f"-max_total_time={SECONDS}",
            "-timeout=20",
            "-rss_limit_mb=512",
            "-max_len=4096",
            "-print_final_stats=1",
            f"-artifact_prefix={tmp_path}/",
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    executions = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    assert executions is not None
    print(f"{target}: {executions[1]} executions in {SECONDS} s")
    assert int(executions[1]) > len(seeds)
