"""Secrets: a recognisable key, signed URL and session JSON are planted, every way to fail is gone through at DEBUG, and
then nothing of them is in the log or the journal, what the service manager is told, the answers of the control socket,
what the command line prints, a bug report, the metrics, extended attributes, the cache, the errors' texts or the
process's arguments; and no other origin sees a header that is only the API's.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drives import PROVIDERS, Drive, World, id_of, zip_of
from mounts import Daemon

from mountfs.control import ask, socket_path
from mountfs.demo import steps
from mountfs.demo.faults import Mode, Proxy
from mountfs.demo.wire import Step
from mountfs.errors import MountfsError

NOISE = os.urandom(3 << 19)
PLANTED = ("PLANTED", "CONNECTSECRET", "SELENIUMSECRET", "SIGNINGSECRET", "LIVEVIEWSECRET", "X-Amz-Signature", "nonce=")
"""Words of which every secret here holds one."""
KEYS = {"kaizen": "kz-PLANTED-key", "dari": "dari-PLANTED-key", "browserbase": "bb-PLANTED-key"}

WAYS: dict[str, Step | Mode] = {
    "401 that echoes the key": steps.Answer(401, {"error": "KEY", "message": "KEY", "detail": "KEY"}),
    "400 that echoes the URL": steps.Answer(400, {"detail": "GET https://store.example/PLANTED/a.zip?sig=PLANTED"}),
    "400 of a store": steps.Answer(400, "<Error><Code>X</Code><ArgumentValue>Bearer KEY</ArgumentValue></Error>"),
    "403": steps.Answer(403, {"error": "token KEY", "message": "token KEY", "detail": ["KEY"]}),
    "404": steps.Answer(404),
    "409": steps.Answer(409, {"error": "KEY", "message": "KEY", "detail": "wait for KEY"}),
    "429": steps.Answer(429, {"error": "KEY", "message": "KEY", "detail": "KEY"}, {"retry-after": "60"}),
    "500": steps.Answer(500, {"error": "at https://store.example/PLANTED?q=PLANTED", "detail": "https://PLANTED@h/"}),
    "web page": steps.Answer(200, "<html>PLANTED</html>"),
    "broken JSON": steps.Answer(200, '{"downloadUrl": "https://PLANTED'),
    "URL that is none": steps.Answer(200, {"downloadUrl": "http://[PLANTED/x?sig=PLANTED"}),
    "URL that leads nowhere": steps.Answer(200, {"downloadUrl": "http://127.0.0.1:9/PLANTED?sig=PLANTED"}),
    "ftp URL": steps.Answer(200, {"downloadUrl": "ftp://PLANTED@127.0.0.1/PLANTED"}),
    "redirect": steps.Redirect("http://127.0.0.1:9/PLANTED?sig=PLANTED"),
    "redirect to no URL": steps.Redirect("http://[PLANTED"),
    "redirect to somebody": steps.Redirect("ELSEWHERE/PLANTED?sig=PLANTED"),
    "URL of somebody": steps.Answer(200, {"downloadUrl": "ELSEWHERE/PLANTED?sig=PLANTED"}),
    "private URL": steps.Answer(200, {"downloadUrl": "https://PLANTED@10.1.2.3/PLANTED?sig=PLANTED"}),
    "redirect loop": steps.Redirect(),
    "reset": steps.Reset(None),
    "cut": steps.Reset(30),
    "refused": Mode.REFUSE,
    "hangs up": Mode.HANG_UP,
}


@pytest.fixture
def planted(world: World) -> World:
    """Services whose keys can be recognised, behind proxies; Browserbase's zips lie at another origin."""
    world.fakes.browserbase.redirect = True
    for provider, key in KEYS.items():
        world.fake(provider).key = key
    world.set("network", deadline="5s", lookup_timeout="5s", retries=0)
    world.set("freshness", failing="0s", refused="0s", absent="0s", pending="0s", listing="0s", live="0s", empty="0s")
    world.set("providers.kaizen", list=True)
    return world


