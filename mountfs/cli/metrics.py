"""``mountfs metrics``: the running mounts' figures for Prometheus, printed once (node_exporter's textfile collector) or
served on a loopback port.

The daemons are asked on their sockets when the page is asked for; a mount that does not answer shows as not up. A
metric is a row of MOUNT, PROVIDER or PROGRAM.

Concurrency: prometheus_client serves from threads of its own; each asks the sockets for itself.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mountfs.cli.common import common_options
from mountfs.cli.status import Told, look
from mountfs.errors import ConfigError, MountfsError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Row = dict[str, Any]


class Figure(NamedTuple):
    """One metric without labels of its own. ``counts``: it only grows."""

    name: str
    help: str
    value: Callable[[Row], float | None]
    counts: bool = False


MOUNT = (
    Figure("uptime_seconds", "Seconds since the mount", lambda row: row["uptime"]),
    Figure("reads", "Reads answered", lambda row: row["filesystem"]["reads"], counts=True),
    Figure("reads_waited", "Reads that were not at hand", lambda row: row["filesystem"]["reads_waited"], counts=True),
    Figure("read_bytes", "Bytes given to readers", lambda row: row["filesystem"]["bytes"], counts=True),
    Figure("opens", "Files opened", lambda row: row["filesystem"]["opens"], counts=True),
    Figure("opens_waited", "Opens that were not at hand", lambda row: row["filesystem"]["opens_waited"], counts=True),
    Figure("open_files", "File handles now", lambda row: row["filesystem"]["open_files"]),
    Figure("open_directories", "Directory handles now", lambda row: row["filesystem"]["open_directories"]),
    Figure("inodes", "Inodes the kernel knows now", lambda row: row["filesystem"]["inodes"]),
    Figure(
        "waiting_requests",
        "Requests that wait now",
        lambda row: row["filesystem"]["waiting"] + row["filesystem"]["pending_reads"],
    ),
    Figure("cache_bytes", "Bytes of the disk cache", lambda row: row["cache"]["used"]),
    Figure("cache_max_bytes", "The disk cache's bound", lambda row: row["cache"]["max_size"]),
    Figure("memory_bytes", "Bytes of the memory cache", lambda row: row["memory"]["used"]),
    Figure("memory_max_bytes", "The memory cache's bound", lambda row: row["memory"]["max"]),
)
PROVIDER = (
    Figure("received_bytes", "Bytes received from the service", lambda row: row["bytes"], counts=True),
    Figure("retries", "Attempts repeated", lambda row: row["retries"], counts=True),
    Figure("latency_seconds", "Mean time to the first byte", lambda row: row["latency"]),
    Figure("transfers", "Transfers under way", lambda row: row["transfers"]),
    Figure("queued", "Requests waiting for a connection", lambda row: row["waiting"]),
    Figure("reachable", "Whether the breaker is closed", lambda row: float(not row["breaker_open"])),
    Figure("listing_stale", "Whether an old list is shown", lambda row: float(row["listing_stale"])),
)


@click.command()
@click.option(
    "--listen", metavar="PORT", type=click.IntRange(1, 65535), help="Serve on this loopback port until Ctrl-C."
)
@common_options
def command(listen: int | None) -> None:
    """Print the running mounts' figures for Prometheus, or serve them on a loopback port."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    except ImportError:
        raise MountfsError("this needs prometheus-client", advice="run: pip install 'mountfs[metrics]'") from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    if listen is None:
        click.echo(generate_latest(registry), nl=False)
        return
    try:
        start_http_server(listen, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise ConfigError(f"port {listen}: {error.strerror}", advice="name another --listen PORT") from None
    click.echo(f"http://127.0.0.1:{listen}/metrics", err=True)
    threading.Event().wait()


class Collector:
    """Asks the mounts whenever the page is asked for."""

    def __init__(self, mounts: Callable[[], list[Told]] = lambda: look(None)) -> None:
        self._look = mounts

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        told = self._look()
        up = GaugeMetricFamily("mountfs_up", "Whether the mount's daemon answers", labels=["mountpoint"])
        for each in told:
            up.add_metric([each.mountpoint], float(each.answer is not None))
        yield up
        answers = [each.answer for each in told if each.answer is not None]
        yield from _metrics("mountfs", MOUNT, [([row["mountpoint"]], row) for row in answers], ["mountpoint"])
        providers = [([row["mountpoint"], each["name"]], each) for row in answers for each in row["providers"]]
        labels = ["mountpoint", "provider"]
        yield from _metrics("mountfs_provider", PROVIDER, providers, labels)
        requests = [
            ([*where, status], float(count)) for where, row in providers for status, count in row["requests"].items()
        ]
        yield _metric(
            "mountfs_provider_requests", "Requests by HTTP status; 0: no answer", [*labels, "status"], requests
        )
        states = [
            ([row["mountpoint"], provider, state], float(count))
            for row in answers
            for (provider, state), count in Counter((s["provider"], s["state"]) for s in row["sessions"]).items()
        ]
        yield _metric("mountfs_sessions", "Sessions looked at", [*labels, "state"], states, counts=False)
        programs = [
            ([row["mountpoint"], each["program"]], float(each["bytes"])) for row in answers for each in row["programs"]
        ]
        says = "Bytes a program waited for"
        yield _metric("mountfs_waited_bytes", says, ["mountpoint", "program"], programs)


def _metrics(
    prefix: str, figures: Sequence[Figure], rows: Sequence[tuple[list[str], Row]], labels: list[str]
) -> Iterator[Metric]:
    for figure in figures:
        values = [(where, value) for where, row in rows if (value := figure.value(row)) is not None]
        yield _metric(f"{prefix}_{figure.name}", figure.help, labels, values, counts=figure.counts)


def _metric(
    name: str, says: str, labels: list[str], values: Iterable[tuple[list[str], float]], *, counts: bool = True
) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    metric = (CounterMetricFamily if counts else GaugeMetricFamily)(name, says, labels=labels)
    for where, value in values:
        metric.add_metric(where, value)
    return metric
