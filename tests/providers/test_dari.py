"""Dari: the answer is the zip, of some directories or of all."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
from clients import network, provider, run, settings, soon
from pydantic import ValidationError

from mountfs.demo.server import Fakes
from mountfs.demo.steps import Answer
from mountfs.errors import AccessDenied, ConfigError, ListingUnsupported, NotReady, RequestRefused
from mountfs.model import SessionInfo
from mountfs.providers import Provider, load, make
from mountfs.providers.dari import DariOptions, workspace_path
from mountfs.transport import Suffix

T = TypeVar("T")


def archive(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for name in names:
            target.writestr(name, name)
    return made.getvalue()


TREE = archive("workspace/a.txt", "workspace/reports/r1.md", "workspace/logs/l1.log", "workspace/notes/n.txt")


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    with Fakes() as made:
        made.dari.add("s1", TREE)
        yield made


def using(fakes: Fakes, question: Callable[[Provider], Awaitable[T]], **changes: Any) -> T:
    async def main() -> T:
        async with provider(fakes.dari, **changes) as made:
            return await question(made)

    return run(main)


async def names(made: Provider) -> list[str]:
    async with made.zip_source("s1").open(Suffix(1000), deadline=soon()) as body:
        assert not body.partial
        return sorted(zipfile.ZipFile(io.BytesIO(await body.read(1 << 20))).namelist())


def listed(made: Provider) -> Awaitable[tuple[SessionInfo, ...]]:
    return made.sessions(deadline=soon())


def test_the_whole_workspace_comes_in_one_request(fakes: Fakes) -> None:
    """Chunked, without a length."""
    assert len(using(fakes, names)) == 4
    (request,) = fakes.dari.requests
    assert request.query == ""
    assert request.headers["accept"] == "application/zip"


@pytest.mark.parametrize(
    "paths", [("reports", "logs"), ("/workspace/logs/", "./reports", "logs"), ("logs", "reports/")]
)
def test_paths_are_repeated_in_the_query(fakes: Fakes, paths: tuple[str, ...]) -> None:
    """Sorted, none twice, however they are written: the cache address depends on them."""
    assert using(fakes, names, extra={"paths": paths}) == ["workspace/logs/l1.log", "workspace/reports/r1.md"]
    (request,) = fakes.dari.requests
    assert request.query == "path=logs&path=reports"
    key = provider(fakes.dari, extra={"paths": paths}).content_key
    assert key == provider(fakes.dari, extra={"paths": ("reports", "logs")}).content_key
    assert key != provider(fakes.dari).content_key


def test_the_workspace_itself_is_everything(fakes: Fakes) -> None:
    """Beside other paths too."""
    assert len(using(fakes, names, extra={"paths": ("/workspace", "logs")})) == 4


def test_refused_paths_are_left_out_and_logged(fakes: Fakes, caplog: pytest.LogCaptureFixture) -> None:
    """Each is asked for alone; the rest is one snapshot."""
    caplog.set_level(logging.WARNING)
    got = using(fakes, names, extra={"paths": ("logs", "missing", "a.txt", "reports")})
    assert got == ["workspace/logs/l1.log", "workspace/reports/r1.md"]
    refused = [record.getMessage() for record in caplog.records]
    assert len(refused) == 2
    assert all("session s1" in line and "paths" in line for line in refused)
    assert "'a.txt'" in refused[0]
    assert "'missing'" in refused[1]
    assert fakes.dari.requests[-1].query == "path=logs&path=reports"


@pytest.mark.parametrize("paths", [("missing",), ("missing", "gone")])
def test_all_paths_refused_is_an_error(fakes: Fakes, paths: tuple[str, ...]) -> None:
    """With the service's reason."""
    with pytest.raises(RequestRefused, match="answered 400: Path does not exist"):
        using(fakes, names, extra={"paths": paths})


def test_another_refusal_while_paths_are_tried_is_itself(fakes: Fakes) -> None:
    """A 403 says nothing about a path."""
    fakes.dari.inject(Answer(400, {"detail": "bad path"}))
    fakes.dari.inject(Answer(403, {"detail": "not yours"}))
    with pytest.raises(AccessDenied, match="not yours"):
        using(fakes, names, extra={"paths": ("logs", "reports")})


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../b", "/workspaces/a", "a\0b"])
def test_a_path_outside_the_workspace_is_refused_by_the_configuration(fakes: Fakes, path: str) -> None:
    """Not by the service, at the first ls."""
    with pytest.raises(ValueError, match="workspace"):
        workspace_path(path)
    with pytest.raises(ValidationError):
        DariOptions(paths=(path,))
    with pytest.raises(ConfigError, match=r"providers\.dari\.paths"):
        make(settings(fakes.dari, extra={"paths": (path,)}), network())


@pytest.mark.parametrize("listing", ["sessions", "bare", "agents"])
def test_the_list_is_found_wherever_it_is(fakes: Fakes, listing: str) -> None:
    """The one route, or the agents' when there is none."""
    fakes.dari.listing = listing  # type: ignore[assignment]
    fakes.dari.add("s2").agent = "agent_other"
    assert {info.id for info in using(fakes, listed)} == {"s1", "s2"}
    assert len(fakes.dari.requests) == (4 if listing == "agents" else 1)


def test_an_agent_that_fails_fails_the_list(fakes: Fakes) -> None:
    """A part of the sessions must not look like all of them; one that is gone by now has none."""
    fakes.dari.listing = "agents"
    fakes.dari.add("s2").agent = "agent_other"
    fakes.dari.fail_next(404, path="agent_other")
    assert {info.id for info in using(fakes, listed)} == {"s1"}
    fakes.dari.fail_next(403, path="agent_other")
    with pytest.raises(AccessDenied):
        using(fakes, listed)


def test_a_service_without_lists_says_so(fakes: Fakes) -> None:
    """As since the vendor removed hosted sessions."""
    fakes.dari.listing = None
    with pytest.raises(ListingUnsupported):
        using(fakes, listed)
    fakes.dari.removed = True
    with pytest.raises(ListingUnsupported):
        using(fakes, listed)


def test_the_service_repeats_its_advice_when_not_ready(fakes: Fakes) -> None:
    """Whether its detail is a string or a list."""
    fakes.dari.sessions["s1"].ready = False
    for form in (False, True):
        fakes.dari.detail_list = form
        with pytest.raises(NotReady, match="run the session first, then retry"):
            using(fakes, names)


def test_the_workspace_directory_is_stripped_by_shape() -> None:
    """If every member lies in it: the tree decides."""
    assert load("dari").type == "dari"
    with Fakes() as fakes:
        assert provider(fakes.dari).shape.strip == b"workspace"
