"""The daemon: builds the parts in one place, mounts, tells when it is ready, and goes cleanly.

Lifetime: one nursery for background work (transfers, refetches, housekeeping), inside it the providers' connections,
inside those the mount. SIGINT, SIGTERM and an unmount from outside end it the same way: the mount goes first, then
everything under way is cancelled, all under a deadline (``service.ending``).

Concurrency: ``serve`` runs trio and returns; the rest runs inside.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import resource
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import trio
from cachetools import LRUCache

from mountfs import heap
from mountfs.archive import Patience
from mountfs.caches import Flights, memory_cache
from mountfs.config import Config, resolve_keys, runtime_directory
from mountfs.config.mount import MountOptions
from mountfs.control import Mount, Verbs, describe, listen, socket_path
from mountfs.filesystem import Filesystem, note_request
from mountfs.metrics import Figures, serving
from mountfs.providers import Provider, make
from mountfs.service import Supervision
from mountfs.service.canary import feed
from mountfs.service.ending import Ending, detach
from mountfs.session import Session, Sessions, Snapshot, Surroundings, Workshop
from mountfs.store import Store
from mountfs.transport import Surroundings as TransportSurroundings
from mountfs.transport import from_environment
from mountfs.workers import Workers

log = logging.getLogger(__name__)

IDLE = 0.5
"""Seconds after its last use that an open snapshot may be closed where the cache needs the room."""
LONG_IDLE = 600.0
"""And where it does not: until then the next visitor finds it parsed."""
HOUSEKEEPING = 0.5  # the bound of the cache is held within a second
TRIM_EVERY = 10.0
"""Seconds between two returns of free memory: what a peak took is soon given back, for a thousandth of the time."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What was built, for who serves it."""

    filesystem: Filesystem
    store: Store
    workers: Workers
    memory: LRUCache[Hashable, bytes]

    def memory_use(self) -> tuple[int, int]:
        """(bytes in the memory cache, bytes it may hold)."""
        return int(self.memory.currsize), int(self.memory.maxsize)


@asynccontextmanager
async def tree(
    config: Config, *, offline: bool = False, network: TransportSurroundings | None = None
) -> AsyncIterator[Filesystem]:
    """The file system without a mount: for ``ls``, ``cat``, ``export``, and for tests. ``network``: what stands between
    us and the services; None: this machine's own."""
    async with parts(config, offline=offline, network=network) as built:
        yield built.filesystem


@asynccontextmanager
async def parts(
    config: Config, *, offline: bool = False, network: TransportSurroundings | None = None
) -> AsyncIterator[Parts]:
    """Everything, built and running; nothing is mounted."""
    store = Store(config.cache.dir, max_size=config.cache.max_size, min_free=config.cache.min_free)
    workers = Workers()
    await workers.disk(store.open)
    try:
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            memory = memory_cache(config.cache.memory)
            shop = Workshop(
                store=store,
                workers=workers,
                nursery=nursery,
                limits=config.limits,
                patience=Patience(config.network.deadline, config.freshness.failing, config.network.retries),
                memory=memory,
                wall=time.time,
                max_cache=config.cache.max_size,
                make_room=lambda: _let_go(store, shown, IDLE),
            )
            filesystem: list[Filesystem] = []
            shown: list[Sessions] = []

            def changed(session: Session, old: Snapshot, new: Snapshot) -> None:
                filesystem[0].nodes.changed(session, old, new)

            for provider in _providers(config, network or _network()):
                if not offline:
                    await stack.enter_async_context(provider)
                key = provider.service.auth.key
                account = await workers.disk(
                    store.account, provider.service.base_url, key.reveal() if key is not None else None
                )
                around = Surroundings(
                    provider, shop, Flights(nursery), config.freshness, config.network, account, offline, changed
                )
                sessions = Sessions(around)
                await sessions.load_cached()
                shown.append(sessions)
            filesystem.append(Filesystem(config, shown))
            nursery.start_soon(_housekeeping, store, workers, shown)
            yield Parts(filesystem[0], store, workers, memory)
    finally:
        with trio.CancelScope(shield=True):
            await workers.disk(store.close)


def _network() -> TransportSurroundings:
    """This machine's proxies and trust store: one context for all, since reading the store takes 25 ms."""
    return TransportSurroundings(proxies=from_environment(os.environ), tls=ssl.create_default_context())


def _providers(config: Config, network: TransportSurroundings) -> list[Provider]:
    settings = resolve_keys(config, os.environ).providers
    return [make(each, config.network, network) for each in settings]


def _let_go(store: Store, shown: list[Sessions], idle: float) -> bool:
    """Lets go of the snapshots nobody used for ``idle`` seconds, so that the cache may evict them."""
    found = bool([sessions for sessions in shown if sessions.rest(idle)])
    if found:
        store.search_again()
    return found


