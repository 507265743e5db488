"""Finding, trusting, reading and checking the configuration; every mistake has file and line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from mountfs.config import Config, Secret, load, require_providers
from mountfs.config.load import find
from mountfs.errors import ConfigError

HOME = "/home/someone"
ENVIRON = {"HOME": HOME}
Write = Callable[..., str]


class DariOptions(BaseModel):
    """Stands for a provider's own keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    paths: tuple[str, ...] = ()
    deep: dict[str, int] = {}


def options(type_: str) -> type[BaseModel]:
    if type_ != "dari":
        raise ConfigError(f"no provider type {type_}", advice="accepted: dari")
    return DariOptions


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration and gives its path."""

    def to_file(text: str | bytes, *, mode: int = 0o644) -> str:
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return str(path)

    return to_file


def test_every_key_of_the_design(write: Write, tmp_path: Path) -> None:
    """The example of design.md §4, with other values than the defaults, arrives in the right fields and units."""
    config = load(
        write(
            """
            mountpoint = "~/sessions"
            [providers.work]
            type = "dari"
            api_key_env = "WORK_KEY"
            base_url = "https://api.dari.dev/"
            sessions = ["sess_123", "sess_4", "sess_123"]
            list = false
            id_pattern = "sess_.*"
            paths = ["reports", "logs"]
            [cache]
            dir = "cache"
            max_size = "20GiB"
            min_free = 5
            memory = "1MB"
            [freshness]
            listing = "1m"
            live = 1
            pending = "0.5s"
            absent = "2h"
            empty = "1s"
            failing = "0s"
            refused = "1s"
            ready_wait = "10s"
            [network]
            connect_timeout = "1s"
            lookup_timeout = "2s"
            read_timeout = "3s"
            deadline = "4s"
            retries = 0
            max_connections = 1
            linger = "0s"
            allow_private_archive_hosts = true
            [limits]
            max_archive_size = "1TiB"
            max_members = 1
            max_directory_size = "2B"
            max_member_size = "1B"
            max_ratio = 1
            [crawlers]
            processes = []
            budget = 3
            """
        ),
        ENVIRON,
        options=options,
    )
    assert config.mountpoint == f"{HOME}/sessions"
    assert config.cache.model_dump() == {
        "dir": str(tmp_path / "cache"),
        "max_size": 20 << 30,
        "min_free": 5,
        "memory": 10**6,
    }
    assert config.freshness.model_dump() == {
        "listing": 60,
        "live": 1,
        "pending": 0.5,
        "absent": 7200,
        "empty": 1,
        "failing": 0,
        "refused": 1,
        "ready_wait": 10,
    }
    assert config.network.model_dump() == {
        "connect_timeout": 1,
        "lookup_timeout": 2,
        "read_timeout": 3,
        "deadline": 4,
        "retries": 0,
        "max_connections": 1,
        "linger": 0,
        "allow_private_archive_hosts": True,
    }
    assert config.limits.model_dump() == {
        "max_archive_size": 1 << 40,
        "max_members": 1,
        "max_directory_size": 2,
        "max_member_size": 1,
        "max_ratio": 1,
    }
    assert config.crawlers.model_dump() == {"processes": (), "budget": 3}
    (provider,) = config.providers
    assert (provider.name, provider.type, provider.base_url) == ("work", "dari", "https://api.dari.dev")
    assert (provider.sessions, provider.list, provider.id_pattern) == (("sess_123", "sess_4"), False, "sess_.*")
    assert dict(provider.extra) == {"paths": ["reports", "logs"]}
    assert provider.key is None
    assert provider.key_source is not None
    assert (provider.key_source.kind, provider.key_source.value) == ("api_key_env", "WORK_KEY")


def test_defaults_are_those_of_the_design(write: Write) -> None:
    """An empty file gives every default of design.md §4."""
    config = load(write(""), ENVIRON)
    assert config.cache.model_dump() == {
        "dir": f"{HOME}/.cache/mountfs",
        "max_size": 10 << 30,
        "min_free": 1 << 30,
        "memory": 64 << 20,
    }
    assert config.freshness.model_dump() == {
        "listing": 30,
        "live": 30,
        "pending": 5,
        "absent": 60,
        "empty": 5,
        "failing": 2,
        "refused": 30,
        "ready_wait": 0,
    }
    assert config.network.model_dump() == {
        "connect_timeout": 5,
        "lookup_timeout": 5,
        "read_timeout": 60,
        "deadline": 120,
        "retries": 4,
        "max_connections": 16,
        "linger": 600,
        "allow_private_archive_hosts": False,
    }
    assert config.limits.model_dump() == {
        "max_archive_size": 50 << 30,
        "max_members": 5_000_000,
        "max_directory_size": 1 << 30,
        "max_member_size": 100 << 30,
        "max_ratio": 2000,
    }
    assert config.crawlers.budget == 0
    assert "updatedb" in config.crawlers.processes
    assert config.providers == ()
    with pytest.raises(ConfigError, match="no provider is configured"):
        require_providers(config)


MISTAKES: list[tuple[str, str]] = [
    ('a = "b', ":1: Illegal character|:1: Unterminated string|:1: "),
    ("[cache]\nmax_size = 1\nmax_size = 2", ":3: Cannot overwrite a value"),
    ("mountpoint = ", ":1: "),
    ("foo = 1", ":1: foo: unknown key; accepted: cache, crawlers,"),
    ("path = 1", ":1: path: unknown key"),
    ("[networks]", ':1: networks: unknown key; did you mean "network"?'),
    ("\n[cache]\nmax_sise = 1", ':3: cache.max_sise: unknown key; did you mean "max_size"?'),
    ("cache = 3", r":1: cache: write a table: keys under a \[header\]"),
    ('[cache]\nmemory = "10 apples"', ':2: cache.memory: "10 apples" is not a size; write'),
    ("[cache]\nmax_size = 0", ":2: cache.max_size: must be above 0"),
    ("[cache]\ndir = 5", ":2: cache.dir: write a string"),
    ('[cache]\ndir = ""', ":2: cache.dir: write a path"),
    ('[freshness]\nlive = "soon"', ':2: freshness.live: "soon" is not a duration; write'),
    ("[network]\nretries = 1.5", ":2: network.retries: write a whole number"),
    ('[network]\nretries = "4"', ":2: network.retries: write a whole number"),
    ("[network]\nretries = -1", ":2: network.retries: must be at least 0"),
    ("[network]\nmax_connections = 0", ":2: network.max_connections: must be at least 1"),
    ('[network]\ndeadline = "0s"', ":2: network.deadline: must be above 0"),
    ('[network]\nallow_private_archive_hosts = "yes"', ":2: network.allow_.*: write true or false"),
    ("[limits]\nmax_ratio = true", ":2: limits.max_ratio: write a whole number"),
    ('[crawlers]\nprocesses = "updatedb"', r':2: crawlers.processes: write an array, such as \["a", "b"\]'),
    ('[crawlers]\nprocesses = [\n"a",\n3]', r":4: crawlers.processes\[1\]: write a string"),
    ("providers = 1", ":1: providers: write a table for each provider"),
    ("[providers]\ndari = 1", r":2: providers.dari: write a table: \[providers.dari\]"),
    ('[providers."a/b"]\ntype = "dari"', ":1: providers.a/b: a provider's name is a directory"),
    ("[providers.dari]", ":1: providers.dari.type: required"),
    ('[providers.dari]\ntype = "dairy"', ":2: providers.dari.type: no provider type dairy; accepted: dari"),
    ("[providers.dari]\ntype = 1", ":2: providers.dari.type: write a string"),
    ('[providers.dari]\ntype = "dari"\npathz = []', ':3: providers.dari.pathz: unknown key; did you mean "paths"?'),
    (
        '[providers.dari]\ntype = "dari"\nsesions = []',
        ':3: providers.dari.sesions: unknown key; did you mean "sessions"?',
    ),
    ('[providers.dari]\ntype = "dari"\npaths = 1', ":3: providers.dari.paths: write an array"),
    ('[providers.dari]\ntype = "dari"\ndeep = {\'a b\' = "x"}', ":3: providers.dari.deep.a b: write a whole number"),
    (
        '[providers.dari]\ntype = "dari"\nsessions = ["ok", "../x"]',
        r":3: providers.dari.sessions\[1\]: not a session id",
    ),
    ('[providers.dari]\ntype = "dari"\nid_pattern = "("', ":3: providers.dari.id_pattern: not a regular expression"),
    ('[providers.dari]\ntype = "dari"\nbase_url = "ftp://x"', ":3: providers.dari.base_url: not a URL"),
    ('[providers.dari]\ntype = "dari"\nbase_url = "https://x:99999"', ":3: providers.dari.base_url: not a URL"),
    (
        '[providers.dari]\ntype = "dari"\nbase_url = "http://10.0.0.1"',
        ":3: .*base_url: http:// is accepted for a loopback",
    ),
    ('[providers.dari]\ntype = "dari"\nbase_url = "https://u:p@x"', ":3: .*base_url: write scheme, host and path only"),
    ('[providers.dari]\ntype = "dari"\napi_key_env = "sk-12"', ":3: .*api_key_env: write the name of a variable"),
    (
        '[providers.dari]\ntype = "dari"\napi_key_command = []',
        ":3: .*api_key_command: write a program and its arguments",
    ),
    ('[providers.dari]\ntype = "dari"\napi_key_command = "a \'b"', ":3: .*api_key_command: not a command"),
    ('[providers.dari]\ntype = "dari"\napi_key_credential = "a/b"', ":3: .*api_key_credential: write the name"),
    (
        '[providers.dari]\ntype = "dari"\napi_key_env = "A"\napi_key_file = "b"',
        ":4: providers.dari.api_key_file: one source of the key is enough, and api_key_env is another",
    ),
    (
        '[providers.dari]\ntype = "dari"\napi_key = "sk-123456"',
        r":3: providers.dari.api_key: a key in a file that others can read \(mode 0644\); run chmod 600",
    ),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[text.splitlines()[-1][:40] for text, _ in MISTAKES])
def test_mistake(write: Write, text: str, message: str) -> None:
    """Each mistake is refused with file, line, key, and what to write instead; no key or password is repeated."""
    path = write(text)
    with pytest.raises(ConfigError, match=f"^{path}{message}") as caught:
        load(path, ENVIRON, options=options)
    assert "sk-1" not in str(caught.value)
    assert "u:p" not in str(caught.value)


def test_all_mistakes_are_told_at_once_in_order(write: Write) -> None:
    """One run of the check shows everything that is wrong, in the order of the file."""
    path = write('mountpoint = 1\n[providers.x]\nsessions = 2\n[cache]\nmemory = "x"\nmin_free = -1\n')
    with pytest.raises(ConfigError) as caught:
        load(path, ENVIRON, options=options)
    places = [line.split(": ")[:2] for line in str(caught.value).splitlines()]
    assert places == [
        [f"{path}:1", "mountpoint"],
        [f"{path}:2", "providers.x.type"],
        [f"{path}:3", "providers.x.sessions"],
        [f"{path}:5", "cache.memory"],
        [f"{path}:6", "cache.min_free"],
    ]


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1:8/x", "http://[::1]:2", "https://a.b:1/c/d"])
def test_accepted_urls(write: Write, url: str) -> None:
    """https goes anywhere, http to this machine."""
    config = load(write(f'[providers.dari]\ntype = "dari"\nbase_url = "{url}/"'), ENVIRON)
    assert config.providers[0].base_url == url


def test_not_utf8(write: Write) -> None:
    """A file in another encoding is refused with the line."""
    path = write(b"a = 1\nb = '\xe4'\n")
    with pytest.raises(ConfigError, match=f"^{path}:2: not UTF-8"):
        load(path, ENVIRON)


def test_windows_file(write: Write) -> None:
    """A byte order mark and CRLF line ends do no harm, and lines are counted right."""
    assert load(write(b"\xef\xbb\xbf[cache]\r\nmin_free = 1\r\n"), ENVIRON).cache.min_free == 1
    with pytest.raises(ConfigError, match=r":3: cache\.x"):
        load(write(b"\xef\xbb\xbf[cache]\r\nmin_free = 1\r\nx = 1\r\n"), ENVIRON)


def test_too_deep_and_too_large(write: Write) -> None:
    """A file made to hurt is refused like any other."""
    with pytest.raises(ConfigError, match="nested too deeply"):
        load(write("a = " + "[" * 5000 + "]" * 5000), ENVIRON)
    with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
        load(write("#" * (1 << 20) + "\n"), ENVIRON)


def test_inline_key_in_a_private_file(write: Write) -> None:
    """A key may stand in a file that only its owner can read, and is masked from then on."""
    config = load(write('[providers.dari]\ntype = "dari"\napi_key = "sk-123456"', mode=0o600), ENVIRON)
    source = config.providers[0].key_source
    assert source is not None
    assert source.value == Secret("sk-123456")
    assert "sk-123456" not in repr(config)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_writable_by_others(write: Write, mode: int) -> None:
    """Who can write the configuration can send the key anywhere, so others must not be able to."""
    with pytest.raises(ConfigError, match=rf"writable by others \(mode 0{mode:o}\); run: chmod go-w"):
        load(write("", mode=mode), ENVIRON)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_of_somebody_else(write: Write) -> None:
    """A configuration that belongs to neither us nor root is refused."""
    path = write("")
    os.chown(path, 65534, -1)
    with pytest.raises(ConfigError, match="the configuration belongs to nobody"):
        load(path, ENVIRON)


def test_a_directory_and_nothing(tmp_path: Path) -> None:
    """What cannot be read is named, with the reason."""
    with pytest.raises(ConfigError, match="Is a directory"):
        load(str(tmp_path), ENVIRON)
    with pytest.raises(ConfigError, match=r"nothing.toml: No such file or directory; mountfs config init"):
        load(str(tmp_path / "nothing.toml"), ENVIRON)


def test_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option, the variable, the user's file, the system's file: the first that is there."""
    monkeypatch.chdir(tmp_path)
    system = tmp_path / "etc.toml"
    own = tmp_path / "xdg" / "mountfs" / "config.toml"
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}

    def found(path: str | None = None, **more: str) -> str | None:
        return find(path, {**environ, **more}, system=str(system))

    assert found() is None
    system.touch()
    assert found() == str(system)
    own.parent.mkdir(parents=True)
    own.touch()
    assert found() == str(own)
    assert found(MOUNTFS_CONFIG="~/other.toml") == str(tmp_path / "other.toml")
    assert found("given.toml", MOUNTFS_CONFIG="other.toml") == str(tmp_path / "given.toml")
    assert found(MOUNTFS_CONFIG="") == str(own)
    # A relative XDG directory is ignored, as its specification wants.
    assert found(XDG_CONFIG_HOME="xdg") == str(system)


