"""What is done with each archive, step by step, locally and over the network.

A scenario is one archive, one fresh start of a tool, and steps measured one after the other: a later step finds what
the earlier ones left. A step is a command line (``{root}`` the members, ``{out}`` an empty directory, ``{list}`` the
members' paths, ``{a}``, ``{b}`` … members of it), or, for ``unzip``, one that works on ``{zip}``.

Concurrency: none.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

CLIENT = (sys.executable, str(Path(__file__).with_name("client.py")))


@dataclass(frozen=True)
class Network:
    """What the server is told to be: latency of a request, and megabytes a second of one connection (0: no limit)."""

    latency_ms: int = 0
    rate_mb: int = 0

    def __str__(self) -> str:
        return f"{self.latency_ms} ms" + (f", {self.rate_mb} MB/s" if self.rate_mb else "")


NEAR, FAR, SLOW = Network(0), Network(50), Network(200, 50)


@dataclass(frozen=True)
class Step:
    """``unzip``: how curl + unzip does the same, None if it cannot. ``forget``: this file's pages are dropped from the
    kernel before it. ``restart``: the tool is started anew before it, keeping its cache (mountfs only).
    ``checked``: the copy in ``{out}`` is compared with the archive's facts. ``pulse``: the daemon is asked something
    trivial every 5 ms meanwhile, to see how long it does not answer (mountfs only)."""

    name: str
    command: tuple[str, ...]
    unzip: tuple[str, ...] | None = None
    forget: str | None = None
    restart: bool = False
    checked: bool = False
    pulse: bool = False


@dataclass(frozen=True)
class Scenario:
    """``networks``: empty for a local one. ``one_cpu``: tool and client share a CPU: steadier for many tiny requests,
    and what they cost in all; without it they may work side by side, or wait for each other's CPU to wake.
    ``without``: tools that take too long or cannot."""

    name: str
    archive: str
    steps: tuple[Step, ...]
    networks: tuple[Network, ...] = ()
    one_cpu: bool = False
    without: tuple[str, ...] = ()


def _client(*words: str) -> tuple[str, ...]:
    return (*CLIENT, *words)


ENTER = Step("start + ls", ("ls", "{root}"))
FIND = Step("find", ("find", "{root}"))
LS_LR = Step("ls -lR", ("ls", "-lR", "{root}"))
LS_R = Step("first ls -R", ("ls", "-R", "{root}"), unzip=("unzip", "-l", "{zip}"), pulse=True)
STATS = Step("stat storm", _client("stats", "{root}", "{list}"))
UNZIP = ("unzip", "-q", "{zip}", "-d", "{out}")
COPY = Step("cp -r", ("cp", "-r", "{root}/.", "{out}"), unzip=UNZIP, checked=True, pulse=True)
COPY_AGAIN = Step("cp -r again", ("cp", "-r", "{root}/.", "{out}"), checked=True)
COPY_RESTARTED = Step("cp -r, restarted, cache warm", ("cp", "-r", "{root}/.", "{out}"), restart=True, checked=True)
UNZIP_GREP = ("sh", "-c", "unzip -q '{zip}' -d '{out}'; grep -rc id=0000ffff '{out}' || test $? = 1")
GREP = Step("grep -r", ("grep", "-rc", "id=0000ffff", "{root}"), unzip=UNZIP_GREP, pulse=True)
FIRST = Step("first 4 KiB", _client("range", "{root}/{a}", "0", "4096"))
LAST_100 = Step("last 100 bytes", _client("range", "{root}/{a}", "-100", "100"))
LAST_4K = Step("last 4 KiB", _client("range", "{root}/{a}", "-4096", "4096"))
WHOLE = Step("sequential read", _client("whole", "{root}/{a}"), unzip=("unzip", "-p", "{zip}", "{a}"), pulse=True)
WHOLE_2 = Step("second read, daemon warm", _client("whole", "{root}/{a}"), forget="{root}/{a}")
WHOLE_3 = Step("third read, kernel warm", _client("whole", "{root}/{a}"))
RANDOM = Step("1,000 random 4 KiB", _client("random", "{root}/{a}", "1000", "one"))
RANDOM_FRESH = Step(
    "1,000 random 4 KiB, after one pass", _client("random", "{root}/{a}", "1000", "one"), forget="{root}/{a}"
)
RANDOM_WARM = Step("the same again, kernel warm", _client("random", "{root}/{a}", "1000", "one"))
CAT_4K = Step("cat of one 4 KiB member", ("cat", "{root}/{m}"), unzip=("unzip", "-p", "{zip}", "{m}"))
READERS = Step("48 readers at once", _client("readers", "{root}", "{list}", "48"))

SLOW_SEEKERS = ("ratarmount", "archivemount", "ratarmount http")
"""For which 1,000 random reads inside a deflated member take half an hour (peers.md)."""
LOCAL: tuple[Scenario, ...] = (
    Scenario("small10k, find", "small10k", (ENTER, FIND), one_cpu=True),
    Scenario("small10k, ls -lR", "small10k", (ENTER, LS_LR), one_cpu=True),
    Scenario("small10k, stat storm", "small10k", (ENTER, STATS), one_cpu=True),
    Scenario("small10k, cp -r", "small10k", (ENTER, COPY, COPY_AGAIN), one_cpu=True),
    Scenario("many100k, find", "many100k", (ENTER, FIND), one_cpu=True),
    Scenario("many100k, ls -lR", "many100k", (ENTER, LS_LR), one_cpu=True),
    Scenario("many100k, stat storm", "many100k", (ENTER, STATS), one_cpu=True),
    Scenario("small10k, find, any CPU", "small10k", (ENTER, FIND)),
    Scenario("small10k, ls -lR, any CPU", "small10k", (ENTER, LS_LR)),
    Scenario("small10k, stat storm, any CPU", "small10k", (ENTER, STATS)),
    Scenario("small10k, cp -r, any CPU", "small10k", (ENTER, COPY, COPY_AGAIN)),
    Scenario("big1, first 4 KiB", "big1", (ENTER, FIRST)),
    Scenario("big1, sequential", "big1", (ENTER, WHOLE, WHOLE_2, WHOLE_3)),
    Scenario("big1, random", "big1", (ENTER, RANDOM, RANDOM_WARM), without=SLOW_SEEKERS),
    Scenario("stored1, random", "stored1", (ENTER, RANDOM, RANDOM_WARM), without=SLOW_SEEKERS),
    Scenario("mixed, cp -r", "mixed", (ENTER, COPY)),
    Scenario("mixed, grep -r", "mixed", (ENTER, GREP)),
    Scenario("million", "million", (ENTER, FIND), without=SLOW_SEEKERS),
)
REMOTE: tuple[Scenario, ...] = (
    Scenario("1 GiB, 10,000 members: ls -R, cat", "wide1g", (LS_R, CAT_4K), (NEAR, FAR)),
    Scenario("1 GiB deflated: ends of it", "big1", (FIRST,), (NEAR, FAR)),
    Scenario("1 GiB deflated: its end", "big1", (LAST_100,), (NEAR,)),
    Scenario(
        "1 GiB deflated: sequential", "big1", (WHOLE, WHOLE_2, WHOLE_3, RANDOM_FRESH, RANDOM_WARM), (NEAR, FAR, SLOW)
    ),
    Scenario("1 GiB deflated: random, cold", "big1", (RANDOM,), (NEAR,), without=SLOW_SEEKERS),
    Scenario("1 GiB stored: its end", "stored1", (LAST_4K,), (NEAR, FAR)),
    Scenario("1 GiB stored: sequential", "stored1", (WHOLE,), (NEAR, SLOW)),
    Scenario("small10k: copy", "small10k", (COPY, COPY_RESTARTED), (NEAR, FAR, SLOW)),
    Scenario("mixed: copy", "mixed", (COPY, COPY_RESTARTED), (NEAR, FAR, SLOW)),
    Scenario("interleaved: copy", "interleaved", (COPY,), (NEAR, FAR, SLOW)),
    Scenario("mixed: grep -r", "mixed", (GREP,), (NEAR, FAR)),
    Scenario("small10k: 48 readers", "small10k", (READERS,), (NEAR, FAR)),
    Scenario("many100k: ls -R, stat storm", "many100k", (LS_R, STATS), (NEAR, FAR)),
    Scenario("1,000,000 members: ls, find", "million", (ENTER, FIND), (NEAR,), without=("ratarmount http",)),
)