async def _housekeeping(store: Store, workers: Workers, shown: list[Sessions]) -> None:
    trimmed = trio.current_time()
    while True:
        await trio.sleep(HOUSEKEEPING)
        try:
            await workers.disk(store.maintain)
            tight = await workers.disk(lambda: store.tight or _few_files_left())
            _let_go(store, shown, IDLE if tight else LONG_IDLE)
            if trio.current_time() - trimmed >= TRIM_EVERY:
                await workers.disk(heap.trim)
                trimmed = trio.current_time()
        except Exception:  # background work has no handler's guard above it
            log.exception("keeping the cache in order failed inside mountfs")


def _few_files_left() -> bool:
    """Whether half of the descriptors this process may have are open: an idle session keeps one."""
    return 2 * len(os.listdir("/proc/self/fd")) > resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def serve(
    config: Config,
    mountpoint: str,
    options: MountOptions,
    ready: Callable[[], None],
    supervision: Supervision = Supervision(),  # noqa: B008 - immutable
) -> int:
    """Mounts and serves until told to stop; answers the exit status. ``ready`` is called when programs may go in.
    ``supervision``: who started us; with a ``device``, ``mountpoint`` is mounted already and only served."""
    _raise_file_limit()
    heap.settle()
    for handler in logging.getLogger().handlers:
        handler.addFilter(note_request)
    return trio.run(_serve, config, mountpoint, options, ready, supervision)


def _raise_file_limit() -> None:
    """A snapshot in use takes a descriptor, and the cache keeps what it reads from open up to a quarter of the limit
    (``store.descriptors``): with a soft limit of 1,024, some 700 sessions are the most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(
    config: Config, mountpoint: str, options: MountOptions, ready: Callable[[], None], supervision: Supervision
) -> int:
    from mountfs import fuse

    async with parts(config, offline=options.offline) as built:
        filesystem = built.filesystem
        ending = Ending(partial(detach, mountpoint) if supervision.device is None else _nothing)
        async with AsyncExitStack() as stack:
            stack.enter_context(ending.heeded())
            ended = await stack.enter_async_context(
                fuse.mounted(
                    filesystem,
                    mountpoint,
                    owner=fuse.Owner(
                        os.getuid() if options.uid is None else options.uid,
                        os.getgid() if options.gid is None else options.gid,
                        options.umask,
                        time.time_ns(),
                    ),
                    xattr=options.xattr,
                    express=options.express,
                    options=_fuse_options(options),
                    device=supervision.device,
                )
            )
            stack.callback(ending.begin)  # whatever ends the mount
            state = await trio.to_thread.run_sync(lambda: fuse.tune(mountpoint, express=options.express))
            if state["max_background"].isdigit():
                filesystem.waiting.max_background = int(state["max_background"])
            gc.collect()
            gc.freeze()  # what is built by now lives as long as the process: no collection looks at it again
            verbs = Verbs(
                filesystem,
                built.store,
                built.workers,
                Mount(mountpoint, version("mountfs"), time.time(), state, config.path),
                wall=time.time,
                memory=built.memory_use,
            )
            figures = Figures(filesystem, built.store, built.workers, built.memory_use, version("mountfs"))
            async with (
                listen(socket_path(runtime_directory(os.environ), mountpoint), verbs.table()),
                serving(config.metrics.listen, figures),
            ):
                ready()
                log.info("mounted on %s", mountpoint)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_until_signal, ending, nursery.cancel_scope)
                    nursery.start_soon(_describe_on_signal, filesystem)
                    nursery.start_soon(feed, supervision, mountpoint)
                    await ended.wait()
                    ending.begin()
                    nursery.cancel_scope.cancel()
                supervision.notifier.tell("STOPPING=1")
    log.info("unmounted %s", mountpoint)
    return 0


def _nothing() -> None:
    """What there is to detach where somebody else has mounted."""


async def _until_signal(ending: Ending, scope: trio.CancelScope) -> None:
    await ending.asked.wait()
    scope.cancel()
    log.info("%s: unmounting", signal.Signals(ending.told).name)


async def _describe_on_signal(filesystem: Filesystem) -> None:
    """SIGUSR1: what the daemon is doing, into its log. Before that, and also while its loop hangs, every thread's
    stack, to standard error (the log of a daemon in the background)."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        with contextlib.suppress(OSError, ValueError):  # no standard error
            faulthandler.register(signal.SIGUSR1, chain=True)
        async for _ in signals:
            log.warning("SIGUSR1: this is what the daemon is doing\n%s", describe(filesystem))


def _fuse_options(options: MountOptions) -> set[str]:
    words = {f"fsname={options.source}", "subtype=mountfs", "ro", "nosuid", "nodev", "noatime"}
    if options.allow_other:
        words.add("allow_other")
    if options.noexec:
        words.add("noexec")
    return words
