"""Every setting, once: its key, type, default, and why the default is what it is.

Each section of the file is a frozen model that refuses unknown keys. A field's ``description`` is its reason; the
commented example (``text.py``) and the error messages (``problems.py``) are made from these fields, so a new
setting is one field here and nothing elsewhere. Durations are seconds, sizes bytes; in the file both may carry units.

Concurrency: immutable values.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from mountfs.config.secret import Secret
from mountfs.config.units import parse_duration, parse_size

PROVIDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""A provider's name is a directory's name and stands in log lines and shell commands: no quoting needed."""
SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
"""The general rule of providers.md §0.6."""


@dataclass(frozen=True, slots=True)
class Place:
    """What paths in a file are relative to; handed to the validators as pydantic's context."""

    home: str
    directory: str


def expand(path: str, place: Place | None) -> str:
    """An absolute path: ``~`` is the home directory, a relative path is relative to the file it stands in."""
    if path == "~" or path.startswith("~/"):
        path = (place.home if place else os.path.expanduser("~")) + path[1:]
    elif path.startswith("~"):
        path = os.path.expanduser(path)
    return os.path.normpath(os.path.join(place.directory if place else os.getcwd(), path))


def _expanded(path: str, info: ValidationInfo) -> str:
    if not path or "\0" in path:
        raise ValueError("write a path")
    return expand(path, info.context if isinstance(info.context, Place) else None)


def _above_zero(value: float) -> float:
    if value <= 0:
        raise ValueError("must be above 0")
    return value


