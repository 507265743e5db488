"""A trio loop in a thread of its own, started and stopped from sync code.

The body is an async function that says with ``task_status.started(value)`` when it is ready; leaving the context
cancels it and waits for the thread. So tests of any kind (sync, trio, subprocesses) talk to it over real sockets.

Concurrency: one thread a ``Loop``; ``call`` runs a function in the loop from outside.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Body(Protocol):
    """What runs in the loop until it is cancelled."""

    def __call__(self, *, task_status: trio.TaskStatus[None]) -> Awaitable[None]: ...


class Loop:
    """Start with ``start(body)``, end with ``stop()``; an error of the body is raised by whichever of them is next."""

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._ready = threading.Event()
        self._body: Body
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._error: BaseException | None = None

    def start(self, body: Body) -> None:
        """Returns when the body is ready; raises what kept it from that."""
        self._body = body
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def stop(self) -> None:
        """Cancels the body and waits for the thread to end."""
        if self._token is not None and self._nursery is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Runs an async function in the loop and waits for it, at most 10 s. Callable from any other thread, also one
        that runs a trio loop of its own (whose tasks then stand still for that moment)."""
        future: Future[T] = Future()

        async def run() -> None:
            try:
                future.set_result(await function())
            except trio.Cancelled:
                future.set_exception(RuntimeError("the loop was stopped"))
                raise
            except Exception as error:  # noqa: BLE001 (belongs to the caller, in the other thread)
                future.set_exception(error)

        if self._token is None or self._nursery is None:
            raise RuntimeError("the loop is not running")
        self._token.run_sync_soon(self._nursery.start_soon, run)
        return future.result(timeout=10)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 (handed to the other thread, which raises it)
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(lambda *, task_status: self._body(task_status=task_status))
            self._ready.set()
