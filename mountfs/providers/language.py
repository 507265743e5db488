"""The language of ``type = "http"``: what a configuration can say of a service of the usual shape (providers.md §5).

Each table is a frozen model; the words are the configuration's. ``{id}`` in a path, a query or a body stands for the
session's id. Pointers are JSON pointers (RFC 6901): "" is the whole answer, "/sessions" a field of it.

Concurrency: immutable values and pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

ID = "{id}"


def _pointer(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError('write a JSON pointer: "" or one that starts with "/"')
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or re.search(r"[\s#\x00-\x1f]", text):
        raise ValueError('write the path of a URL, which starts with "/"')
    return text


def _header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]*", text):
        raise ValueError("write the name of an HTTP header")
    return text


def _template(text: str) -> str:
    if text.replace("{key}", "", 1).count("{") or "{key}" not in text or not text.isprintable():
        raise ValueError('write the header\'s value with "{key}" in it once')
    return text


Pointer = Annotated[str, AfterValidator(_pointer)]
UrlPath = Annotated[str, AfterValidator(_path)]
Template = Annotated[str, AfterValidator(_template)]
HeaderName = Annotated[str, AfterValidator(_header)]
Words = Annotated[tuple[str, ...], Field(strict=False)]
Codes = Annotated[tuple[Annotated[int, Field(ge=100, le=499)], ...], Field(strict=False)]


class Table(BaseModel):
    """One table of the language."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Request(Table):
    """A request to the API."""

    path: UrlPath = Field(description='below base_url; "{id}" stands for the session\'s id')
    method: Literal["GET", "POST"] = Field(default="GET", description="a POST must be safe to repeat")
    query: dict[str, str] = Field(default_factory=dict, description='its values may hold "{id}"')
    body: dict[str, object] | None = Field(default=None, description="JSON of a POST")


class Archive(Request):
    """[providers.NAME.archive]: how a session's zip is had."""

    form: Literal["direct", "signed"] = Field(
        default="direct",
        description="direct: the answer is the zip, or redirects to it; signed: a JSON answer names it",
    )
    accept: str = Field(default="application/zip, application/octet-stream, */*", description="for the direct form")
    url: Pointer = Field(default="", description="signed: where the URL stands in the answer")
    state: Pointer | None = Field(default=None, description="signed: where a state stands, if a 200 may mean not ready")
    pending: Words = Field(default=(), description="states in which it is being built")
    absent: Words = Field(default=(), description="states in which there is none and never will be")
    failed: Words = Field(default=(), description="states in which building it failed")

    @model_validator(mode="after")
    def _complete(self) -> Archive:
        if ID not in f"{self.path} {self.query} {self.body}":
            raise ValueError('"{id}" must stand in path, query or body')
        if self.form == "signed" and not self.url:
            raise ValueError('a signed archive needs "url", a JSON pointer to the URL')
        if self.form == "direct" and (self.url or self.state is not None):
            raise ValueError('"url" and "state" are for form = "signed"')
        return self


class Paging(Table):
    """[providers.NAME.listing.paging]: how further pages are asked for. ``parameter`` is the query's; its next value is

    cursor: at ``next``, a pointer into the answer · page: one more than before · offset: the number of sessions so
    far · header: the value of the answer's header ``next_header``. An absent or empty next value, or an empty page,
    is the end; so is ``more_header`` with another value than true."""

    kind: Literal["cursor", "page", "offset", "header"] = Field(description="where the next value comes from")
    parameter: str = Field(description="of the query, which carries that value")
    next: Pointer = Field(default="", description="cursor: where the next one stands in the answer")
    first: int = Field(default=1, description="page: the first one's number")
    next_header: HeaderName = Field(default="", description="header: the answer's header that holds the value")
    more_header: HeaderName = Field(default="", description='a header of the answer that is "true" while more follows')

    @model_validator(mode="after")
    def _complete(self) -> Paging:
        if self.kind == "cursor" and not self.next:
            raise ValueError('kind = "cursor" needs "next", a JSON pointer to the next cursor')
        if self.kind == "header" and not self.next_header:
            raise ValueError('kind = "header" needs "next_header"')
        return self


class Facts(Table):
    """Which fields of a session's record hold what; the first that holds something wins."""

    id: Words = Field(default=("id",), description="the session's id")
    status: Words = Field(default=("status",), description="its status, for terminal")
    created: Words = Field(default=("created_at", "createdAt"), description="when it began")
    modified: Words = Field(default=("updated_at", "updatedAt"), description="when it changed last")
    ended: Words = Field(default=("ended_at", "endedAt"), description="when it ended: its files do not change any more")


class Listing(Request):
    """[providers.NAME.listing]: the service's list of sessions."""

    items: Pointer = Field(default="", description="where the array stands in the answer")
    paging: Paging | None = Field(default=None, description="how further pages are asked for; without: one page")


class One(Request):
    """[providers.NAME.one]: the question about one session."""

    record: Pointer = Field(default="", description="where the session's record stands in the answer")


class StatusCodes(Table):
    """[providers.NAME.status_codes]: what the API's refusals mean, beyond the usual."""

    not_ready: Codes = Field(default=(202, 409, 425), description="the archive is being made")
    absent: Codes = Field(default=(404, 410), description="there is no such session, or no archive of it")
    key_rejected: Codes = Field(default=(401,), description="the key is wrong")
    denied: Codes = Field(default=(402, 403), description="the key is right and may not")
    throttled: Codes = Field(default=(429,), description="too many requests: asked again later")


def fill(template: str, session_id: str) -> str:
    """A path with the session's id in it, percent-encoded."""
    return template.replace(ID, quote(session_id, safe=""))


def fill_value(value: object, session_id: str) -> object:
    """A query's or a body's value with the session's id in its strings, as it is."""
    if isinstance(value, str):
        return value.replace(ID, session_id)
    if isinstance(value, Mapping):
        return {name: fill_value(inner, session_id) for name, inner in value.items()}
    if isinstance(value, list):
        return [fill_value(inner, session_id) for inner in value]
    return value


def pick(data: object, pointer: str) -> object:
    """What a JSON pointer leads to, None where it leads nowhere."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(data, Mapping):
            data = data.get(name)
        elif isinstance(data, list) and name.isdecimal() and int(name) < len(data):
            data = data[int(name)]
        else:
            return None
    return data
