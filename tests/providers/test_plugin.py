"""A provider from a package of somebody else's: installed with pip, found by its type, used like the built-ins."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mountfs.demo.server import Fakes
from mountfs.errors import ConfigError
from mountfs.providers import load

SAMPLE = Path(__file__).parent / "sample" / "mountfs_sample.py"
DIST = "mountfs_sample-1.0.dist-info"

PROGRAM = """
import hashlib, sys, trio
from mountfs.config.schema import Network, ProviderSettings
from mountfs.config.secret import Secret
from mountfs.providers import available, make, options_of

async def main(url, key):
    settings = ProviderSettings("mine", "sample", url, Secret(key), extra={"route": "workspace.zip"})
    async with make(settings, Network()) as provider:
        info = await provider.session("s1", deadline=trio.current_time() + 10)
        async with provider.zip_source("s1").open(deadline=trio.current_time() + 10) as body:
            digest = hashlib.sha256(await body.read(1 << 20)).hexdigest()
    print(info.phase.value, digest, *sorted(options_of("sample").model_fields), *available())

trio.run(main, *sys.argv[1:])
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory into which pip has installed the package, without asking any index."""
    wheel = tmp_path / "mountfs_sample-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.write(SAMPLE, "mountfs_sample.py")
        made.writestr(f"{DIST}/METADATA", "Metadata-Version: 2.1\nName: mountfs-sample\nVersion: 1.0\n")
        made.writestr(
            f"{DIST}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{DIST}/entry_points.txt", "[mountfs.providers]\nsample = mountfs_sample:Sample\n")
        made.writestr(f"{DIST}/RECORD", "")
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def test_a_plug_in_is_installed_and_found(site: Path) -> None:
    """Nothing of mountfs names it."""
    data = b"somebody's archive" * 100
    with Fakes() as fakes:
        fakes.dari.add("s1", data)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, fakes.dari.url, fakes.dari.key],
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stderr == ""
    phase, digest, option, *types = done.stdout.split()
    assert (phase, digest, option) == ("terminal", hashlib.sha256(data).hexdigest(), "route")
    assert {"sample", "dari", "kaizen", "browserbase"} <= set(types)


def test_without_it_its_type_is_unknown() -> None:
    """And the accepted ones are named."""
    with pytest.raises(ConfigError, match="unknown provider type 'sample'"):
        load("sample")
