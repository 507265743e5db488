"""The configuration as text: the effective one with secrets masked, and the commented example.

Both are made from the models in ``schema.py``, so they name every setting and its reason without being told of it.

Concurrency: pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from types import UnionType
from typing import Any

from pydantic.fields import FieldInfo

from mountfs.config.schema import (
    Config,
    FileSections,
    KeySource,
    ProviderSettings,
    Section,
)
from mountfs.config.secret import MASK, Secret
from mountfs.config.units import format_duration, format_size, parse_duration, parse_size

SECRET_LIKE = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)

SECTIONS: dict[str, type[Section]] = {
    name: known.annotation
    for name, known in FileSections.model_fields.items()
    if isinstance(known.annotation, type) and issubclass(known.annotation, Section)
}


def show(config: Config) -> str:
    """The effective configuration as TOML that ``load`` accepts, keys masked."""
    lines = [f"# read from {config.path}" if config.path else "# no file was found; made from the environment"]
    if config.mountpoint:
        lines.append(f"mountpoint = {toml(config.mountpoint)}")
    for provider in config.providers:
        lines += ["", *_provider(provider)]
    for name, model in SECTIONS.items():
        section = getattr(config, name)
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_with_unit(known, getattr(section, key))}" for key, known in model.model_fields.items()]
    return "\n".join(lines) + "\n"


def _provider(provider: ProviderSettings) -> Iterator[str]:
    yield f"[providers.{_key(provider.name)}]"
    yield f"type = {toml(provider.type)}"
    source = provider.key_source
    if source is not None:
        yield f"{source.kind} = {_key_value(source)}"
    if provider.base_url is not None:
        yield f"base_url = {toml(provider.base_url)}"
    yield f"sessions = {toml(provider.sessions)}"
    if provider.list is not None:
        yield f"list = {toml(provider.list)}"
    if provider.id_pattern is not None:
        yield f"id_pattern = {toml(provider.id_pattern)}"
    for key, value in provider.extra.items():
        yield f"{_key(key)} = {toml(_masked(key, value))}"


def _key_value(source: KeySource) -> str:
    # A command may have a password among its words (`--password x`), so only its program is shown.
    if isinstance(source.value, tuple):
        return toml([source.value[0], *([MASK] if len(source.value) > 1 else [])])
    return toml(source.value)


def _with_unit(known: FieldInfo, value: object) -> str:
    """A value in the unit its field is read with."""
    readers = [getattr(each, "func", None) for each in known.metadata]
    if parse_size in readers and isinstance(value, int):
        return toml(format_size(value))
    if parse_duration in readers and isinstance(value, float):
        return toml(format_duration(value))
    return toml(value)


def _masked(key: str, value: object) -> object:
    """A plug-in's own keys may hold a secret; we can only go by their names."""
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), item) for inner, item in value.items()}
    return MASK if SECRET_LIKE.search(key) else value


def toml(value: object) -> str:
    """One value as TOML, on one line. A Secret is its mask. Raises TypeError for what TOML has not."""
    for types, write in _WRITERS:
        if isinstance(value, types):
            return write(value)
    raise TypeError(f"TOML has no {type(value).__name__}")


def _string(value: object) -> str:
    # JSON's escapes are a subset of TOML's basic strings, once DEL is escaped too.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")


_WRITERS: tuple[tuple[type | UnionType, Callable[[Any], str]], ...] = (
    (bool, lambda value: "true" if value else "false"),
    (int | float, str),
    (str | Secret, _string),
    (list | tuple, lambda value: f"[{', '.join(toml(item) for item in value)}]"),
    (Mapping, lambda value: f"{{ {', '.join(f'{_key(str(key))} = {toml(item)}' for key, item in value.items())} }}"),
    (datetime | date | time, lambda value: str(value.isoformat())),
)
"""The first row that fits is taken: bool is an int too."""


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else toml(name)


_HEAD = """\
# mountfs, see mountfs(1). A provider and its key are all it takes; what is commented out shows the default.
# Sizes are bytes, or carry KiB, MiB, GiB; times are seconds, or carry ms, s, m, h, d.

# mountpoint = "~/sessions"                   # so that `mountfs mount` needs no argument

# One table a provider; the table's name is the name of its directory.

# [providers.dari]
# type = "dari"                               # kaizen, dari, browserbase, http, or an installed plug-in
# api_key_env = "DARI_API_KEY"                # the variable that holds the key; or one of:
# api_key_file = "~/.config/mountfs/dari.key" #   a file only you can read (chmod 600)
# api_key_command = ["pass", "show", "dari"]  #   a program that prints it
# api_key_credential = "dari"                 #   a systemd credential (LoadCredential=)
# base_url = "https://api.dari.dev"           # http:// only to a loopback address
# sessions = ["sess_123"]                     # shown even where the service does not list them
# list = true                                 # ask the service for its sessions
# id_pattern = "sess_.*"                      # which unlisted names are worth a question
# paths = ["reports", "logs"]                 # dari: fetch these directories only

# [providers.kaizen]
# type = "kaizen"
# api_key_env = "KAIZEN_API_KEY"
# sessions = ["3f2a"]                         # Kaizen lists no sessions, so name yours; any other can be entered
# list = false                                # true: take them from the list of executions

# [providers.browserbase]
# type = "browserbase"
# api_key_env = "BROWSERBASE_API_KEY"
# files = "zip"                               # "zip", "api" (a request a file), or "auto"
# clean_names = false                         # true: sample-1719265797164.pdf is shown as sample.pdf
"""


def _example() -> str:
    lines = [_HEAD.rstrip("\n")]
    for name, model in SECTIONS.items():
        lines += ["", *_comment((model.__doc__ or "").split(": ", 1)[-1]), f"[{name}]"]
        for key, known in model.model_fields.items():
            lines += [*_comment(known.description or ""), f"# {key} = {toml(known.default)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {text}"] if text else []


EXAMPLE: str = _example()
"""What ``mountfs config init`` writes: valid as it stands, and every setting in it."""
