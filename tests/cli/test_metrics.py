"""``mountfs metrics``: figures for Prometheus, printed and served."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from mounts import until
from running import Run

RESEARCH = "dari/sess_research"


def test_printed(run: Run, mounted: Path, fakes: object) -> None:
    """Mounts, providers, requests by status, sessions by state; no key among them."""
    (mounted / RESEARCH / "README.md").read_bytes()
    told = run("metrics")
    assert told.status == 0, told.err
    for line in (
        f'mountfs_up{{mountpoint="{mounted}"}} 1.0',
        f'mountfs_reads_total{{mountpoint="{mounted}"}} 1.0',
        f'mountfs_provider_requests_total{{mountpoint="{mounted}",provider="dari",status="200"}}',
        f'mountfs_sessions{{mountpoint="{mounted}",provider="dari",state="terminal"}} 1.0',
        f'mountfs_provider_reachable{{mountpoint="{mounted}",provider="kaizen"}} 1.0',
        f'mountfs_waited_bytes_total{{mountpoint="{mounted}",program="',
    ):
        assert line in told.out
    assert fakes.dari.key not in told.out  # type: ignore[attr-defined]


def test_nothing_mounted(run: Run, alone: None) -> None:
    """Without a mount there is a page without rows."""
    told = run("metrics")
    assert told.status == 0
    assert "# TYPE mountfs_up gauge\n" in told.out
    assert "mountpoint" not in told.out


def test_served(mounted: Path) -> None:
    """A loopback port answers a scrape; a port that is taken is told in one line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [str(Path(sys.executable).with_name("mountfs")), "metrics", "--listen", port]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == f"http://127.0.0.1:{port}/metrics\n"
            page: list[str] = []

            def scraped() -> bool:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                    page.append(answer.read().decode())
                return str(mounted) in page[-1]

            until(scraped)
            second = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
            assert second.returncode == 1
            assert second.stderr == f"mountfs: port {port}: Address already in use; name another --listen PORT\n"
        finally:
            process.terminate()
