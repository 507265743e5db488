"""What every provider is: which sessions exist, and where a session's content lies.

A provider is one class in one file, registered under the entry-point group ``mountfs.providers``. It says

    type, base_url, auth, error_fields      who the service is            (class attributes)
    Options                                 its own configuration keys    (a frozen pydantic model)
    sessions() session() zip_source()       its three questions           (methods)

and inherits the rest: ids, keys, the mapping of statuses to errors, its transport. The layers above see ``ZipSource``
and ``FileSource`` alone and never ask which service it is.

Concurrency: tasks on one trio loop share a provider; it keeps no state but what its transport and sources keep.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import trio
from pydantic import BaseModel, ConfigDict, ValidationError

from mountfs.config.schema import ProviderSettings
from mountfs.errors import (
    Absent,
    AccessDenied,
    BadAnswer,
    Busy,
    ConfigError,
    KeyRejected,
    NoKey,
    NotReady,
    RequestRefused,
    ServiceError,
    ServiceFailed,
)
from mountfs.model import SessionInfo, Shape
from mountfs.providers.names import SESSION_ID, is_probe
from mountfs.providers.reading import Fields, Record, sessions_of
from mountfs.providers.sources import FileSource, Locate, Location, ZipSource
from mountfs.transport import Answer, Auth, Body, NetworkSettings, Service, Statistics, Surroundings, Transport
from mountfs.transport.retries import retry_after

__all__ = ["STATUSES", "Body", "FileSource", "Meaning", "Options", "Provider", "ZipSource"]


class Options(BaseModel):
    """A type's own configuration keys: none. Each provider that has some derives its own model."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


OptionsModel = type[BaseModel]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a status of the API means: an error and what to do about it. ``{name}`` is the provider's name."""

    error: type[ServiceError]
    advice: str = ""


READ_IN_THREAD = 200
"""Records of a list above which reading them leaves the loop."""
READY_ADVICE = "not ready yet: look again later, or set ready_wait under [freshness]"
KEY_ADVICE = "check the key: {source}"
STATUSES: Mapping[int, Meaning] = {
    202: Meaning(NotReady, READY_ADVICE),
    400: Meaning(RequestRefused, "check the provider's settings under [providers.{name}]"),
    401: Meaning(KeyRejected, KEY_ADVICE),
    402: Meaning(AccessDenied, "the account's plan does not cover this"),
    403: Meaning(AccessDenied, "the key is valid but may not see this: " + KEY_ADVICE),
    404: Meaning(Absent, "check the session's id, the account of the key and base_url"),
    409: Meaning(NotReady, READY_ADVICE),
    410: Meaning(Absent, "the service has deleted it"),
    422: Meaning(RequestRefused, "check the provider's settings under [providers.{name}]"),
    425: Meaning(NotReady, READY_ADVICE),
}
"""Statuses below 500 that a service gives on its own account; 408, 429 and 5xx are the transport's business."""


