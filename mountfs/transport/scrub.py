"""What may be repeated of a service's words: error text from the right field, without secrets, short.

Concurrency: pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

LONGEST = 200
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,12})://([^\s/?#\"'<>\\]*)[^\s\"'<>]*")
_CREDENTIAL = re.compile(
    r"(?i)\b(bearer|basic|authorization|x-bb-api-key|[a-z-]*api[-_]?key|token|signature|secret|password)"
    r"(\s*[\"']?\s*[:=]\s*[\"']?\s*(?:bearer\s+|basic\s+)?|\s+)([A-Za-z0-9._~+/=%-]{8,})"
)
_QUERY = re.compile(r"(?i)[?&;][\w.-]{1,64}=[^\s\"'<>]*")
_UNSEEN = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_STORE_CODE = re.compile(rb"<Code>([A-Za-z0-9._-]{1,64})</Code>")


def scrub(text: str, secrets: Iterable[str] = (), *, longest: int = LONGEST) -> str:
    """One line of at most ``longest`` characters: no secret we know, of a URL scheme and host alone, no
    credential-like word.

    The whole text is scrubbed before it is cut, so that a cut never leaves half a secret that no longer matches.
    """
    text = text[: 64 * longest]
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    text = _UNSEEN.sub(" ", text)
    text = _URL.sub(lambda match: f"{match[1]}://{match[2].rpartition('@')[2]}/…", text)
    text = _QUERY.sub("…", text)
    text = _CREDENTIAL.sub(r"\1\2…", text).strip()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def error_text(data: object, fields: Iterable[str]) -> str:
    """The words of an error body: the first of ``fields`` that holds any. Dari's ``detail`` may be a list of objects
    (FastAPI's validation errors), others nest ``{"error": {"message": …}}``."""
    if not isinstance(data, Mapping):
        return ""
    for name in fields:
        words = _words(data.get(name), depth=3)
        if words:
            return words
    return ""


def _words(value: object, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth == 0:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(item, depth - 1) for item in value[:5])))
    if isinstance(value, Mapping):
        return next(filter(None, (_words(value.get(name), depth - 1) for name in ("msg", "message", "detail"))), "")
    return ""


def store_code(body: bytes) -> str:
    """The ``<Code>`` of an object store's XML error. The rest is left out: S3 echoes a stray Authorization header."""
    match = _STORE_CODE.search(body)
    return match[1].decode("ascii") if match else ""
