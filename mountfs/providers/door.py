"""The plug-in door: a provider's ``type`` -> its class, through the entry-point group ``mountfs.providers``.

A plug-in is a package with one line in its metadata; the built-ins have the same line in ours. Names are read from
metadata alone: nothing is imported before its type is used. Going through the metadata of all packages takes 5-10 ms,
and is done once for as long as the path where they are looked for stays the same.

Concurrency: reads only.
"""

from __future__ import annotations

import difflib
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from pydantic import BaseModel

from mountfs.config.schema import ProviderSettings
from mountfs.errors import ConfigError
from mountfs.providers.base import Provider
from mountfs.transport import NetworkSettings, Surroundings

GROUP = "mountfs.providers"


def available() -> tuple[str, ...]:
    """The types that are installed, sorted."""
    return tuple(sorted({point.name for point in _points(tuple(sys.path))}))


def load(kind: str) -> type[Provider]:
    """The class of a type. Raises ConfigError for one that is not installed, or whose package cannot be imported."""
    return open_point(_find(kind))


def open_point(point: EntryPoint) -> type[Provider]:
    """The class behind one entry point. Raises ConfigError."""
    try:
        found: object = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the provider type {point.name!r} cannot be loaded: {error}",
            advice=f"reinstall the package that has {point.value}",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Provider)):
        raise ConfigError(f"{point.value} is not a provider", advice="it must derive from mountfs.providers.Provider")
    return found


def options_of(kind: str) -> type[BaseModel]:
    """The model of a type's own keys, for the configuration to check them by. Raises as ``load``."""
    return load(kind).Options


def make(settings: ProviderSettings, network: NetworkSettings, around: Surroundings | None = None) -> Provider:
    """A configured provider, not opened yet. Raises as ``load``, and for wrong keys of its type."""
    return load(settings.type).from_settings(settings, network, around)


@lru_cache(maxsize=1)
def _points(_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _find(kind: str) -> EntryPoint:
    for point in _points(tuple(sys.path)):
        if point.name == kind:
            return point
    names = available()
    near = difflib.get_close_matches(kind, names, 1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"unknown provider type {kind!r}", advice=f"{guess}accepted: {', '.join(names)}")
