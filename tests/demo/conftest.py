"""Fakes for one test, and a client that speaks to them as anyone would."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping

import httpx
import pytest

from mountfs.demo.fake import Fake
from mountfs.demo.server import Fakes


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    with Fakes() as running:
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=60, headers={"accept-encoding": "identity"}) as made:
        yield made


@pytest.fixture
def archive() -> bytes:
    return zip_of({"a.txt": b"alpha", "logs/b.log": b"beta" * 1000})


def zip_of(members: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            target.writestr(zipfile.ZipInfo(name), data)
    return made.getvalue()


@pytest.fixture
def make_zip() -> object:
    return zip_of


@pytest.fixture
def auth() -> object:
    """The header each service wants its key in."""

    def header(fake: Fake) -> dict[str, str]:
        name = "x-bb-api-key" if fake.name == "browserbase" else "authorization"
        return {name: fake.key if fake.name == "browserbase" else f"Bearer {fake.key}"}

    return header
