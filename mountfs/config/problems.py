"""What pydantic found wrong, as lines a person can act on: ``FILE:LINE: cache.max_sise: unknown key; did you mean …``.

Concurrency: pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, ValidationError

from mountfs.config.positions import Key, line_of
from mountfs.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

WORDING: dict[str, str] = {
    "missing": "required",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "string_type": 'write a string, in quotes: "…"',
    "string_too_short": "must not be empty",
    "tuple_type": 'write an array, such as ["a", "b"]',
    "list_type": 'write an array, such as ["a", "b"]',
    "model_type": "write a table: keys under a [header] of this name",
    "dict_type": "write a table: keys under a [header] of this name",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "accepted: {expected}",
    "enum": "accepted: {expected}",
}
"""pydantic's error type -> our words (docs.pydantic.dev, "Validation Errors"); others keep pydantic's message."""


@dataclass
class Problems:
    """Collects what is wrong with one file, so that all of it is told at once."""

    path: str
    lines: dict[Key, int]
    found: list[tuple[int, str]] = field(default_factory=list)

    def where(self, key: Key) -> str:
        """``FILE:LINE: a.b[0]``, the start of a message about ``key``."""
        line = line_of(self.lines, key)
        place = f"{self.path}:{line}" if line else self.path
        return f"{place}: {dotted(key)}"

    def add(self, key: Key, message: str) -> None:
        """Notes a problem; several with the same text are one."""
        item = (line_of(self.lines, key) or 0, f"{self.where(key)}: {message}")
        if item not in self.found:
            self.found.append(item)

    def add_unknown(self, key: Key, known: Collection[str]) -> None:
        self.add(key, unknown_key(str(key[-1]), known))

    def add_invalid(self, error: ValidationError, model: type[BaseModel], data: object, prefix: Key = ()) -> None:
        """Everything ``model`` refused in ``data``, which stands under ``prefix``."""
        for details in error.errors(include_url=False, include_input=False):
            key, message = _worded(details, model, data)
            self.add((*prefix, *key), message)

    def raise_if_any(self) -> None:
        """Raises ConfigError with one line a problem, in the file's order."""
        if self.found:
            raise ConfigError("\n".join(message for _line, message in sorted(self.found, key=lambda item: item[0])))


def dotted(key: Key) -> str:
    """``providers.dari.sessions[0]``"""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def unknown_key(key: str, known: Collection[str]) -> str:
    """The message for a key that does not exist: the nearest one that does, or all of them."""
    return f"unknown key{nearest(key, known) or '; accepted: ' + ', '.join(sorted(known))}"


def nearest(word: str, known: Collection[str]) -> str:
    """``; did you mean "…"?``, or nothing if no known word is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _worded(details: ErrorDetails, model: type[BaseModel], data: object) -> tuple[Key, str]:
    kind, context = details["type"], details.get("ctx", {})
    key = tuple(_own_parts(details["loc"], data, missing=kind == "missing"))
    if kind == "extra_forbidden":
        return key, unknown_key(str(key[-1]), _keys_of(model, key[:-1]))
    if kind == "value_error":
        return key, str(context["error"])
    wording = WORDING.get(kind)
    return key, wording.format(**context) if wording else details["msg"]


def _own_parts(location: tuple[int | str, ...], data: object, *, missing: bool) -> Iterator[int | str]:
    """The location without what pydantic puts in for the branches of a union (``str``, ``tuple[str, ...]``): the
    parts that lead somewhere in the file, and the name of a missing key."""
    last = len(location) - 1
    for number, part in enumerate(location):
        held = data if isinstance(data, dict) else dict(enumerate(data)) if isinstance(data, list) else {}
        if part in held:
            data = held[part]
            yield part
        elif missing and number == last:
            yield part


def _keys_of(model: type[BaseModel], table: Key) -> list[str]:
    """The keys accepted in a table somewhere below ``model``."""
    candidates = [model]
    for part in table:
        inner: list[type[BaseModel]] = []
        for each in candidates:
            known = each.model_fields.get(str(part))
            inner.extend(_models_in(known.annotation) if known else [each])
        candidates = inner
    return [name for each in candidates for name in each.model_fields]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