def bare(environ: dict[str, str], tmp_path: Path) -> Config:
    return load(None, {"HOME": str(tmp_path), **environ})


@pytest.mark.skipif(os.path.exists("/etc/mountfs/config.toml"), reason="this machine has a configuration")
def test_no_file_at_all(tmp_path: Path) -> None:
    """With a key variable set, no configuration is needed."""
    config = bare(
        {
            "DARI_API_KEY": "d",
            "BROWSERBASE_API_KEY": "b",
            "BROWSERBASE_BASE_URL": "http://127.0.0.1:5/",
            "KAIZEN_API_KEY": "",
            "XDG_CACHE_HOME": "/var/cache/me",
        },
        tmp_path,
    )
    assert [(each.name, each.type, each.base_url) for each in config.providers] == [
        ("dari", "dari", None),
        ("browserbase", "browserbase", "http://127.0.0.1:5"),
    ]
    assert config.cache.dir == "/var/cache/me/mountfs"
    assert config.path is None
    with pytest.raises(ConfigError, match=r"\$BROWSERBASE_BASE_URL: http:// is accepted for a loopback"):
        bare({"BROWSERBASE_API_KEY": "b", "BROWSERBASE_BASE_URL": "http://x"}, tmp_path)
    with pytest.raises(ConfigError, match="set one of KAIZEN_API_KEY, DARI_API_KEY, BROWSERBASE_API_KEY"):
        require_providers(bare({}, tmp_path))
