"""Every key of ``type = "http"`` as Markdown, made from the models that check them (``docs/http.md``, ``make docs``).

Concurrency: pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mountfs.providers.http import HttpOptions

HEAD = """# `type = "http"`: a service in the configuration

<!-- made by `make docs` from the models that check the configuration -->

A service that gives one ZIP a session needs a table, no code. [Working examples](examples) for five services; the keys
that every provider has (`api_key_env`, `base_url`, `sessions`, `list` …) are in `mountfs config init -`.
`mountfs config check` names every mistake with its line. A *pointer* is a JSON pointer (RFC 6901): `""` is the whole
answer, `"/sessions"` a field of it.
"""


def page() -> str:
    """The Markdown page."""
    return "\n".join([HEAD, *_table(HttpOptions, "providers.NAME")])


def _table(model: type[BaseModel], name: str) -> Iterator[str]:
    yield f"## `[{name}]`\n"
    yield "| key | default | what it is |"
    yield "|---|---|---|"
    below: list[tuple[str, type[BaseModel]]] = []
    for key, field in model.model_fields.items():
        inner = _model(field.annotation)
        what = field.description or ""
        if inner is not None:
            below.append((f"{name}.{key}", inner))
            yield f"| `{key}` | {'**needed**' if field.is_required() else '-'} | {what}: a table, below |"
        else:
            yield f"| `{key}` | {_default(field)} | {what}{_choices(field.annotation)} |"
    yield ""
    for place, inner in below:
        yield from _table(inner, place)


def _model(annotation: Any) -> type[BaseModel] | None:
    """The table that a key holds, if it holds one."""
    for kind in get_args(annotation) if isinstance(annotation, UnionType) else (annotation,):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _choices(annotation: Any) -> str:
    words = get_args(annotation) if get_origin(annotation) is Literal else ()
    return f" ({', '.join(f'`{json.dumps(word)}`' for word in words)})" if words else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if value is None or value == {}:
        return "-"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"
