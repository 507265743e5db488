"""One table from error class to errno, for the mount, the CLI, ``why`` and the metrics (design.md §2).

The most specific class wins: the table is searched along the error's own MRO, so a subclass without a row of its own
takes its parent's. What is not ours at all (a bug) is EIO; the guard logs its traceback.
"""

from __future__ import annotations

import errno
import os

from mountfs import errors

ERRNOS: dict[type[BaseException], int] = {
    errors.MountfsError: errno.EIO,
    # the caller
    errors.NotFound: errno.ENOENT,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.NotALink: errno.EINVAL,
    errors.ReadOnly: errno.EROFS,
    errors.BadHandle: errno.EBADF,
    errors.NoAttribute: errno.ENODATA,
    errors.CrawlerRefused: errno.EACCES,
    errors.Interrupted: errno.EINTR,
    # the service
    errors.NoKey: errno.ENOKEY,
    errors.KeyRejected: errno.EKEYREJECTED,
    errors.AccessDenied: errno.EACCES,
    errors.RequestRefused: errno.EINVAL,
    errors.Absent: errno.ENOENT,
    errors.Busy: errno.EBUSY,
    errors.ServiceError: errno.EREMOTEIO,
    errors.ListingTooLarge: errno.EFBIG,
    errors.ListingUnsupported: errno.EOPNOTSUPP,
    errors.Unreachable: errno.EHOSTUNREACH,
    errors.DeadlineExceeded: errno.ETIMEDOUT,
    errors.SnapshotLost: errno.ESTALE,
    # the archive
    errors.ArchiveError: errno.EIO,
    errors.MemberUnsupported: errno.EOPNOTSUPP,
    errors.LimitExceeded: errno.EFBIG,
    # this machine
    errors.CacheFull: errno.ENOSPC,
    errors.CacheDamaged: errno.EIO,
}

NAMES = {errno.EOPNOTSUPP: "EOPNOTSUPP"}
"""Where one number has two names, the one that is ours."""


def errno_of(error: BaseException) -> int:
    """The errno a user sees for ``error``; EIO for anything that has no row."""
    for cls in type(error).__mro__:
        if cls in ERRNOS:
            return ERRNOS[cls]
    return errno.EIO


def name_of(error: BaseException) -> str:
    """``ETIMEDOUT (Connection timed out)``, for logs and ``why``."""
    number = errno_of(error)
    return f"{NAMES.get(number) or errno.errorcode[number]} ({os.strerror(number)})"
