"""Settings: a TOML file or the environment in, one frozen Config out, read once at the edge.

The map: ``load`` finds and reads the file, ``resolve_keys`` fetches the keys, ``require_providers`` refuses a
configuration that mounts nothing, ``show`` writes it back with secrets masked. ``schema`` holds every key with its
default and its reason; ``units`` reads sizes and durations; ``positions`` and ``problems`` make messages with file
and line; ``files`` decides which files are to be trusted; ``keys`` knows where keys come from; ``mount`` reads
``-o`` words; ``places`` knows the runtime and state directories.

Concurrency: blocking functions for the time before the loop starts; all values are immutable.
"""

from __future__ import annotations

from mountfs.config.keys import resolve_key, resolve_keys
from mountfs.config.load import KEY_VARIABLES, find, load, require_providers
from mountfs.config.mount import MountOptions, mount_words, parse_mount_words
from mountfs.config.places import mount_name, runtime_directory, runtime_places, state_directory
from mountfs.config.schema import (
    Cache,
    Config,
    Crawlers,
    Freshness,
    KeySource,
    Limits,
    Metrics,
    Network,
    OptionsOf,
    ProviderSettings,
)
from mountfs.config.secret import Secret
from mountfs.config.text import EXAMPLE, show
from mountfs.config.units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "EXAMPLE",
    "KEY_VARIABLES",
    "Cache",
    "Config",
    "Crawlers",
    "Freshness",
    "KeySource",
    "Limits",
    "Metrics",
    "MountOptions",
    "Network",
    "OptionsOf",
    "ProviderSettings",
    "Secret",
    "find",
    "format_duration",
    "format_size",
    "load",
    "mount_name",
    "mount_words",
    "parse_duration",
    "parse_mount_words",
    "parse_size",
    "require_providers",
    "resolve_key",
    "resolve_keys",
    "runtime_directory",
    "runtime_places",
    "show",
    "state_directory",
]
