"""Examining the services: is every provider's key found, and does its service take it? One live question each.

A provider that lists is asked for its list; one that does not, for a session that is pinned, or for one that cannot
be: 404 then says as much as 200, for the key was looked at first.

Concurrency: keys are read one after the other (a command for one may wait for a person), the services asked at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mountfs.cli.finding import NOTE, OK, PROBLEM, Finding
from mountfs.config import Config, ProviderSettings, resolve_key
from mountfs.errors import Absent, Busy, ListingTooLarge, ListingUnsupported, MountfsError, RequestRefused

if TYPE_CHECKING:
    from mountfs.providers import Provider

PATIENCE = 15.0
"""Seconds for all of it."""
PROBE = "00000000-0000-4000-8000-000000000000"
"""A session id in every service's form that no session has."""


def keys(config: Config) -> Iterator[tuple[Finding, ProviderSettings | None]]:
    """Whether each provider's key is found; with it, the provider to be asked."""
    for settings in config.providers:
        what = f"{settings.name}: key"
        source = settings.key_source
        try:
            key = resolve_key(settings, os.environ)
        except MountfsError as error:
            yield Finding(what, PROBLEM, error.message, error.advice), None
            continue
        if key is None:
            looked = (
                f", looked for in {source.value if source.kind == 'api_key_env' else source.kind}" if source else ""
            )
            advice = f"set api_key_env, api_key_file or api_key_command under [providers.{settings.name}]"
            yield Finding(what, PROBLEM, f"none is found{looked}", advice), None
        else:
            yield Finding(what, OK, f"found ({source.kind if source else 'given'})"), replace(settings, key=key)


def ask(config: Config, providers: list[ProviderSettings]) -> list[Finding]:
    """One question to each of ``providers``, whose keys are resolved."""
    import trio

    from mountfs.providers import make
    from mountfs.transport import Surroundings, from_environment

    network = config.network.model_copy(update={"retries": 0, "deadline": PATIENCE})
    around = Surroundings(proxies=from_environment(os.environ))
    found: dict[str, Finding] = {}

    async def one(settings: ProviderSettings) -> None:
        try:
            async with make(settings, network, around) as provider:
                found[settings.name] = await _ask(provider)
        except MountfsError as error:
            found[settings.name] = Finding(f"{settings.name}: service", PROBLEM, error.message, error.advice)

    async def all_of_them() -> None:
        async with trio.open_nursery() as nursery:
            for settings in providers:
                nursery.start_soon(one, settings)

    trio.run(all_of_them)
    return [found[settings.name] for settings in providers]


async def _ask(provider: Provider) -> Finding:
    """Raises what the question raises."""
    import trio

    began = trio.current_time()
    state, says, advice = await _lists(provider, began + PATIENCE) or await _knows(provider, began + PATIENCE)
    took = f"{(trio.current_time() - began) * 1000:.0f} ms"
    return Finding(f"{provider.name}: service", state, f"{says} ({took})", advice)


async def _lists(provider: Provider, deadline: float) -> tuple[str, str, str] | None:
    """State, words and advice; None where there is no list to be had."""
    if not provider.listing:
        return None
    try:
        return OK, f"takes the key, lists {len(await provider.sessions(deadline=deadline))} sessions", ""
    except ListingTooLarge as error:
        return NOTE, f"takes the key; {error.message}", error.advice
    except ListingUnsupported:
        return None


async def _knows(provider: Provider, deadline: float) -> tuple[str, str, str]:
    """By asking for a session: one that is pinned, else one that cannot be."""
    session_id = provider.pinned[0] if provider.pinned else PROBE
    try:
        await provider.session(session_id, deadline=deadline)
    except (Absent, RequestRefused) as error:
        if provider.pinned:
            return NOTE, f"takes the key; {error.message}", "check sessions = [...] and base_url"
        return OK, f"takes the key (of a session that cannot be it says {error.status})", ""
    except Busy as error:
        return NOTE, f"is busy: {error.message}", error.advice
    return OK, f"takes the key, knows session {session_id}", ""