def secrets_in(text: str) -> list[str]:
    """The planted words that are in a text."""
    return [word for word in PLANTED if word in text]


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Everything in the log, tracebacks included."""
    formatter = logging.Formatter("%(name)s %(message)s")
    return "\n".join(formatter.format(record) for record in caplog.records)


def chain(error: BaseException) -> str:
    """All an error says, and its causes."""
    told: list[str] = []
    at: BaseException | None = error
    while at is not None:
        told += [str(at), repr(at)]
        at = at.__cause__ or at.__context__
    return "\n".join(told)


def cached(world: World) -> str:
    """Everything the cache directory holds, names and contents."""
    files = [path for path in world.cache.rglob("*") if path.is_file()]
    return "\n".join(f"{path}\n{path.read_bytes().decode('latin-1')}" for path in files)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["api", "host"])
def test_every_way_to_fail(planted: World, caplog: pytest.LogCaptureFixture, way: str, place: str) -> None:
    """Whatever fails, wherever: no secret is told, and no other origin sees a provider's header."""
    caplog.set_level(logging.DEBUG)
    world = planted
    with ExitStack() as stack:
        proxies = {name: stack.enter_context(Proxy(world.fake(name).url)) for name in PROVIDERS}
        host = stack.enter_context(Proxy(world.fakes.store.url))
        elsewhere = stack.enter_context(Proxy(world.fakes.store.url))
        world.fakes.store.public_url = host.url
        for name, proxy in proxies.items():
            world.set(f"providers.{name}", base_url=proxy.url)
            world.session(name, zip_of({"big.bin": NOISE, "a.txt": b"alpha"}, stored=True))
        failing = {proxies[name]: key for name, key in KEYS.items()} if place == "api" else {host: KEYS["kaizen"]}
        said: list[str] = []

        async def main(drive: Drive) -> None:
            await everything(drive, said)
            for proxy, key in failing.items():
                inject(proxy, WAYS[way], key, elsewhere.url)
            await everything(drive, said)
            for provider in drive.fs.providers:
                provider.forget()
            await everything(drive, said)
            said.extend(str(sessions.around.provider.statistics()) for sessions in drive.fs.providers)
            said.extend(
                str(event) for sessions in drive.fs.providers for event in drive.fs.waiting.events(sessions.name)
            )
            said.extend(repr(sessions.around.provider) for sessions in drive.fs.providers)

        world.run(main)
        assert secrets_in(logged(caplog)) == []
        assert secrets_in("\n".join(said)) == []
        assert secrets_in(cached(world)) == []
        assert elsewhere.requests or "somebody" not in way or (place == "host" and way == "URL of somebody")
        for record in (*host.requests, *elsewhere.requests):
            assert not {"authorization", "x-bb-api-key", "cookie"} & set(record.headers)
            assert secrets_in(" ".join(f"{name}: {value}" for name, value in record.headers.items())) == []


def inject(proxy: Proxy, way: Step | Mode, key: str, elsewhere: str) -> None:
    if isinstance(way, Mode):
        proxy.mode = way
    elif isinstance(way, steps.Redirect):
        proxy.inject(replace(way, location=way.location.replace("ELSEWHERE", elsewhere)), times=None)
    else:
        proxy.inject(echoing(way, key, elsewhere), times=None)


def echoing(step: Step, key: str, elsewhere: str = "") -> Step:
    """An answer that repeats the key it was asked with."""
    if not isinstance(step, steps.Answer) or isinstance(step.body, bytes):
        return step
    text = json.dumps(step.body).replace("KEY", key).replace("ELSEWHERE", elsewhere)
    return replace(step, body=json.loads(text))


async def everything(drive: Drive, said: list[str]) -> None:
    """Every operation on every provider; what errors say is kept."""
    for provider in PROVIDERS:
        session = f"{provider}/{id_of(provider)}"
        for asking in (
            drive.ls(provider),
            drive.stat(f"{provider}/{id_of(provider, 9)}"),
            drive.ls(session),
            drive.cat(f"{session}/a.txt"),
            drive.cat(f"{session}/big.bin"),
        ):
            try:
                await asking
            except MountfsError as exc:
                said.append(chain(exc))


