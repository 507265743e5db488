"""Where archive bytes may come from."""

from __future__ import annotations

import httpx
import pytest

from mountfs.transport.messages import Origin, origin_of
from mountfs.transport.rules import HostRules, is_loopback, is_public

API = Origin("https", "api.example.com", 443)
LOCAL_API = Origin("http", "127.0.0.1", 8080)


def objection(url: str, *, api: Origin = API, allow: bool = False) -> str:
    return HostRules(api, allow).objection(origin_of(httpx.URL(url)))


@pytest.mark.parametrize(
    "url",
    [
        "https://bucket.s3.amazonaws.com/k?X-Amz-Signature=1",
        "https://api.example.com/elsewhere",
        "https://API.example.com:443/",
        "https://93.184.216.34/",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/",
    ],
)
def test_https_to_the_internet_is_allowed(url: str) -> None:
    """And the API's own origin always is."""
    assert objection(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://bucket.s3.amazonaws.com/k",
        "http://api.example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://db.localhost./",
        "https://10.1.2.3/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[64:ff9b::7f00:1]/",
        "http://127.0.0.1/",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    """Plain http, private, local and special addresses, also in IPv6's disguises."""
    assert objection(url)


@pytest.mark.parametrize("url", ["https://10.1.2.3/", "https://localhost/", "http://127.0.0.1:9000/"])
def test_the_setting_allows_private_hosts(url: str) -> None:
    """But not the clear over a network."""
    assert objection(url, allow=True) == ""
    assert objection("http://10.1.2.3/", allow=True)


def test_a_loopback_api_may_send_us_to_loopback() -> None:
    """The demo and the tests do; http to anywhere else stays refused."""
    assert objection("http://127.0.0.1:9999/x", api=LOCAL_API) == ""
    assert objection("http://bucket.s3.amazonaws.com/k", api=LOCAL_API)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::101:101", True),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("2001:db8::1", False),
        ("198.18.0.1", False),
        ("239.1.1.1", False),
    ],
)
def test_public_addresses_are_told_by_what_they_hold(address: str, public: bool) -> None:
    """A mapped address is judged by the one inside."""
    assert is_public(address) is public


def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    """Except the API's own, which the user wrote down."""
    rules = HostRules(API)
    assert rules.accepts_address("bucket.example.net", "1.1.1.1")
    assert not rules.accepts_address("bucket.example.net", "10.0.0.1")
    assert rules.accepts_address("api.example.com", "10.0.0.1")
    assert HostRules(API, allow_private=True).accepts_address("bucket.example.net", "10.0.0.1")


def test_loopback_is_known_by_its_form() -> None:
    """No name server is asked."""
    assert all(is_loopback(host) for host in ("localhost", "a.localhost", "127.9.9.9", "::1", "::ffff:127.0.0.1"))
    assert not any(is_loopback(host) for host in ("localhost.example.com", "10.0.0.1", "example.com"))


@pytest.mark.parametrize("url", ["ftp://h/x", "//h/x", "/x", "file:///etc/passwd", "https:///x", "data:,x"])
def test_what_is_no_web_url_has_no_origin(url: str) -> None:
    """Neither do we go there."""
    with pytest.raises(ValueError, match="http"):
        origin_of(httpx.URL(url))
