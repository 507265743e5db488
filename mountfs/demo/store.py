"""The object store behind signed URLs, an origin of its own.

It keeps nothing: an object is a function that gives the archive as it is now, so that a test which changes a session
changes the object under the same key, as S3 does. A URL is signed with a secret of this store's own, in the style of
one of the stores of providers.md §6; what an expired one gets follows the style.

Concurrency: as ``fake.py``; the table of objects only grows.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote, urlencode

import trio

from mountfs.demo.bodies import Content, RangeRules, serve
from mountfs.demo.fake import Fake, Handler
from mountfs.demo.wire import Ask, Reply, plain

Style = Literal["aws", "aws-role", "gcs", "r2", "azure", "expires", "opaque"]


@dataclass(frozen=True, slots=True)
class Signing:
    """How one store writes and refuses a signed URL. ``opaque`` shows no expiry at all [I]."""

    signature: str
    expired: int
    code: str
    message: str


SIGNINGS: dict[Style, Signing] = {
    "aws": Signing("X-Amz-Signature", 403, "AccessDenied", "Request has expired"),  # [D]
    "aws-role": Signing("X-Amz-Signature", 400, "ExpiredToken", "The provided token has expired."),  # [D]
    "gcs": Signing("X-Goog-Signature", 400, "ExpiredToken", "Invalid argument."),  # [D]
    "r2": Signing("X-Amz-Signature", 403, "ExpiredRequest", "Request has expired"),  # [D]
    "azure": Signing("sig", 403, "AuthenticationFailed", "Signature not valid in the specified time frame"),  # [D]
    "expires": Signing("Signature", 403, "AccessDenied", "Request has expired"),  # [D]
    "opaque": Signing("token", 403, "AccessDenied", "Access Denied"),  # [I]
}


@dataclass(frozen=True, slots=True)
class FakeObject:
    """One object. ``etag``: instead of the true one; asked for at every request, as the content is. ``ready``: whether
    that content can be had at once."""

    content: Callable[[], Content]
    etag: Callable[[], str | None] = lambda: None
    ready: Callable[[], bool] = lambda: True


class FakeStore(Fake):
    """Objects under signed URLs.

    ``style``: whose URLs and errors; ``lifetime``: seconds a URL lasts. ``public_url``: the origin URLs point to (a
    fault proxy's, say); empty: its own. ``suffix_refusal``, ``long_suffix``, ``empty``: see ``RangeRules``.
    ``generation``: send ``x-goog-generation``.
    """

    name = "store"

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        super().__init__(wall=wall)
        self.ranges = True
        self.etags = "strong"
        self.style: Style = "aws"
        self.lifetime = 300.0
        self.public_url = ""
        self.suffix_refusal: Literal[200, 400, 416] = 416
        self.long_suffix: Literal[206, 416] = 206
        self.empty: Literal[200, 206, 416] = 416
        self.generation: str | None = None
        self.objects: dict[str, FakeObject] = {}
        self._secret = secrets.token_bytes(16)

    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        return (("*", "/{key:path}", self._object),)

    def rules(self) -> RangeRules:
        return RangeRules(
            ranges=self.ranges,
            etags=self.etags,
            suffix_refusal=self.suffix_refusal,
            long_suffix=self.long_suffix,
            empty=self.empty,
        )

    def sign(self, key: str, made: FakeObject) -> str:
        """A URL that gives this object for ``lifetime`` seconds. Every call gives another URL."""
        self.objects[key] = made
        now, nonce = int(self.wall()), secrets.token_hex(8)
        expiry = {"nonce": nonce} | _expiry(self.style, now, self.lifetime)
        signature = self._signature(key, urlencode(expiry))
        query = urlencode(expiry | {SIGNINGS[self.style].signature: signature})
        return f"{self.public_url or self.url}/{quote(key)}?{query}"

    async def make(self, ask: Ask) -> None:
        made = self.objects.get(ask.path.removeprefix("/"))
        if made is not None and not made.ready():
            await trio.to_thread.run_sync(made.content)

    def expire_all(self) -> None:
        """Every URL signed so far is refused from now on, as an expired one is."""
        self._secret = secrets.token_bytes(16)

    def leaks(self) -> list[str]:
        """Names of credential headers that came here: none ever should."""
        secret = {"authorization", "x-bb-api-key", "cookie", "proxy-authorization"}
        return sorted({name for each in self.requests for name in each.headers if name in secret})

    def _signature(self, key: str, query: str) -> str:
        return hmac.new(self._secret, f"{key}?{query}".encode(), hashlib.sha256).hexdigest()

    def _object(self, ask: Ask) -> Reply:
        key = ask.params["key"]
        if "authorization" in ask.headers:
            # [M] S3 answers 400 to a signed URL with an Authorization, and its error body echoes the token.
            argument = f"<ArgumentName>Authorization</ArgumentName><ArgumentValue>{ask.headers['authorization']}"
            return xml(400, "InvalidArgument", "Only one auth mechanism allowed", argument + "</ArgumentValue>")
        if ask.method != "GET":
            # [D] A URL signed for GET is refused for HEAD.
            return xml(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        if not self._valid(key, ask):
            refusal = SIGNINGS[self.style]
            return xml(refusal.expired, refusal.code, refusal.message)
        made = self.objects.get(key)
        if made is None:
            return xml(404, "NoSuchKey", "The specified key does not exist.")  # [D]
        reply = serve(made.content(), ask, self.rules(), kind="application/zip", etag=made.etag())
        if reply.status == 416:
            size = {"content-range": reply.headers["content-range"]}
            return xml(416, "InvalidRange", "The requested range is not satisfiable", headers=size)
        if self.generation is not None:
            reply.headers["x-goog-generation"] = self.generation  # [D] providers.md §6
        return reply

    def _valid(self, key: str, ask: Ask) -> bool:
        """Whether the signature is this store's over these very parameters, and its time is not over."""
        name = SIGNINGS[self.style].signature
        signed, _, signature = ask.query.rpartition(f"&{name}=")
        if not hmac.compare_digest(signature, self._signature(key, signed)):
            return False
        expires = _expires(self.style, ask)
        return expires is None or self.wall() < expires


def _expiry(style: Style, now: int, lifetime: float) -> dict[str, str]:
    """The parameters by which each store shows when a URL ends [D]."""
    basic = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    match style:
        case "aws" | "aws-role" | "r2":
            return {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Date": basic, "X-Amz-Expires": f"{lifetime:.0f}"}
        case "gcs":
            return {"X-Goog-Algorithm": "GOOG4-RSA-SHA256", "X-Goog-Date": basic, "X-Goog-Expires": f"{lifetime:.0f}"}
        case "azure":
            return {"se": datetime.fromtimestamp(now + lifetime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "sp": "r"}
        case "expires":
            return {"Expires": f"{now + lifetime:.0f}"}
        case "opaque":
            return {}


def _expires(style: Style, ask: Ask) -> float | None:
    """Wall time at which a URL ends, read back from it."""
    match style:
        case "aws" | "aws-role" | "r2" | "gcs":
            prefix = "X-Goog" if style == "gcs" else "X-Amz"
            begun = datetime.strptime(ask.first(f"{prefix}-Date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return begun.timestamp() + int(ask.first(f"{prefix}-Expires"))
        case "azure":
            return datetime.strptime(ask.first("se"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        case "expires":
            return float(ask.first("Expires"))
        case "opaque":
            return None


def xml(status: int, code: str, message: str, more: str = "", *, headers: Mapping[str, str] | None = None) -> Reply:
    """An error as S3 writes it [D]."""
    inner = f"<Code>{code}</Code><Message>{message}</Message>{more}"
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    return plain(status, text.encode(), headers=headers, kind="application/xml")
