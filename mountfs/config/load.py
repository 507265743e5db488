"""From a path or the environment to a Config: search, trust, parse, check, in that order.

Search order: the given path, ``$MOUNTFS_CONFIG``, ``$XDG_CONFIG_HOME/mountfs/config.toml``,
``/etc/mountfs/config.toml``. With no file at all, each service of KEY_VARIABLES whose variable is set is a provider.
The environment is a parameter; nothing here reads ``os.environ``.

Concurrency: blocking; called once, before the loop starts.
"""

from __future__ import annotations

import os
import pwd
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from mountfs.config.files import MAX_CONFIG_SIZE, TrustedFile, read_trusted
from mountfs.config.positions import lines_of
from mountfs.config.problems import Problems
from mountfs.config.schema import (
    PROVIDER_NAME,
    Cache,
    Config,
    FileSections,
    KeySource,
    OptionsOf,
    Place,
    ProviderSettings,
    ProviderTable,
    expand,
)
from mountfs.config.secret import Secret
from mountfs.errors import ConfigError

SYSTEM_CONFIG = "/etc/mountfs/config.toml"

KEY_VARIABLES: dict[str, str] = {
    "kaizen": "KAIZEN_API_KEY",
    "dari": "DARI_API_KEY",
    "browserbase": "BROWSERBASE_API_KEY",
}
"""Provider type -> the variable its vendor's own tools read (providers.md §1)."""
URL_VARIABLES: dict[str, str] = {"browserbase": "BROWSERBASE_BASE_URL"}

NO_PROVIDERS = f"set one of {', '.join(KEY_VARIABLES.values())}, or write a configuration: mountfs config init"


def load(path: str | None, environ: Mapping[str, str], *, options: OptionsOf | None = None) -> Config:
    """The configuration, its keys not yet read (``resolve_keys`` does that).

    ``path``: what --config said. ``options``: gives each provider type's own keys; without it they are not checked.
    Raises ConfigError with one line a problem, each with file and line.
    """
    found = find(path, environ)
    if found is None:
        return _from_environment(environ)
    return read(found, environ, options=options)


def find(path: str | None, environ: Mapping[str, str], *, system: str = SYSTEM_CONFIG) -> str | None:
    """The file to read, absolute, or None. A file that was named need not exist here: reading it says so."""
    named = path or environ.get("MOUNTFS_CONFIG")
    if named:
        return expand(named, Place(home(environ), os.getcwd()))
    for candidate in (user_config(environ), system):
        if os.path.lexists(candidate):
            return candidate
    return None


def user_config(environ: Mapping[str, str]) -> str:
    """The user's own file, there or not."""
    return os.path.join(_xdg(environ, "XDG_CONFIG_HOME", ".config"), "mountfs", "config.toml")


def require_providers(config: Config) -> None:
    """Raises ConfigError for a configuration nothing can be mounted from."""
    if not config.providers:
        where = f"{config.path}: no provider is configured" if config.path else "no configuration, and no key is set"
        raise ConfigError(where, advice=NO_PROVIDERS if config.path is None else "add a [providers.NAME] table")


def home(environ: Mapping[str, str]) -> str:
    """$HOME, or what the user database says."""
    return environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> str:
    value = environ.get(variable, "")
    # The specification wants relative paths in these variables ignored.
    return value if os.path.isabs(value) else os.path.join(home(environ), default)


def _default_cache(environ: Mapping[str, str]) -> str:
    return os.path.join(_xdg(environ, "XDG_CACHE_HOME", ".cache"), "mountfs")


def _from_environment(environ: Mapping[str, str]) -> Config:
    providers = []
    for type_, variable in KEY_VARIABLES.items():
        if not environ.get(variable):
            continue
        table: dict[str, Any] = {"type": type_}
        url = environ.get(URL_VARIABLES.get(type_, ""))
        if url:
            table["base_url"] = url
        try:
            common = ProviderTable.model_validate(table)
        except ValidationError as error:
            message = str(error.errors()[0].get("ctx", {}).get("error"))
            raise ConfigError(f"${URL_VARIABLES[type_]}: {message}") from None
        source = KeySource("api_key_env", variable, f"${variable}")
        providers.append(ProviderSettings(name=type_, type=type_, base_url=common.base_url, key_source=source))
    return Config(cache=Cache(dir=_default_cache(environ)), providers=tuple(providers))


