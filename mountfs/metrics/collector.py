"""What is told to Prometheus. Every family is made at scrape time from statistics the parts keep anyway.

Labels are few and bounded: providers, HTTP statuses, kinds of request, errnos, states. Never a session, a path, a URL
or a program: a figure must tell nothing of what is read, and a thousand sessions must not become a thousand series.

*Where bytes come from*: ``mountfs_provider_received_bytes_total`` is what came over the network, bodies as they were
sent. ``mountfs_read_bytes_total`` is what programs were given, by ``source``: ``memory`` (a small member held in
memory), ``cache`` (on this disk, at once), ``waited`` (a transfer, inflating or a slow disk came first). What the
kernel has in its page cache is not asked of us, and in neither.

Concurrency: ``collect`` is synchronous, trio task thread; about 3 ms of a loaded daemon's time a scrape.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mountfs import errnos
from mountfs.metrics.figures import Figures
from mountfs.session import Sessions
from mountfs.tally import Tally

Labels = tuple[str, ...]
Rows = Iterable[tuple[Labels, float]]


class MountCollector(Collector):
    """``register`` it and ask the registry."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for part in PARTS:
            yield from part(self._figures)


def _counter(name: str, says: str, labels: Labels, rows: Rows) -> Metric:
    family = CounterMetricFamily(name, says, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _gauge(name: str, says: str, labels: Labels, rows: Rows) -> Metric:
    family = GaugeMetricFamily(name, says, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family


def _histogram(name: str, says: str, labels: Labels, rows: Iterable[tuple[Labels, Tally]]) -> Metric:
    family = HistogramMetricFamily(name, says, labels=labels)
    for values, tally in rows:
        family.add_metric(values, tally.cumulated(), sum_value=tally.seconds)
    return family


# -- the kernel's requests ---------------------------------------------------------------------------------------


def _operations(figures: Figures) -> Iterator[Metric]:
    counts = sorted(figures.filesystem.usage.operations.items())
    yield _counter(
        "mountfs_operations",
        "Requests of the kernel, by what they were answered",
        ("kind", "errno"),
        [row for kind, tally in counts for row in _outcomes(kind, tally)],
    )
    yield _histogram(
        "mountfs_operation_seconds",
        "How long a request of the kernel took",
        ("kind",),
        [((kind,), tally) for kind, tally in counts],
    )
    facts = figures.filesystem.statistics()
    yield _gauge(
        "mountfs_open_handles",
        "Open files and directories",
        ("type",),
        [(("file",), facts["open_files"]), (("directory",), facts["open_directories"])],
    )
    yield _gauge("mountfs_inodes", "Inodes the kernel knows", (), [((), facts["inodes"])])
    yield _gauge(
        "mountfs_requests_waiting",
        "Requests of the kernel that wait now",
        ("type",),
        [(("read",), facts["pending_reads"]), (("other",), facts["waiting"])],
    )


def _outcomes(kind: str, tally: Tally) -> Iterator[tuple[Labels, float]]:
    failures = sorted(tally.failures.items())
    yield (kind, "ok"), tally.count - sum(count for _, count in failures)
    for number, count in failures:
        yield (kind, errnos.NAMES.get(number) or errno.errorcode.get(number, str(number))), count


def _reading(figures: Figures) -> Iterator[Metric]:
    usage = figures.filesystem.usage
    yield _counter(
        "mountfs_read_bytes",
        "Bytes given to programs, by where they were",
        ("source",),
        [
            (("memory",), usage.bytes_in_memory),
            (("cache",), usage.bytes - usage.bytes_in_memory - usage.bytes_waited),
            (("waited",), usage.bytes_waited),
        ],
    )
    for name, total, waited in (
        ("reads", usage.reads, usage.reads_waited),
        ("opens", usage.opens, usage.opens_waited),
    ):
        rows = [(("no",), total - waited), (("yes",), waited)]
        yield _counter(f"mountfs_{name}", f"{name.capitalize()} by whether they had to wait", ("waited",), rows)


# -- the providers -----------------------------------------------------------------------------------------------


def _providers(figures: Figures) -> Iterator[Metric]:
    seen = [(sessions.name, sessions.around.provider.statistics()) for sessions in figures.filesystem.providers]
    yield _counter(
        "mountfs_provider_requests",
        "Requests to a service by HTTP status; none: without an answer",
        ("provider", "status"),
        [((name, str(status or "none")), n) for name, each in seen for status, n in sorted(each.requests.items())],
    )
    yield _histogram(
        "mountfs_provider_answer_seconds",
        "How long a service took to the first byte of an answer",
        ("provider", "status"),
        [((name, str(status)), tally) for name, each in seen for status, tally in sorted(each.answers.items())],
    )
    for make, key, says, read in PROVIDER_FIGURES:
        yield make(
            f"mountfs_provider_{key}", says, ("provider",), [((name,), float(read(each))) for name, each in seen]
        )


PROVIDER_FIGURES: tuple[tuple[Callable[[str, str, Labels, Rows], Metric], str, str, Callable[..., float]], ...] = (
    (_counter, "received_bytes", "Bytes of bodies that came over the network", lambda each: each.bytes_received),
    (_counter, "retries", "Attempts after the first", lambda each: each.retries),
    (_gauge, "transfers", "Transfers under way", lambda each: each.transfers),
    (_gauge, "waiting", "Requests that wait for a connection", lambda each: each.waiting),
    (
        _gauge,
        "unreachable",
        "1 while a service cannot be reached (its breaker is open)",
        lambda each: each.breaker_open,
    ),
    (
        _gauge,
        "last_error_timestamp_seconds",
        "When a request failed last; 0: never",
        lambda each: each.last_error_at or 0,
    ),
)


def _sessions(figures: Figures) -> Iterator[Metric]:
    providers: list[Sessions] = figures.filesystem.providers
    yield _gauge(
        "mountfs_sessions",
        "Sessions somebody looked at, by state",
        ("provider", "state"),
        [((each.name, state), count) for each in providers for state, count in sorted(each.states().items())],
    )
    yield _gauge(
        "mountfs_sessions_listed",
        "Sessions in the service's last good list",
        ("provider",),
        [((each.name,), each.listed_count) for each in providers],
    )


# -- this machine ------------------------------------------------------------------------------------------------


def _caches(figures: Figures) -> Iterator[Metric]:
    memory, most = figures.memory()
    evicted, evicted_bytes = figures.store.evictions
    rows = ((("disk",), figures.used), (("memory",), memory))
    yield _gauge("mountfs_cache_bytes", "Bytes in a cache", ("cache",), rows)
    rows = ((("disk",), figures.store.max_size), (("memory",), most))
    yield _gauge("mountfs_cache_max_bytes", "Bytes a cache may hold", ("cache",), rows)
    yield _counter(
        "mountfs_cache_evictions", "Snapshots and members that made room in the disk cache", (), [((), evicted)]
    )
    yield _counter("mountfs_cache_evicted_bytes", "Their bytes", (), [((), evicted_bytes)])


def _daemon(figures: Figures) -> Iterator[Metric]:
    yield _histogram(
        "mountfs_loop_delay_seconds",
        "How much too late the daemon's loop woke a sleeper, looked at twice a second",
        (),
        [((), figures.loop_delay)],
    )
    yield _gauge("mountfs_info", "Which mountfs this is", ("version",), [((figures.version,), 1)])


PARTS: tuple[Callable[[Figures], Iterator[Metric]], ...] = (
    _operations,
    _reading,
    _providers,
    _sessions,
    _caches,
    _daemon,
)


def exposition(figures: Figures) -> Callable[[str], tuple[bytes, str]]:
    """What answers a scrape: ``Accept`` -> (body, content type)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MountCollector(figures))
    ProcessCollector(registry=registry)

    def expose(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    return expose