@pytest.fixture
def mount(planted: World, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    with ExitStack() as stack:

        def mounted(*words: str, environ: Mapping[str, str]) -> Daemon:
            planted.config()
            daemon = Daemon(tmp_path / "config.toml", tmp_path / "drive", *words, environ=environ)
            return stack.enter_context(daemon)

        yield mounted


def everything_told(daemon: Daemon) -> str:
    """What the control socket tells of all there is."""
    path = socket_path(str(daemon.place.parent / "drive.home" / "run" / "mountfs"), str(daemon.place))
    if not os.path.exists(path):
        (path,) = map(str, (daemon.place.parent / "drive.home" / "run").rglob("*.sock"))
    told: list[Any] = [*ask(path, "status"), *ask(path, "tasks")]
    for provider in PROVIDERS:
        for where in (provider, f"{provider}/{id_of(provider)}", f"{provider}/{id_of(provider)}/a.txt"):
            told += ask(path, "why", {"path": where})
            try:
                told += ask(path, "refresh", {"paths": [where]})
                told += ask(path, "fetch", {"path": where})
            except MountfsError as exc:
                told.append(chain(exc))
    return repr(told)


def printed(daemon: Daemon, *words: str | Path) -> str:
    """What the command line prints beside a daemon."""
    home = daemon.place.parent / "drive.home"
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    command = [sys.executable, "-P", "-m", "mountfs", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert ended.stdout, ended.stderr
    return ended.stdout + ended.stderr


def scraped(path: Path) -> str:
    """The metrics."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(20)
        channel.connect(str(path))
        channel.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        with channel.makefile("rb") as answer:
            return answer.read().decode()


def attributes(path: Path) -> str:
    """Every extended attribute, with its value."""
    return repr({name: os.getxattr(path, name) for name in os.listxattr(path)})


@pytest.mark.mount
@pytest.mark.parametrize("form", ["text", "json", "journal"])
def test_through_a_mount(planted: World, mount: Callable[..., Daemon], tmp_path: Path, form: str) -> None:
    """The daemon's own log at DEBUG, in every form; ``status``, ``why``, ``refresh`` and ``fetch``; a bug report; the
    metrics; extended attributes; the process's arguments and environment; what systemd is told: no secret in them."""
    world = planted
    for provider in PROVIDERS:
        world.session(provider, zip_of({"big.bin": NOISE, "a.txt": b"alpha"}, stored=True))
    world.set("metrics", listen=f"unix:{tmp_path}/metrics.sock")
    log = tmp_path / "drive.log"
    log.touch()
    environ = {"JOURNAL_STREAM": f"{log.stat().st_dev}:{log.stat().st_ino}"} if form == "journal" else {}
    environ["HTTPS_PROXY"] = "http://user:PLANTED@127.0.0.1:9"
    words = ("--log-format", "json") if form == "json" else ()
    daemon = mount("--log-level", "debug", "-o", "xattr", *words, environ=environ)
    told = ""
    for provider in PROVIDERS:
        session = daemon.place / provider / id_of(provider)
        assert (session / "a.txt").read_bytes() == b"alpha"
        told += attributes(session) + attributes(session / "a.txt")
    assert "user.mountfs." in told
    step = steps.Reset(30) if form == "json" else steps.Answer(401, {"error": "KEY", "message": "KEY", "detail": "KEY"})
    for fake in world.fakes.all:
        fake.inject(echoing(step, fake.key), times=None)
    told += everything_told(daemon)
    for provider in PROVIDERS:
        for path in (daemon.place / provider, daemon.place / provider / id_of(provider), daemon.place / provider / "x"):
            try:
                os.listdir(path)
                told += attributes(path)
            except OSError as exc:
                told += str(exc)
    told += everything_told(daemon)
    told += scraped(tmp_path / "metrics.sock")
    assert "mountfs_" in told
    bundle = tmp_path / "report.txt"
    told += printed(daemon, "doctor", "--config", tmp_path / "config.toml", "--bundle", bundle)
    report = bundle.read_text()
    assert str(daemon.pid) in report
    told += report
    told += printed(daemon, "status", daemon.place)
    for provider in PROVIDERS:
        told += printed(daemon, "why", daemon.place / provider / id_of(provider))
    assert len(daemon.logged()) > 1000
    assert secrets_in(daemon.logged()) == []
    assert secrets_in(told) == []
    assert secrets_in(cached(world)) == []
    assert secrets_in(Path(f"/proc/{daemon.pid}/cmdline").read_bytes().decode("latin-1")) == []
    environ_of = Path(f"/proc/{daemon.pid}/environ").read_text().split("\0")
    assert secrets_in(repr([each for each in environ_of if not each.startswith("HTTPS_PROXY=")])) == []
    assert "READY=1" in daemon.notified()
    assert secrets_in(daemon.notified()) == []
    assert world.fakes.store.leaks() == []
