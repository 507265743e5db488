"""overlayfs on top of a session, as containers and build tools do."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mounts import Samples, needs_fuse, needs_root, sh

pytestmark = [*needs_fuse, needs_root]


def test_overlay(samples: Samples, tmp_path: Path) -> None:
    """With a session as ``lowerdir``, files are read, changed and removed in the overlay; the session stays as it
    is."""
    lower = samples.place / "dari" / "sess_research"
    base = tmp_path / "scratch"
    base.mkdir()
    sh("mount", "-t", "tmpfs", "tmpfs", base)
    try:
        for name in ("upper", "work", "merged"):
            (base / name).mkdir()
        merged = base / "merged"
        options = f"lowerdir={lower},upperdir={base / 'upper'},workdir={base / 'work'}"
        sh("mount", "-t", "overlay", "overlay", "-o", options, merged)
        try:
            sh("diff", "-r", "--no-dereference", lower, merged)
            with (merged / "README.md").open("a") as file:
                file.write("changed\n")
            (merged / "data" / "summary.json").unlink()
            (merged / "new.txt").write_text("new")
            assert (merged / "README.md").read_text() == (lower / "README.md").read_text() + "changed\n"
            assert sh("ls", merged / "data").stdout.split() == ["readings.csv", "readings.sqlite"]
            assert (lower / "data" / "summary.json").exists()
        finally:
            subprocess.run(["umount", str(merged)], check=True)
    finally:
        subprocess.run(["umount", str(base)], check=True)
