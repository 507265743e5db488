"""Every in-memory policy in one place: cachetools caches with sizes in bytes, and single flight.

*Policies.* ``memory_cache`` bounds bytes (small members, spare windows); ``beliefs`` bounds count and time. Their
clock is ``trio.current_time`` unless a test hands in another, so expiry needs no sleep under ``MockClock``.

*Single flight.* ``Flights.join(key, work)`` runs ``work`` once in the owner's nursery, however many tasks wait for its
outcome. No waiter is its leader: a cancelled one strands nobody. When the last waiter has left, the flight is cancelled
after ``linger`` seconds (0: at once); the next ``join`` before that takes it over.

Concurrency: used from the trio task thread only; no method awaits inside a change of state.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import trio
from cachetools import LRUCache, TTLCache

from mountfs.errors import MountfsError

T = TypeVar("T")


def memory_cache(max_bytes: int) -> LRUCache[Hashable, bytes]:
    """Least recently used goes first; a value larger than the whole cache raises ValueError, as cachetools has it."""
    return LRUCache(maxsize=max_bytes, getsizeof=len)


def beliefs(count: int, seconds: float, timer: Callable[[], float] = trio.current_time) -> TTLCache[Hashable, Any]:
    """What is believed for ``seconds``, at most ``count`` of it."""
    return TTLCache(maxsize=count, ttl=seconds, timer=timer)


@dataclass(eq=False, slots=True)
class _Flight(Generic[T]):
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    landed: trio.Event = field(default_factory=trio.Event)
    values: list[T] = field(default_factory=list)
    error: Exception | None = None
    waiters: int = 0

    def result(self) -> T:
        if isinstance(self.error, MountfsError):
            raise self.error.again() from self.error
        if self.error is not None:
            raise self.error
        return self.values[0]


class Flights:
    """Single flight by key. ``nursery`` outlives every flight."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._flying: dict[Hashable, _Flight[Any]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flying

    def __len__(self) -> int:
        return len(self._flying)

    def launch(self, key: Hashable, work: Callable[[], Awaitable[object]]) -> None:
        """Starts ``work`` with nobody waiting (a background refetch); nothing happens if it flies already."""
        if key not in self._flying:
            self._take_off(key, work)

    def cancel(self, key: Hashable) -> None:
        """Ends a flight; those who wait for it get an error."""
        if flight := self._flying.pop(key, None):
            flight.scope.cancel()

    async def join(self, key: Hashable, work: Callable[[], Awaitable[T]], *, linger: float = 0.0) -> T:
        """The outcome of ``work``, started now unless it is under way. Raises what ``work`` raised, as a copy."""
        flight: _Flight[T] | None = self._flying.get(key)
        if flight is None or flight.scope.cancel_called:  # its last waiter left, and its time has just run out
            flight = self._take_off(key, work)
        flight.waiters += 1
        flight.scope.deadline = math.inf
        try:
            await flight.landed.wait()
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.landed.is_set():
                flight.scope.deadline = trio.current_time() + linger
                if linger <= 0:
                    # A newcomer must not board a flight that is about to be cancelled.
                    self._flying.pop(key, None)
                    flight.scope.cancel()
        return flight.result()

    def _take_off(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> _Flight[T]:
        flight: _Flight[T] = _Flight()
        self._flying[key] = flight
        self._nursery.start_soon(self._fly, key, flight, work)
        return flight

    async def _fly(self, key: Hashable, flight: _Flight[T], work: Callable[[], Awaitable[T]]) -> None:
        try:
            with flight.scope:
                try:
                    flight.values.append(await work())
                except Exception as exc:  # noqa: BLE001 - handed to every waiter, who raises it into its own guard
                    flight.error = exc
        finally:
            if self._flying.get(key) is flight:
                del self._flying[key]
            if not flight.values and flight.error is None:
                flight.error = MountfsError("the work was stopped", advice="try again")
            flight.landed.set()
