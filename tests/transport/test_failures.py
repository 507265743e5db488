"""The crossing from httpcore's exceptions to ours is total, and the package's map is right."""

from __future__ import annotations

import ssl

import httpcore
import pytest

import mountfs.transport
from mountfs.errors import BadAnswer, ServiceError, Unreachable
from mountfs.transport.failures import BODY_FAILURES, NETWORK_FAILURES, explain, explain_body

NEVER = {"PoolTimeout", "ConnectionNotAvailable"}
"""Our pools have no lid; the other is httpcore's own affair."""
RAISED = [
    found
    for name, found in vars(httpcore).items()
    if isinstance(found, type) and issubclass(found, Exception) and not found.__subclasses__() and name not in NEVER
]


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_every_exception_of_the_network_has_its_row(kind: type[Exception]) -> None:
    """One that is new in httpcore fails here first."""
    row = explain(kind("x"))
    assert issubclass(row.error, ServiceError)
    assert row.says


def test_subclasses_come_before_their_parents() -> None:
    """Tables are read from the top."""
    for table in (NETWORK_FAILURES, BODY_FAILURES):
        kinds = [kind for kind, _row in table]
        for index, kind in enumerate(kinds):
            assert not any(issubclass(later, kind) for later in kinds[index + 1 :])


def test_tls_is_told_from_the_connection_under_it() -> None:
    """A certificate stays wrong; a connection that broke in the handshake may not."""
    for cause, error in ((ssl.SSLCertVerificationError("bad"), BadAnswer), (ssl.SSLEOFError("cut"), Unreachable)):
        failure = httpcore.ConnectError("x")
        failure.__cause__ = cause
        row = explain(failure)
        assert row.error is error
        assert row.passing is (error is Unreachable)


def test_a_body_has_rows_of_its_own() -> None:
    """The service was reached by then."""
    for kind in (httpcore.ReadError, httpcore.ReadTimeout, httpcore.RemoteProtocolError):
        assert explain_body(kind("x")).reached


def test_the_map_of_the_package_is_right() -> None:
    """Every name it promises is there, once."""
    assert len(mountfs.transport.__all__) == len(set(mountfs.transport.__all__))
    assert all(hasattr(mountfs.transport, name) for name in mountfs.transport.__all__)