def read(path: str, environ: Mapping[str, str], *, options: OptionsOf | None = None) -> Config:
    """The configuration in one file. Raises ConfigError."""
    try:
        file = read_trusted(path, limit=MAX_CONFIG_SIZE, what="configuration")
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", advice="mountfs config init writes an example to start from"
        ) from None
    text, document = _parsed(path, file.data)
    problems = Problems(path, lines_of(text))
    place = Place(home(environ), os.path.dirname(path))

    tables = document.pop("providers", {})
    providers = []
    if isinstance(tables, dict):
        for name, table in tables.items():
            provider = _provider(name, table, file=file, problems=problems, place=place, options=options)
            if provider is not None:
                providers.append(provider)
    else:
        problems.add(("providers",), "write a table for each provider: [providers.NAME]")

    sections = _sections(document, problems, place)
    problems.raise_if_any()
    assert sections is not None
    cache = sections.cache
    if "dir" not in cache.model_fields_set:
        cache = cache.model_copy(update={"dir": _default_cache(environ)})
    return Config(
        mountpoint=sections.mountpoint,
        cache=cache,
        freshness=sections.freshness,
        network=sections.network,
        limits=sections.limits,
        crawlers=sections.crawlers,
        metrics=sections.metrics,
        providers=tuple(providers),
        path=path,
    )


def _parsed(path: str, data: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8", advice="TOML is UTF-8; save the file so") from None
    try:
        return text.replace("\r\n", "\n"), tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(r" \(at line (\d+), column \d+\)$", message)
        # "at end of document" is the other thing tomllib says.
        line = int(place[1]) if place else text.count("\n") + 1
        raise ConfigError(f"{path}:{line}: {message[: place.start()] if place else message}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None


def _sections(document: dict[str, Any], problems: Problems, place: Place) -> FileSections | None:
    for key in document.keys() - FileSections.model_fields.keys():
        problems.add_unknown((key,), ["providers", *FileSections.model_fields])
    known = {key: value for key, value in document.items() if key in FileSections.model_fields}
    try:
        return FileSections.model_validate(known, context=place)
    except ValidationError as error:
        problems.add_invalid(error, FileSections, known)
        return None


def _provider(
    name: str, table: object, *, file: TrustedFile, problems: Problems, place: Place, options: OptionsOf | None
) -> ProviderSettings | None:
    prefix = ("providers", name)
    if not PROVIDER_NAME.fullmatch(name):
        problems.add(prefix, "a provider's name is a directory: 1 to 64 letters, digits, '.', '_' and '-'")
    if not isinstance(table, dict):
        problems.add(prefix, f"write a table: [providers.{name}]")
        return None
    common = {key: value for key, value in table.items() if key in ProviderTable.model_fields}
    extra = {key: value for key, value in table.items() if key not in common}
    if options is not None and isinstance(common.get("type"), str):
        _check_extra(common["type"], extra, prefix, problems, options)
    try:
        checked = ProviderTable.model_validate(common, context=place)
    except ValidationError as error:
        problems.add_invalid(error, ProviderTable, common, prefix)
        return None
    return ProviderSettings(
        name=name,
        type=checked.type,
        base_url=checked.base_url,
        sessions=tuple(dict.fromkeys(checked.sessions)),
        list=checked.list,
        id_pattern=checked.id_pattern,
        extra=MappingProxyType(extra),
        key_source=_key_source(checked, prefix, file, problems),
    )


def _check_extra(
    type_: str, extra: dict[str, Any], prefix: tuple[str, str], problems: Problems, options: OptionsOf
) -> None:
    try:
        model: type[BaseModel] = options(type_)
    except ConfigError as error:
        problems.add((*prefix, "type"), str(error))
        return
    known = model.model_fields.keys() | ProviderTable.model_fields.keys()
    for key in extra.keys() - model.model_fields.keys():
        problems.add_unknown((*prefix, key), known)
    own = {key: value for key, value in extra.items() if key in model.model_fields}
    try:
        model.model_validate(own)
    except ValidationError as error:
        problems.add_invalid(error, model, own, prefix)


def _key_source(
    table: ProviderTable, prefix: tuple[str, str], file: TrustedFile, problems: Problems
) -> KeySource | None:
    given = [key for key in table.model_fields_set if key.startswith("api_key")]
    if not given:
        variable = KEY_VARIABLES.get(table.type)
        return KeySource("api_key_env", variable, f"${variable}") if variable else None
    for key in sorted(given)[1:]:
        problems.add((*prefix, key), f"one source of the key is enough, and {min(given)} is another; remove one")
    key = min(given)
    value = getattr(table, key)
    if key == "api_key":
        if not file.private:
            problems.add(
                (*prefix, key),
                f"a key in a file that others can read (mode {file.mode:04o}); run chmod 600 {problems.path}, "
                "or use api_key_env, api_key_file, api_key_command or api_key_credential",
            )
        value = Secret(value)
    return KeySource(key, value, problems.where((*prefix, key)))


def with_key_of(config: Config, name: str, key: Secret | None) -> Config:
    """The configuration with one provider's key replaced (a key that was rotated)."""
    return replace(
        config,
        providers=tuple(replace(each, key=key) if each.name == name else each for each in config.providers),
    )
