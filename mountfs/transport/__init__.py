"""Floor 2, the network: ranges, deadlines, retries, redirects, secrets. This page is the map of the package.

messages    what is asked and answered: Question, Answer, Target, Want, Auth
client      Transport: ask and fetch
sender      places, redirects, the breaker and retries in front of the network
body        Body: exactly the bytes announced, or an error
connect     pools, name resolution and addresses of one provider
failures    httpcore's exceptions -> ours, one table
light       httpx without what nobody uses of it
ranges, retries, breaker, rules, proxies, scrub, statistics    pure decisions
"""

from __future__ import annotations

from mountfs.transport import light as _light  # noqa: F401  # isort: skip - before what imports httpx
from mountfs.transport.body import Body
from mountfs.transport.client import Service, Transport
from mountfs.transport.messages import (
    Answer,
    Auth,
    NotModified,
    Origin,
    Question,
    RangeRefused,
    Refused,
    Suffix,
    Target,
    Want,
)
from mountfs.transport.proxies import Proxies, from_environment
from mountfs.transport.scrub import scrub
from mountfs.transport.sender import NetworkSettings, Surroundings
from mountfs.transport.statistics import Statistics

__all__ = [
    "Answer",
    "Auth",
    "Body",
    "NetworkSettings",
    "NotModified",
    "Origin",
    "Proxies",
    "Question",
    "RangeRefused",
    "Refused",
    "Service",
    "Statistics",
    "Suffix",
    "Surroundings",
    "Target",
    "Transport",
    "Want",
    "from_environment",
    "scrub",
]
