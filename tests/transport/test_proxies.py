"""Which proxy a URL goes through."""

from __future__ import annotations

import pytest

from mountfs.errors import ConfigError
from mountfs.transport.proxies import Proxies, Proxy, from_environment

PROXY = {"HTTPS_PROXY": "http://proxy.corp:3128"}


def test_without_variables_nothing_is_proxied() -> None:
    """The usual case."""
    assert from_environment({}) == Proxies()
    assert Proxies().choose("https", "api.dari.dev", None) is None


def test_each_scheme_has_its_variable() -> None:
    """Lower case wins, ALL_PROXY fills in, a bare host is http."""
    found = from_environment({"HTTPS_PROXY": "http://upper:1", "https_proxy": "lower:2", "ALL_PROXY": "socks5://s"})
    assert found.https == Proxy("http://lower:2")
    assert found.http == Proxy("socks5://s:1080")


def test_user_and_password_are_kept_apart_and_out_of_sight() -> None:
    """They are decoded, and in no repr."""
    found = from_environment({"HTTPS_PROXY": "http://us%40er:p%3Ass@proxy:3128"}).https
    assert found == Proxy("http://proxy:3128", ("us@er", "p:ss"))
    assert "p:ss" not in repr(found)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "x.localhost"])
def test_loopback_is_never_proxied(host: str) -> None:
    """Whatever NO_PROXY says."""
    everything = {**PROXY, "HTTP_PROXY": "http://proxy:1", "ALL_PROXY": "http://proxy:2"}
    assert from_environment(everything).choose("https", host, 443) is None
    assert from_environment(everything).choose("http", host, 80) is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("*", "api.dari.dev", None, True),
        ("dari.dev", "api.dari.dev", None, True),
        (".dari.dev", "api.dari.dev", None, True),
        ("*.dari.dev", "api.dari.dev", None, True),
        ("dari.dev", "dari.dev", None, True),
        ("ari.dev", "dari.dev", None, False),
        ("other.org, DARI.dev ", "api.dari.dev", None, True),
        ("other.org dari.dev", "api.dari.dev", None, True),
        ("dari.dev:8443", "api.dari.dev", 8443, True),
        ("dari.dev:8443", "api.dari.dev", None, False),
        ("10.0.0.0/8", "10.2.3.4", None, True),
        ("10.0.0.0/8", "11.2.3.4", None, False),
        ("10.2.3.4", "10.2.3.4", None, True),
        ("fd00::/8", "fd00::7", None, True),
        ("[fd00::7]", "fd00::7", None, True),
        ("nonsense/99", "10.2.3.4", None, False),
        ("", "api.dari.dev", None, False),
    ],
)
def test_no_proxy_is_read_as_curl_reads_it(no_proxy: str, host: str, port: int | None, direct: bool) -> None:
    """Names with their subdomains, addresses, networks, ports, a star."""
    chosen = from_environment({**PROXY, "NO_PROXY": no_proxy}).choose("https", host, port)
    assert (chosen is None) is direct


@pytest.mark.parametrize("value", ["ftp://proxy", "http://:secret@", "http://h:port", "http://[::1"])
def test_a_proxy_that_is_no_url_is_refused_without_being_repeated(value: str) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigError) as caught:
        from_environment({"HTTPS_PROXY": value})
    assert value not in str(caught.value)
    assert "HTTPS_PROXY" in caught.value.advice
