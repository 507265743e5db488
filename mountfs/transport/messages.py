"""What is asked of a transport and what it answers: plain values, no I/O.

A *question* is put to the API's own origin, carries the key and is answered by a small body (JSON). A *target* is
archive bytes: at the API (``authorised``) or at an archive host that must never see the key. A *want* is the part of
the archive that is wanted. Nothing here shows a key, a URL's path or a body in its repr.

Concurrency: immutable values (``Answer.data`` is shared and nobody changes it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx

from mountfs.config.secret import Secret
from mountfs.errors import BadAnswer, ServiceError, ServiceFailed
from mountfs.model import Span

JSON_LIMIT = 32 << 20
"""Bytes of a JSON answer: 32 MiB are some 50,000 sessions of Browserbase, and cost about 200 MiB once parsed."""


class Suffix(NamedTuple):
    """The last ``size`` bytes, or all there are (RFC 9110 §14.1.2)."""

    size: int


Want = Span | Suffix


class Origin(NamedTuple):
    """Scheme, host and port: what credentials belong to (RFC 6454)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS.get(self.scheme) else f":{self.port}")


PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx.URL) -> Origin:
    """The origin of an absolute URL, read by the parser that will connect to it: two parsers could disagree on the
    host. ``ValueError`` for anything that is not http or https with a host."""
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    if url.scheme not in PORTS or not host:
        raise ValueError("not an http or https URL with a host")
    return Origin(url.scheme, host, url.port or PORTS[url.scheme])


@dataclass(frozen=True, slots=True)
class Auth:
    """The one header that carries the key: ``template`` holds ``{key}``. ``key`` None: no header is sent."""

    header: str
    template: str
    key: Secret | None = None

    def headers(self) -> dict[str, str]:
        """The header as sent, or none."""
        return {} if self.key is None else {self.header: self.template.format(key=self.key.reveal())}


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the API that reads something. ``path``: percent-encoded, appended to the base URL.
    ``what``: the subject of error messages ("session s1"). ``too_large`` is raised for a body over ``limit`` bytes.
    """

    path: str
    what: str
    method: str = "GET"
    query: tuple[tuple[str, str], ...] = ()
    json: object = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    limit: int = JSON_LIMIT
    too_large: type[ServiceError] = BadAnswer


@dataclass(frozen=True, slots=True)
class Target:
    """Where archive bytes lie. ``authorised``: ``url`` belongs to the API and gets the key, there and nowhere else."""

    url: str = field(repr=False)
    what: str
    authorised: bool = False
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer that is no archive. ``headers`` in lower case. ``data``: the parsed JSON, None where it is none.
    ``text``: what the service says is wrong, scrubbed, ≤ 200 characters, for messages; empty for a success."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    data: object = field(default=None, repr=False)
    text: str = ""


class Refused(ServiceFailed):
    """Archive bytes were refused by status (4xx). ``answer``: what was said. ``archive_host``: whether another host
    than the API said it. ``ranged``: whether a part was asked for."""

    def __init__(self, message: str, *, answer: Answer, archive_host: bool, ranged: bool) -> None:
        super().__init__(message, status=answer.status)
        self.answer = answer
        self.archive_host = archive_host
        self.ranged = ranged


class RangeRefused(ServiceFailed):
    """416, or a part came in a form that cannot be used. ``total``: the archive's length where the answer gave it."""

    def __init__(self, message: str, *, status: int | None, total: int | None = None) -> None:
        super().__init__(message, status=status)
        self.total = total


class NotModified(Exception):
    """304: the archive is still the one that ``if_none_match`` names. An outcome, not a failure."""
