"""The man page and the completions: made from the verbs, and kept in docs/ as they are made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from running import Run

from mountfs.cli import VERBS, command, reference
from mountfs.cli.completion import SHELLS
from mountfs.cli.manual import files, page, write
from mountfs.config.mount import OWN

DOCS = Path(__file__).parents[2] / "docs"


def test_docs_are_current(tmp_path: Path) -> None:
    """What lies in docs/ is what the verbs give now; ``make docs`` writes it anew."""
    write(str(tmp_path))
    for name in files():
        assert (DOCS / name).read_text() == (tmp_path / name).read_text(), f"{name}: run make docs"


def test_every_verb_has_its_section() -> None:
    """Each verb, and each sub-verb, has a section with its options."""
    text = page()
    for verb in VERBS:
        assert f".SS mountfs {verb}".replace("-", "\\-") in text
    for words in (".SS mountfs cache verify", ".SS mountfs config init", "\\-\\-offline", "SIGUSR1", "DARI_API_KEY"):
        assert words in text


def test_every_mount_option_is_named() -> None:
    """... by ``mountfs mount --help``; fsname is for mount(8) alone."""
    told = command.get_command(click.Context(command), "mount")
    assert told is not None
    words = next(
        option.help or "" for option in told.params if isinstance(option, click.Option) and "-o" in option.opts
    )
    assert [name for name in OWN if not re.search(rf"\b{name}\b", words)] == ["fsname"]


def test_every_key_of_the_http_type_is_explained() -> None:
    """No row of the reference is empty, and each of the language's tables is there."""
    text = reference.page()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    for row in rows:
        assert len(row) == 3, row
        assert row[2].strip(" |"), row
    for name in ("archive", "listing", "listing.paging", "one", "fields", "status_codes"):
        assert f"## `[providers.NAME.{name}]`" in text


def test_roff(tmp_path: Path) -> None:
    """groff has nothing to complain about."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    write(str(tmp_path))
    words = ["groff", "-man", "-ww", "-Tutf8", str(tmp_path / "mountfs.1")]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ended.stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_completions(run: Run, shell: str, tmp_path: Path) -> None:
    """Each shell takes its script, where that shell is here."""
    told = run("completion", shell)
    assert told.status == 0
    assert "_MOUNTFS_COMPLETE" in told.out
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(told.out)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_completing(mountfs: Run) -> None:
    """What the script asks is answered: verbs, their options, their choices."""

    def completed(words: str, at: int) -> str:
        environ = {"_MOUNTFS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        return mountfs(environ=environ).out

    assert completed("mountfs st", 1) == "plain,status\n"
    assert "plain,--watch" in completed("mountfs status --w", 2)
    assert "plain,verify" in completed("mountfs cache ve", 2)
    assert "plain,debug" in completed("mountfs log-level d", 2)


def test_version_names_the_kernel(run: Run) -> None:
    """--version names pyfuse3, libfuse, the kernel and what of it we use."""
    told = run("--version").out
    assert f"Linux {os.uname().release}" in told
    assert "kernel features " in told
    assert "OFD locks" in told
