"""The error tree, split by whose fault it is; no errno stands in it.

Every error carries two sentences: ``message`` (what happened) and ``advice`` (what to do about it). Both may
reach a log, a terminal or an extended attribute, so neither ever holds a key, a URL's path or query, or a
body's text that was not scrubbed. ``errnos.py`` is the one place that turns a class into an errno.

Concurrency: plain values; an error that is *believed* for a while is raised again from several tasks, so
whoever raises it a second time raises ``again()``, a copy with no traceback of its own. All copies know whether one of
them was told in the log (``tell``).
"""

from __future__ import annotations

import copy
from typing import Self


class MountfsError(Exception):
    """Root of everything we raise on purpose."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self._tellings = [0]

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message

    def tell(self) -> bool:
        """Whoever asks is about to log it; answers whether nobody did before, of this error or a copy."""
        self._tellings[0] += 1
        return self._tellings[0] == 1

    def again(self) -> Self:
        """A copy to raise in another task: shared instances would grow one another's tracebacks."""
        twin = copy.copy(self)
        twin.__traceback__ = None
        twin.__cause__ = self.__cause__
        return twin


# -- the caller's fault ------------------------------------------------------------------------------------------


class ConfigError(MountfsError):
    """The configuration, a key file or an option is wrong."""


class CallerError(MountfsError):
    """A program asked for what a read-only tree cannot give."""


class NotFound(CallerError):
    """No such name in this directory."""


class NotADirectory(CallerError):
    """A path goes through something that is not a directory."""


class IsADirectory(CallerError):
    """A directory was opened as a file."""


class NotALink(CallerError):
    """readlink of something that is not a symbolic link."""


class ReadOnly(CallerError):
    """Any attempt to write."""


class BadHandle(CallerError):
    """A handle that was never given out, or was released."""


class NoAttribute(CallerError):
    """No such extended attribute."""


class CrawlerRefused(CallerError):
    """A program that indexes drives asked for a session that is not in the cache."""


class Interrupted(CallerError):
    """The caller has a pending signal, so its wait was ended."""


# -- the service's fault, or the way to it -----------------------------------------------------------------------


class ServiceError(MountfsError):
    """The service's answer, or the lack of one. ``status``: its HTTP status, None where there was no answer."""

    def __init__(self, message: str, *, advice: str = "", status: int | None = None) -> None:
        super().__init__(message, advice=advice)
        self.status = status


class NoKey(ServiceError):
    """No key is configured for this provider."""


class KeyRejected(ServiceError):
    """401 from the API."""


class AccessDenied(ServiceError):
    """403 from the API."""


class RequestRefused(ServiceError):
    """400 from the API: what we asked for is malformed or does not exist (Dari's ``path``)."""


class Absent(ServiceError):
    """404: the service has no such session, or no archive of it."""


class Busy(ServiceError):
    """Ask again later. ``retry_after``: seconds the service asked us to wait, None where it did not say."""

    def __init__(
        self, message: str, *, advice: str = "", status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, advice=advice, status=status)
        self.retry_after = retry_after


class NotReady(Busy):
    """409: the archive is being built."""


class Throttled(Busy):
    """429 (or 503 with Retry-After) that outlasted our patience."""


class ServiceFailed(ServiceError):
    """5xx, reset, truncated body after retries."""


class BadAnswer(ServiceFailed):
    """Redirect loop, forbidden redirect, TLS failure, malformed JSON where JSON is due."""


class ArchiveHostRefused(ServiceFailed):
    """The archive host refused a freshly minted URL (400, 401, 403, 404)."""


class Unreachable(ServiceError):
    """Cannot connect, cannot resolve."""


class DeadlineExceeded(ServiceError):
    """No answer in time."""


class ListingTooLarge(ServiceError):
    """A listing over its size bound."""


class ListingUnsupported(ServiceError):
    """The service has no such list route."""


class SnapshotLost(ServiceError):
    """The archive changed and the old bytes cannot be had any more."""


# -- the archive's fault -----------------------------------------------------------------------------------------


class ArchiveError(MountfsError):
    """What came is not what it should be."""


class BadArchive(ArchiveError):
    """Not a zip, or its directory is broken or ambiguous: the whole archive fails."""


class MemberDamaged(ArchiveError):
    """CRC, size or structure of one member is wrong: that member alone fails."""


class MemberUnsupported(ArchiveError):
    """Encrypted, or a compression method we do not read."""


class LimitExceeded(ArchiveError):
    """Over a configured limit: members, sizes, ratio."""


# -- this machine's fault ----------------------------------------------------------------------------------------


class CacheError(MountfsError):
    """The cache's disk."""


class CacheFull(CacheError):
    """No room (ENOSPC, EDQUOT), or the disk refuses writes (EROFS, EIO), or ``max_size`` cannot hold it."""


class CacheDamaged(CacheError):
    """What the cache holds is not what was written: it is dropped and fetched again."""