def is_loopback(host: str) -> bool:
    """Whether a URL's host names this machine without a name server being asked."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _base_url(url: str) -> str:
    # The URL is not repeated in a message: a user name or password may stand in it.
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise ValueError("not a URL; write https://host or https://host/path") from None
    if not host or parts.scheme not in ("https", "http") or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError("not a URL; write https://host or https://host/path")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("write scheme, host and path only; a key goes into api_key_env, api_key_file, …")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("http:// is accepted for a loopback address only, for the key would be sent in the clear")
    return url.rstrip("/")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


def _session_id(text: str) -> str:
    if not SESSION_ID.fullmatch(text):
        raise ValueError("not a session id; 1 to 128 letters, digits, '.', '_' and '-', a letter or digit first")
    return text


def _command(value: object) -> tuple[str, ...]:
    # A string is split as a shell would, and given to none.
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"not a command: {error}".lower()) from None
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
        raise ValueError('write a program and its arguments, such as ["pass", "show", "dari"]')
    return tuple(words)


def _variable(text: str) -> str:
    # The text is not repeated: it may be the key itself, put in the wrong place.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text, re.ASCII):
        raise ValueError('write the name of a variable, such as "DARI_API_KEY"')
    return text


def _credential(text: str) -> str:
    if not re.fullmatch(r"[^/\x00-\x20]+", text) or text in (".", ".."):
        raise ValueError("write the name of a credential, as in the unit's LoadCredential=, without a directory")
    return text


def _listen(text: str, info: ValidationInfo) -> str:
    """``HOST:PORT`` or ``unix:PATH`` with the path made absolute; empty stays empty."""
    if text.startswith("unix:"):
        return "unix:" + _expanded(text.removeprefix("unix:"), info)
    if not text:
        return text
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535 and host):
        raise ValueError('write "127.0.0.1:9464" or "unix:/path"')
    if not is_loopback(host.removeprefix("[").removesuffix("]")):
        raise ValueError("only a loopback address (127.0.0.1, [::1], localhost) is accepted")
    return text


Path = Annotated[str, AfterValidator(_expanded)]
Size = Annotated[int, BeforeValidator(parse_size)]
SizeAboveZero = Annotated[int, BeforeValidator(parse_size), AfterValidator(_above_zero)]
Seconds = Annotated[float, BeforeValidator(parse_duration)]
SecondsAboveZero = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_above_zero)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Listen = Annotated[str, AfterValidator(_listen)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Command = Annotated[tuple[str, ...], BeforeValidator(_command)]
Variable = Annotated[str, AfterValidator(_variable)]
Credential = Annotated[str, AfterValidator(_credential)]
SessionId = Annotated[str, AfterValidator(_session_id)]

_Item = TypeVar("_Item")
Array = Annotated[tuple[_Item, ...], Field(strict=False)]
"""A TOML array. Strict mode refuses lists for tuples, and our values are frozen."""


def setting(default: object, reason: str, *, ge: int | None = None) -> Any:
    """One key of the file. ``default`` is written as in the file, units and all; ``reason`` says why it is that."""
    return Field(default=default, description=reason, ge=ge)


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


class Cache(Section):
    """[cache]: what is kept on this machine."""

    dir: Path = setting("~/.cache/mountfs", "the disk cache; private to you (0700), deleting it loses only time")
    max_size: SizeAboveZero = setting(
        "10GiB", "of the disk cache, all providers together: some hundred sessions, and a small part of a laptop's disk"
    )
    min_free: Size = setting("1GiB", "and never fill the disk beyond this: other programs need some of it to work")
    memory: Size = setting("64MiB", "for small members and directories: enough for a grep over thousands of them")


class Freshness(Section):
    """[freshness]: how long an answer of a service is believed."""

    listing: Seconds = setting("30s", "a list of sessions: new ones show within half a minute, an ls costs no request")
    live: Seconds = setting("30s", "the files of a session that still runs")
    pending: Seconds = setting("5s", "that a session is not ready (409): people wait in front of this one")
    absent: Seconds = setting("60s", "that a session is absent (404)")
    empty: Seconds = setting("5s", "an empty archive: Browserbase syncs files up to 30 s after the end")
    failing: Seconds = setting("2s", "5xx, network, deadline: many lookups cost one request, and recovery shows")
    refused: Seconds = setting("30s", "400, 401, 403: asking again with the same key changes nothing")
    ready_wait: Seconds = setting("0s", "how long looking into a session that is not ready waits before EBUSY")


class Network(Section):
    """[network]: patience, and how much of the line is used."""

    connect_timeout: SecondsAboveZero = setting("5s", "for a connection, TLS included")
    lookup_timeout: SecondsAboveZero = setting(
        "5s", "of the one question an unlisted session id costs: lookups in a directory queue behind it"
    )
    read_timeout: SecondsAboveZero = setting("60s", "silence on one response")
    deadline: SecondsAboveZero = setting(
        "120s", "of one file-system request, retries included: Dari's own client gives an archive as long"
    )
    retries: int = setting(4, "after the first attempt; waits of 0.5, 1, 2 and 4 s ride out a service's restart", ge=0)
    max_connections: int = setting(16, "per provider, for transfers", ge=1)
    linger: Seconds = setting("10m", "a directory's transfer goes on this long with nobody waiting, while it moves")
    allow_private_archive_hosts: bool = setting(
        False, "whether an archive's URL may lead to a private address: only for services inside your network"
    )


class Limits(Section):
    """[limits]: what an archive may ask of this machine. Archives are written by strangers."""

    max_archive_size: SizeAboveZero = setting("50GiB", "of one archive")
    max_members: int = setting(5_000_000, "of one archive: about 1.5 GB of memory", ge=1)
    max_directory_size: SizeAboveZero = setting("1GiB", "of an archive's list of members, which is held in memory")
    max_member_size: SizeAboveZero = setting("100GiB", "of one file")
    max_ratio: int = setting(
        2000, "inflated : compressed of one member, above 1 MiB; deflate cannot exceed 1032 and is held to that", ge=1
    )


class Crawlers(Section):
    """[crawlers]: programs that index drives, and would download every session."""

    processes: Array[str] = setting(
        ("updatedb", "tracker-miner-f", "baloo_file", "tumblerd", "plocate"),
        "as in /proc/PID/comm; an uncached session answers them EACCES",
    )
    budget: int = setting(0, "newly fetched sessions each of them may cause", ge=0)


class Metrics(Section):
    """[metrics]: figures for Prometheus; needs the extra mountfs[metrics]."""

    listen: Listen = setting(
        "",
        'where they are served: "127.0.0.1:9464" or "unix:/path"; nowhere unless said, for a port is open to every '
        "user of the machine. Loopback only",
    )


class ProviderTable(Section):
    """[providers.NAME]: the keys every type of provider has. All others belong to the type."""

    type: str
    base_url: BaseUrl | None = None
    api_key: str | None = Field(default=None, repr=False)
    api_key_env: Variable | None = None
    api_key_file: Path | None = None
    api_key_command: Command | None = None
    api_key_credential: Credential | None = None
    sessions: Array[SessionId] = ()
    list: bool | None = None
    id_pattern: Pattern | None = None


class FileSections(Section):
    """The file without its providers."""

    mountpoint: Path | None = None
    cache: Cache = Field(default_factory=Cache)
    freshness: Freshness = Field(default_factory=Freshness)
    network: Network = Field(default_factory=Network)
    limits: Limits = Field(default_factory=Limits)
    crawlers: Crawlers = Field(default_factory=Crawlers)
    metrics: Metrics = Field(default_factory=Metrics)


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a provider's key comes from. ``kind``: a row of ``keys.SOURCES``; ``origin``: the setting that says so,
    with file and line where there is one, for messages."""

    kind: str
    value: str | tuple[str, ...] | Secret
    origin: str


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One provider as configured. ``base_url``, ``list`` and ``id_pattern`` are None where the file is silent: the
    provider has its own. ``extra``: the keys of its type, checked by its Options class. ``key``: filled by
    ``resolve_keys``; None means none is configured."""

    name: str
    type: str
    base_url: str | None = None
    key: Secret | None = None
    sessions: tuple[str, ...] = ()
    list: bool | None = None
    id_pattern: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    key_source: KeySource | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration. ``path``: the file it was read from, None where there is none."""

    mountpoint: str | None = None
    cache: Cache = field(default_factory=Cache)
    freshness: Freshness = field(default_factory=Freshness)
    network: Network = field(default_factory=Network)
    limits: Limits = field(default_factory=Limits)
    crawlers: Crawlers = field(default_factory=Crawlers)
    metrics: Metrics = field(default_factory=Metrics)
    providers: tuple[ProviderSettings, ...] = ()
    path: str | None = None


OptionsOf = Callable[[str], type[BaseModel]]
"""Provider type -> the model of its own keys. Raises ConfigError, naming the accepted types, for an unknown one."""