class Provider(ABC):
    """One configured service. ``async with`` opens its connections and closes them."""

    type: ClassVar[str]
    base_url: ClassVar[str]
    """The service's address where the configuration names none."""
    auth_header: ClassVar[str] = "Authorization"
    auth_template: ClassVar[str] = "Bearer {key}"
    error_fields: ClassVar[tuple[str, ...]] = ("error", "message", "detail")
    key_variable: ClassVar[str] = ""
    """The environment variable the service's own tools read, for advice."""
    id_pattern: ClassVar[str | None] = None
    """Which unlisted names are worth a question; None: the general rule."""
    lists: ClassVar[bool] = True
    """Whether listing is on where the configuration is silent."""
    has_status: bool = True
    """False: the service tells no status, and an archive it gives is final (design §2, Kaizen)."""
    statuses: Mapping[int, Meaning] = STATUSES
    """What the API's refusals mean."""
    Options: ClassVar[OptionsModel] = Options
    """The model of this type's own keys, which the configuration is checked by."""

    def __init__(
        self,
        settings: ProviderSettings,
        network: NetworkSettings,
        around: Surroundings | None = None,
    ) -> None:
        self.name = settings.name
        self.pinned = settings.sessions
        self.listing = self.lists if settings.list is None else settings.list
        self._settings = settings
        self.options: BaseModel = self._checked_options()
        self._around = around or Surroundings()
        self._pattern = re.compile(settings.id_pattern or self.id_pattern or SESSION_ID.pattern, re.ASCII)
        self._threads = trio.CapacityLimiter(1)
        self.service = self._describe()
        self.transport = Transport(self.service, network, self._around)

    def _describe(self) -> Service:
        """Who the transport talks to; a declarative provider says it by its options."""
        return Service(
            name=self.name,
            base_url=self._settings.base_url or self.base_url,
            auth=Auth(self.auth_header, self.auth_template, self._settings.key),
            error_fields=self.error_fields,
        )

    @classmethod
    def from_settings(
        cls, settings: ProviderSettings, network: NetworkSettings, around: Surroundings | None = None
    ) -> Self:
        """The provider as configured; nothing is opened yet. Raises ConfigError for wrong keys of its type (the
        configuration has checked them before, with file and line)."""
        return cls(settings, network, around)

    async def __aenter__(self) -> Self:
        await self.transport.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes every connection."""
        await self.transport.aclose()

    def statistics(self) -> Statistics:
        """What has been asked and answered so far."""
        return self.transport.statistics()

    # -- what a type says ----------------------------------------------------------------------------------------

    @abstractmethod
    async def sessions(self, *, deadline: float) -> tuple[SessionInfo, ...]:
        """The service's list. Raises ListingUnsupported, ListingTooLarge and the ServiceErrors of a question."""

    @abstractmethod
    async def session(self, session_id: str, *, deadline: float) -> SessionInfo:
        """One session, by one question. Raises Absent and the ServiceErrors of a question; a 409 is no error here but
        a live session."""

    @abstractmethod
    def zip_source(self, session_id: str) -> ZipSource:
        """The archive of a session. Costs no request: what must be asked first is asked when it is opened."""

    async def source(self, session_id: str, *, deadline: float) -> ZipSource | FileSource:  # noqa: ARG002
        """Where its content lies: its archive, unless the provider has a better way that it must ask for."""
        return self.zip_source(session_id)

    def archive_at(self, session_id: str, locate: Locate, *, location: Location | None = None) -> ZipSource:
        """The source for an archive that ``locate`` finds: what ``zip_source`` is made of. ``location``: one that is
        known already."""
        what = f"session {session_id}"
        return ZipSource(
            self.transport,
            what=what,
            locate=locate,
            explain=partial(self.refusal, what=what),
            wall=self._around.wall,
            location=location,
        )

    @property
    def shape(self) -> Shape:
        """How member paths become names."""
        return Shape()

    @property
    def content_key(self) -> str:
        """What addresses the content of a session besides account and id, as text: base URL and archive request. It
        holds no key; the cache hashes it."""
        return json.dumps([self.type, self.service.base_url.rstrip("/"), *self._content_facts()], sort_keys=True)

    def _content_facts(self) -> tuple[object, ...]:
        """What of the options changes the bytes of an archive or which files a session has."""
        return ()

    # -- ids -----------------------------------------------------------------------------------------------------

    def valid_id(self, name: str) -> bool:
        """Whether this can be a session's id at all."""
        return SESSION_ID.fullmatch(name) is not None

    def worth_asking(self, name: str) -> bool:
        """Whether an unlisted name is worth one question to the service."""
        return self.valid_id(name) and not is_probe(name) and self._pattern.fullmatch(name) is not None

    # -- answers -------------------------------------------------------------------------------------------------

    def need_key(self) -> None:
        """Raises NoKey before any request when there is none, or one that no header can carry."""
        key = self.service.auth.key
        if key is not None and not (key.reveal().isascii() and key.reveal().isprintable()):
            source = self._settings.key_source
            raise NoKey(
                f"{self.name}: the key holds characters that no key has: a line break, or letters that are not ASCII",
                advice=f"check {source.origin if source else 'the key'}",
            )
        if key is None:
            variable = f" (such as {self.key_variable})" if self.key_variable else ""
            raise NoKey(
                f"{self.name}: no key is configured",
                advice=f"set api_key_env{variable}, api_key_file or api_key_command under [providers.{self.name}]",
            )

    def refusal(self, answer: Answer, what: str) -> ServiceError:
        """The error for an answer that is no success, by ``STATUSES``. ``what``: the subject ("session s1")."""
        meaning = self.statuses.get(answer.status, Meaning(ServiceFailed, "check base_url under [providers.{name}]"))
        says = f": {answer.text}" if answer.text else ""
        source = self._settings.key_source
        advice = meaning.advice.format(
            name=self.name, source=source.origin if source else f"api_key_* under [providers.{self.name}]"
        )
        error = meaning.error(f"{self.name}: {what}: the service answered {answer.status}{says}", advice=advice)
        error.status = answer.status
        if isinstance(error, Busy):
            error.retry_after = retry_after(answer.headers, self._around.wall())
        self.transport.record(error)
        return error

    def expect(self, answer: Answer, what: str) -> object:
        """The JSON of a 200. Raises what ``refusal`` makes of anything else."""
        if answer.status != 200:
            raise self.refusal(answer, what)
        return answer.data

    async def read_sessions(self, found: Sequence[Record], fields: Fields) -> tuple[SessionInfo, ...]:
        """The sessions of a list's records; in a thread where they are many (5,000 take about 100 ms)."""
        if len(found) <= READ_IN_THREAD:
            return sessions_of(found, fields)
        return await trio.to_thread.run_sync(sessions_of, found, fields, abandon_on_cancel=True, limiter=self._threads)

    def malformed(self, what: str) -> BadAnswer:
        """The error for JSON that is not of the documented form."""
        error = BadAnswer(
            f"{self.name}: {what}: the service's answer has not the documented form",
            advice="check base_url; if it is right, the service has changed: report it",
            status=200,
        )
        self.transport.record(error)
        return error

    def _checked_options(self) -> BaseModel:
        """The keys of this type. Raises ConfigError naming the first wrong one."""
        try:
            return self.Options(**self._settings.extra)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, ("providers", self.name, *first["loc"])))
            raise ConfigError(f"{place}: {first['msg']}") from error
