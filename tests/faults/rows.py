"""The rows of the matrix: every way to fail, the errno it must give (design.md §2), and what the log must say of it.

Why the odd ones are what they are:

* A body that is not provably the version that is open (another ETag, a weak one, an encoded body, a web page, endless
  bytes) is ESTALE for who has it open: ranges are joined under one strong validator alone (design §5), so the old
  bytes cannot be had any more. Who opens the session for the first time hears what it is instead: EIO for what is no
  zip, EFBIG for what is over ``max_archive_size``, success for what is merely encoded or weakly tagged, which is
  fetched whole.
* A file of the per-file API has its length in the listing: another length is a size mismatch, so EIO (design §2). Its
  encoding is undone and its SHA-256 checked, so an encoded one is right.
* The archive's host refusing a fresh URL is EREMOTEIO where that is another host than the API (Kaizen's, and wherever
  a redirect led); where the API gives the bytes itself, its refusal has the errno of any question's.
* A question that is redirected to another host is EREMOTEIO: the key must not go there. Bytes may come from there.
* A byte more than announced is dropped with its connection; the next request on that connection may meet its end,
  which only a retry hides (there are none in the matrix).
* A flipped byte is met by CRC or SHA as soon as a member is whole; a part of a large member rests on range, length
  and ETag until then (design §2), so only whole reads are in that row.

Concurrency: values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from faults.cells import FORMS, PACKED_AT, QUESTIONS, REDIRECTED, SIGNED, TRANSFERS, Form, Rig
from faults.roads import PRIVATE, Way

from mountfs.demo import steps
from mountfs.demo.faults import Mode
from mountfs.demo.wire import Step

HOUR = {"retry-after": "3600"}
Tells = str | Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """One way to fail. ``errno``: what every operation gets ("" = nothing is noticed), but for those in ``but``:
    by operation, by form, or by "form operation". ``tells``: what the line in the log must match, by errno or for
    all."""

    name: str
    what: Step | Mode | Callable[[Rig], None]
    errno: str = ""
    tells: Tells = ""
    but: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False
    """Only a time-out ends it, so the clock is moved on."""
    slow: bool = False
    """Something always comes, just too slowly: the clock may not jump over a time-out of silence."""
    either: str = ""
    """What may come instead: it depends on which of two bytes arrives first."""
    later: Mapping[str, str] = field(default_factory=dict)
    """By "form operation": what the first try after the fault may still get; the second one succeeds."""
    anew: bool = False
    """Who opens it again gets it, under the same fault."""
    forms: tuple[Form, ...] = FORMS
    operations: tuple[str, ...] = ()
    way: Way = Way.PLAIN

    def inject(self, rig: Rig, place: str) -> None:
        """``place``: "api", "host", or "both"."""
        if not isinstance(self.what, Step | Mode):
            self.what(rig)
            return
        for proxy in {"api": [rig.api], "host": [rig.host], "both": {rig.api, rig.host}}[place]:
            if isinstance(self.what, Mode):
                proxy.mode = self.what
            else:
                proxy.inject(self.what, times=None)

    def expected(self, form: Form, operation: str) -> str:
        return _said(self.but, form, operation, self.errno)

    def afterwards(self, form: Form, operation: str) -> str:
        return _said(self.later, form, operation, "")

    def line(self, errno: str) -> str:
        """A regular expression."""
        return self.tells if isinstance(self.tells, str) else self.tells[errno]


def _said(table: Mapping[str, str], form: Form, operation: str, default: str) -> str:
    return next((table[key] for key in (f"{form.name} {operation}", form.name, operation) if key in table), default)


AGAIN = "; try again; if it goes on, raise retries under .network., or tell the service's operator"
MUST_NOT = "where the key must not go; check base_url"
STORAGE = "the archive's storage refuses the URL the service has just given out: ask its operator"
REFUSED = rf"answered 403 \(AccessDenied\); {STORAGE}"
CHANGED = "(the archive|the archive has|'.*') changed.*; open (the file|it) again"
NO_JSON = "not JSON; check base_url"
SLOW = {
    "ETIMEDOUT": "(no answer|no answer within read_timeout|silence longer than read_timeout|gave no answer in time|"
    r"no answer within \d+ s.*|did not come within \d+ s); .*"
    "(read_timeout|deadline|lookup_timeout|max_connections)"
}


def answered(status: int, advice: str) -> str:
    return f"answered {status}; ({advice}|{STORAGE})"


KEY = r"(the key is valid but may not see this: )?check the key: .*config\.toml:\d+: providers\.at-\w+\.api_key_file"
ROUTE = "; check the network and base_url"

HUNG_UP = "(it hung up, or what came is not HTTP|the connection was reset)" + AGAIN

ANY_ANSWER = (
    Fault("500", steps.Answer(500), "EREMOTEIO", answered(500, "the service has a problem: try again later")),
    Fault("502", steps.Answer(502, "<html>bad gateway</html>"), "EREMOTEIO", answered(502, ".* try again later")),
    Fault("503", steps.Answer(503), "EREMOTEIO", answered(503, ".* try again later")),
    Fault("503 for an hour", steps.Answer(503, headers=HOUR), "EBUSY", answered(503, "wait 3600 s, or .*connections")),
    Fault("429 for an hour", steps.Answer(429, headers=HOUR), "EBUSY", answered(429, "wait 3600 s, or .*connections")),
    Fault("429", steps.Answer(429), "EBUSY", answered(429, r"wait a while, or .*max_connections under \[network\]")),
    Fault("reset at once", steps.Reset(None), "EREMOTEIO", "the connection was reset" + AGAIN),
    Fault("closed at once", steps.Truncate(None), "EREMOTEIO", "it hung up, or what came is not HTTP" + AGAIN),
    Fault("never answers", steps.BlackHole(), "ETIMEDOUT", SLOW, silent=True),
    Fault("redirect loop", steps.Redirect(), "EREMOTEIO", "more than 5 redirects; check base_url"),
    Fault("refuses connections", Mode.REFUSE, "EHOSTUNREACH", "cannot connect" + ROUTE),
    Fault("black hole", Mode.BLACK_HOLE, "ETIMEDOUT", SLOW, silent=True),
    Fault("hangs up", Mode.HANG_UP, "EREMOTEIO", HUNG_UP),
    Fault("late", steps.Delay(0.05)),
)
OF_QUESTIONS = (
    *ANY_ANSWER,
    Fault("400", steps.Answer(400), "EINVAL", answered(400, r"check the provider's settings under \[providers\.")),
    Fault("401", steps.Answer(401), "EKEYREJECTED", answered(401, KEY)),
    Fault("403", steps.Answer(403), "EACCES", answered(403, KEY)),
    Fault(
        "404",
        steps.Answer(404),
        "ENOENT",
        {
            "ENOENT": answered(404, "check the session's id, the account of the key and base_url"),
            "EOPNOTSUPP": r"this server has no .*list.*; pin session ids: sessions = .* under \[providers\.",
        },
        {"list": "EOPNOTSUPP"},
    ),
    Fault("web page", steps.Answer(200, "<html>welcome</html>"), "EREMOTEIO", NO_JSON),
    Fault("half of JSON", steps.Answer(200, '{"sessions": [{"id'), "EREMOTEIO", NO_JSON),
    Fault("other JSON", steps.Answer(200, "17"), "EREMOTEIO", "has not the documented form; check base_url"),
    Fault("deep JSON", steps.Answer(200, "[" * 200_000), "EREMOTEIO", NO_JSON),
    Fault(
        "endless JSON",
        steps.Endless(b"[", b" " * (1 << 20)),
        "EREMOTEIO",
        {
            "EREMOTEIO": "longer than 32 MiB; check base_url",
            "EFBIG": r"longer than 32 MiB; set list = false .* under \[providers\.",
        },
        {"list": "EFBIG"},
    ),
    Fault("cut", steps.Reset(5), "EREMOTEIO", "the connection was reset in the middle" + AGAIN),
    Fault("short", steps.Truncate(5), "EREMOTEIO", "the answer ended early" + AGAIN),
    Fault("stalls", steps.Stall(5), "ETIMEDOUT", SLOW, silent=True),
    Fault("a byte a second", steps.Dribble(), "ETIMEDOUT", SLOW, silent=True, slow=True),
    Fault("gzip", steps.Gzip()),
    Fault("more than announced", steps.Surplus(), "", "(more bytes|hung up|reset).*" + AGAIN, either="EREMOTEIO"),
    Fault("flipped byte", steps.FlipByte(0), "EREMOTEIO", NO_JSON),
    Fault("elsewhere", lambda rig: rig.redirect(rig.api), "EREMOTEIO", MUST_NOT),
)
BEGUN = {"files open": ""}
"""Its first bytes are here, which is all that open waits for."""
BY_STORE = {"kaizen": "EREMOTEIO"}
OF_TRANSFERS = (
    *ANY_ANSWER,
    Fault("400", steps.Answer(400), "EINVAL", answered(400, "check the provider's settings"), BY_STORE),
    Fault("401", steps.Answer(401), "EKEYREJECTED", answered(401, KEY), BY_STORE),
    Fault("403", steps.Answer(403), "EACCES", answered(403, KEY), BY_STORE),
    Fault("404", steps.Answer(404), "ENOENT", answered(404, "check the session's id, .* and base_url"), BY_STORE),
    Fault("cut", steps.Reset(100), "EREMOTEIO", "the connection was reset in the middle" + AGAIN, BEGUN),
    Fault("short", steps.Truncate(100), "EREMOTEIO", "the answer ended early" + AGAIN, BEGUN),
    Fault("stalls", steps.Stall(100), "ETIMEDOUT", SLOW, BEGUN, silent=True),
    Fault("a byte a second", steps.Dribble(), "ETIMEDOUT", SLOW, BEGUN, silent=True, slow=True),
    Fault(
        "wrong range",
        steps.wrong_range(),
        "EREMOTEIO",
        "is not the range that was asked for" + AGAIN,
        {"files readdir": "", "files open": ""},
    ),
    Fault("no ranges", steps.IgnoreRange()),
    Fault(
        "another ETag",
        steps.changed_etag(),
        "ESTALE",
        CHANGED,
        {"readdir": "", "files open": ""},
        later={"files open": "ESTALE"},  # what was begun under one tag does not go on under another
    ),
    Fault("weak ETag", steps.changed_etag('W/"weak"'), "ESTALE", CHANGED, {"readdir": "", "files open": ""}, anew=True),
    Fault("gzip", steps.Gzip(), "ESTALE", CHANGED, {"readdir": "", "files": ""}, anew=True),
    Fault("more than announced", steps.Surplus(), "", "(more bytes|hung up|reset).*" + AGAIN, either="EREMOTEIO"),
    Fault(
        "endless",
        steps.Endless(b"PK\3\4"),
        "ESTALE",
        {"ESTALE": CHANGED, "EFBIG": "(raise limits.max_archive_size|set list = false)"},
        {"readdir": "EFBIG", "files open": ""},
        later={"files open": "ESTALE"},  # what came of it is no part of the file
    ),
    Fault(
        "elsewhere",
        steps.Redirect("http://127.0.0.1:9/x"),
        "EHOSTUNREACH",
        {
            "EHOSTUNREACH": "127.0.0.1:9: cannot connect" + ROUTE,
            "EREMOTEIO": MUST_NOT,
        },
        {"files readdir": "EREMOTEIO"},
    ),
    Fault("elsewhere, alive", lambda rig: rig.redirect(rig.host), "EREMOTEIO", f"{MUST_NOT}|{REFUSED}"),
    Fault(
        "web page",
        steps.Answer(200, "<html>welcome</html>"),
        "ESTALE",
        {
            "ESTALE": CHANGED,
            "EIO": "not a zip but an HTML or XML page; look at what the service gives|has 20 bytes, the list says",
            "EREMOTEIO": NO_JSON,
        },
        {"readdir": "EIO", "files readdir": "EREMOTEIO", "files": "EIO"},
    ),
    Fault(
        "flipped byte",
        steps.FlipByte(PACKED_AT),
        "EIO",
        "CRC-32 is|SHA-256 of|is damaged",
        operations=("whole",),
    ),
)


def silent_names(rig: Rig) -> None:
    rig.names.silent()
    rig.reset()


def unknown_names(rig: Rig) -> None:
    rig.names.known = False
    rig.reset()


def nobodys_certificate(rig: Rig) -> None:
    assert rig.road is not None
    for proxy in {rig.api, rig.host}:
        proxy.present(rig.road.wrong.serving)


def private_url(rig: Rig) -> None:
    url = "https://10.1.2.3/SECRET?Signature=SECRET"
    rig.api.inject(steps.Answer(200, {"downloadUrl": url}), times=None, path="getFileArchiveUrl")


def expire(rig: Rig) -> None:
    rig.world.fakes.store.expire_all()


def expire_at_once(rig: Rig) -> None:
    rig.world.fakes.store.lifetime = 0
    rig.world.fakes.store.expire_all()


ALL = (*QUESTIONS, *TRANSFERS)
OF_ROADS = (
    Fault("no TLS", Mode.NO_TLS, "EREMOTEIO", "TLS failed; .*CA certificates", way=Way.NAMED),
    Fault("nobody's certificate", nobodys_certificate, "EREMOTEIO", "TLS failed; .*CA certificates", way=Way.NAMED),
    Fault("unknown name", unknown_names, "EHOSTUNREACH", "cannot be resolved; check DNS and base_url", way=Way.NAMED),
    Fault(
        "silent name server",
        silent_names,
        "EHOSTUNREACH",
        "no connection within connect_timeout" + ROUTE,
        silent=True,
        way=Way.NAMED,
    ),
    Fault(
        "private address",
        steps.Redirect("https://10.1.2.3/SECRET?Signature=SECRET"),
        "EREMOTEIO",
        f"{MUST_NOT}|https://10.1.2.3 is a private address; set allow_private_archive_hosts = true under .network.",
        way=Way.NAMED,
    ),
    Fault(
        "name of a private address",
        steps.Redirect(f"https://{PRIVATE}/SECRET?Signature=SECRET"),
        "EREMOTEIO",
        f"{MUST_NOT}|its name leads to a private address; set allow_private_archive_hosts = true under .network.",
        way=Way.NAMED,
    ),
    Fault(
        "downloadUrl of a private address",
        private_url,
        "",
        "https://10.1.2.3 is a private address; set allow_private_archive_hosts = true under .network.",
        {"enter": "EREMOTEIO", "readdir": "EREMOTEIO"},  # the others have their URL already
        forms=SIGNED,
        way=Way.NAMED,
    ),
    Fault(
        "proxy refuses connections",
        lambda rig: rig.set_proxy(Mode.REFUSE),
        "EHOSTUNREACH",
        "the proxy named in the environment cannot be reached; check HTTPS_PROXY and NO_PROXY",
        way=Way.PROXIED,
    ),
    Fault(
        "proxy never answers",
        lambda rig: rig.set_proxy(Mode.BLACK_HOLE),
        "ETIMEDOUT",
        SLOW,
        silent=True,
        way=Way.PROXIED,
    ),
    Fault(
        "proxy hangs up",
        lambda rig: rig.set_proxy(Mode.HANG_UP),
        "EREMOTEIO",
        HUNG_UP,
        way=Way.PROXIED,
    ),
    Fault(
        "proxy says no",
        lambda rig: rig.set_proxy(steps.Answer(407)),
        "EHOSTUNREACH",
        "the proxy refused; check HTTPS_PROXY and NO_PROXY",
        way=Way.PROXIED,
    ),
    Fault("expired URL", expire, forms=(*SIGNED, REDIRECTED), operations=TRANSFERS),
    Fault(
        "URL expired at birth",
        expire_at_once,
        "EREMOTEIO",
        REFUSED,
        forms=(*SIGNED, REDIRECTED),
        operations=TRANSFERS,
    ),
)
