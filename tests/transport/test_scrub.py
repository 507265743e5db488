"""What may be repeated of a service's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountfs.transport.scrub import LONGEST, error_text, scrub, store_code

KEY = "sk-live-0123456789"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Session not found", "Session not found"),
        (f"bad key {KEY}!", "bad key …!"),
        ("see https://u:p@host.example/a/b?sig=1#f now", "see https://host.example/… now"),
        ("see HTTPS://host.example:8443/a", "see HTTPS://host.example:8443/…"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer …"),
        ('{"api_key": "abcdefghijkl"}', '{"api_key": "…"}'),
        ("/k.zip?X-Amz-Signature=abcdef0123456789", "/k.zip…"),
        ("two\nlines\tand\x1b[31m red", "two lines and [31m red"),
        ("abc\u202egpj.exe", "abc gpj.exe"),
    ],
)
def test_secrets_and_tricks_are_taken_out(text: str, left: str) -> None:
    """Keys, URLs but for scheme and host, credentials, control characters."""
    assert scrub(text, [KEY]) == left


@given(before=st.text(max_size=300), after=st.text(max_size=300))
def test_a_known_key_never_comes_through(before: str, after: str) -> None:
    """Also not where the text is cut: it is scrubbed before."""
    got = scrub(before + KEY + after, [KEY])
    assert KEY not in got
    assert KEY[:12] not in got or KEY[:12] in before + after
    assert len(got) <= LONGEST
    assert "\n" not in got


@pytest.mark.parametrize(
    ("data", "fields", "text"),
    [
        ({"error": "no archive"}, ("error",), "no archive"),
        ({"detail": "not started"}, ("detail", "error"), "not started"),
        ({"detail": [{"loc": ["query", "path"], "msg": "bad path"}, {"msg": "worse"}]}, ("detail",), "bad path; worse"),
        ({"detail": {"message": "nested"}}, ("detail",), "nested"),
        ({"message": "", "error": "Unauthorized"}, ("message", "error"), "Unauthorized"),
        ({"error": {"message": "deep"}}, ("message", "error"), "deep"),
        ({"error": 7}, ("error",), ""),
        (["error"], ("error",), ""),
        (None, ("error",), ""),
        ({"error": [[[[["too deep"]]]]]}, ("error",), ""),
    ],
)
def test_the_error_text_is_found_in_its_field(data: object, fields: tuple[str, ...], text: str) -> None:
    """Strings, lists and objects; anything else is silence."""
    assert error_text(data, fields) == text


def test_of_a_store_only_the_code_is_repeated() -> None:
    """S3 echoes what it was sent."""
    body = b"<Error><Code>InvalidArgument</Code><ArgumentValue>Bearer sk-live</ArgumentValue></Error>"
    assert store_code(body) == "InvalidArgument"
    assert store_code(b"<Code>a b</Code>") == ""
    assert store_code(b"<html>") == ""
