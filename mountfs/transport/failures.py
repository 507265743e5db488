"""The one crossing from the network library's exceptions to ours: a table, read from the top.

``reached`` tells the breaker whether the service was there: before the first byte of an answer only. ``passing``
tells the retries whether trying again can help. An exception that no row names is a bug, and is not caught.

Concurrency: pure.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpcore

from mountfs.errors import BadAnswer, DeadlineExceeded, ServiceError, ServiceFailed, Unreachable
from mountfs.transport.connect import AddressForbidden, NameNotResolved, ProxyUnreachable


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of exception means. ``says``: the sentence's end, after the subject and the host."""

    error: type[ServiceError]
    says: str
    advice: str = ""
    reached: bool = False
    passing: bool = True
    at_once: bool = False
    """Worth one more attempt without a pause: a kept connection may have gone stale."""


PRIVATE = "set allow_private_archive_hosts = true under [network] if this host is yours"
ROUTE = "check the network and base_url"
CERTIFICATES = "check base_url, this machine's clock and its CA certificates"
PATIENCE = "the service is slow: raise read_timeout under [network], or try again"
PROXY = "check HTTPS_PROXY and NO_PROXY"
AGAIN = "try again; if it goes on, raise retries under [network], or tell the service's operator"

TLS_FAILED = Row(BadAnswer, "TLS failed", CERTIFICATES, passing=False)

NETWORK_FAILURES: tuple[tuple[type[Exception], Row], ...] = (
    (AddressForbidden, Row(BadAnswer, "its name leads to a private address", PRIVATE, reached=True, passing=False)),
    (ProxyUnreachable, Row(Unreachable, "the proxy named in the environment cannot be reached", PROXY)),
    (NameNotResolved, Row(Unreachable, "its name cannot be resolved", "check DNS and base_url")),
    (httpcore.ConnectTimeout, Row(Unreachable, "no connection within connect_timeout", ROUTE)),
    (httpcore.ConnectError, Row(Unreachable, "cannot connect", ROUTE)),
    (httpcore.ProxyError, Row(Unreachable, "the proxy refused", PROXY)),
    (httpcore.ReadTimeout, Row(DeadlineExceeded, "no answer within read_timeout", PATIENCE)),
    (httpcore.WriteTimeout, Row(DeadlineExceeded, "the request could not be sent in time", PATIENCE)),
    (httpcore.ReadError, Row(ServiceFailed, "the connection was reset", AGAIN, at_once=True)),
    (httpcore.WriteError, Row(ServiceFailed, "the connection was reset", AGAIN, at_once=True)),
    (httpcore.RemoteProtocolError, Row(ServiceFailed, "it hung up, or what came is not HTTP", AGAIN, at_once=True)),
    (httpcore.UnsupportedProtocol, Row(BadAnswer, "not an http or https URL", ROUTE, reached=True, passing=False)),
    (
        httpcore.LocalProtocolError,
        Row(BadAnswer, "no request can be made of this", ROUTE, reached=True, passing=False),
    ),
)

BODY_FAILURES: tuple[tuple[type[Exception], Row], ...] = (
    (httpcore.ReadTimeout, Row(DeadlineExceeded, "silence longer than read_timeout", PATIENCE, reached=True)),
    (httpcore.ReadError, Row(ServiceFailed, "the connection was reset in the middle", AGAIN, reached=True)),
    (httpcore.RemoteProtocolError, Row(ServiceFailed, "the answer ended early", AGAIN, reached=True)),
)

CAUGHT = tuple(kind for kind, _row in NETWORK_FAILURES)
CAUGHT_IN_BODY = tuple(kind for kind, _row in BODY_FAILURES)


def explain(error: Exception) -> Row:
    """The row for what a request met before its answer's head."""
    if isinstance(error, httpcore.ConnectError) and _is_tls(error):
        return TLS_FAILED
    return _find(NETWORK_FAILURES, error)


def explain_body(error: Exception) -> Row:
    """The row for what a body met."""
    return _find(BODY_FAILURES, error)


def _find(table: tuple[tuple[type[Exception], Row], ...], error: Exception) -> Row:
    return next(row for kind, row in table if isinstance(error, kind))


def _is_tls(error: BaseException | None) -> bool:
    """Whether TLS itself failed, and not the connection under it."""
    while error is not None:
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
            return False
        if isinstance(error, ssl.SSLError | ssl.CertificateError):
            return True
        error = error.__cause__ or error.__context__
    return False
