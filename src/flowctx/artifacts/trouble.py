"""What went wrong with a store, in words: away, full, read-only, or an object that is gone."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from flowctx.core.errors import ArtifactError, ArtifactRefused, ArtifactUnavailable, FlowctxError

_T = TypeVar("_T")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

#: Parts of the names that libraries give to errors about who asks: no wait would help.
_UNKNOWN_USER = ("Credential", "Authentication", "RefreshError")

#: Waits in seconds before a call to a store that is away is repeated.
PATIENCE = (0.2, 1.0, 3.0)


def explained(exc: BaseException, what: str, why_there: str = "") -> FlowctxError:
    """Return an error of a file system as one of ours, with what to do about it.

    Args:
        exc: The error.
        what: What could not be done, such as ``write tables/ab/….parquet to s3://bucket``.
        why_there: Why it was tried in that store, as words that follow its name.
    """
    if isinstance(exc, FlowctxError):
        return exc
    number = exc.errno if isinstance(exc, OSError) else None
    if isinstance(exc, FileNotFoundError) or _named(exc, "ResourceNotFound"):
        if what.startswith("write ") and getattr(exc, "filename", None) is not None:  # it is of this machine
            return ArtifactRefused(
                f"cannot {what}: the folder cannot be made ({_words(exc)}); name another one in FLOWCTX_ARTIFACTS_URL"
            )
        if what.startswith("write "):
            return ArtifactRefused(
                f"cannot {what}: there is no such bucket or container ({_words(exc)}); make it, or name another one in "
                "FLOWCTX_ARTIFACTS_URL"
            )
        there = f" ({why_there})" if why_there else ""
        return ArtifactError(
            f"cannot {what}{there}: it is not there; if it was written to another store, name that one in "
            "FLOWCTX_ARTIFACTS_URL here; if it is gone, run the step that made it again"
        )
    if isinstance(exc, PermissionError) or number in _READ_ONLY or _named(exc, *_UNKNOWN_USER):
        return ArtifactRefused(
            f"cannot {what}: {_words(exc)}; grant access to it, or name one that is writable in FLOWCTX_ARTIFACTS_URL"
        )
    if number in _FULL:
        return ArtifactUnavailable(
            f"cannot {what}: {_words(exc)}; free some space there (flowctx ledger prune), or set FLOWCTX_ARTIFACTS_URL "
            "to a place that has some"
        )
    if isinstance(exc, (NotADirectoryError, IsADirectoryError, FileExistsError)):
        return ArtifactRefused(f"cannot {what}: {_words(exc)}; FLOWCTX_ARTIFACTS_URL names a folder or a bucket")
    if _away(exc):
        return ArtifactUnavailable(f"cannot {what}: the store does not answer ({_words(exc)}); try again later")
    return ArtifactError(f"cannot {what}: {_words(exc)}")


def patiently(call: Callable[[], _T], what: str, patience: tuple[float, ...] = PATIENCE, why_there: str = "") -> _T:
    """Return what a call to a store returns; one that gets no answer is repeated a few times.

    Raises:
        ArtifactError: It fails all the same, or in another way.
    """
    for wait in (*patience, None):
        try:
            return call()
        except Exception as exc:
            if wait is None or not _away(exc):
                raise explained(exc, what, why_there) from exc
        time.sleep(wait)
    raise AssertionError  # the loop returns or raises


def _named(exc: BaseException, *parts: str) -> bool:
    """Whether an error, or one that led to it, is of a type whose name has a part; libraries share no types."""
    seen: BaseException | None = exc
    while seen is not None:
        if any(part in kind.__name__ for kind in type(seen).__mro__ for part in parts):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _away(exc: BaseException) -> bool:
    """Whether a store did not answer, in the words of the library in between."""
    if isinstance(exc, (ConnectionError, TimeoutError)):
        return True
    if _named(exc, "ResourceNotFound", *_UNKNOWN_USER):
        return False
    if isinstance(exc, OSError) and (exc.errno in _FULL | _READ_ONLY or isinstance(exc, FileNotFoundError)):
        return False
    library = {kind.__module__.partition(".")[0] for kind in type(exc).__mro__}
    return bool(
        library & {"botocore", "aiohttp", "aiobotocore", "gcsfs", "azure", "requests", "urllib3", "socket"}
    ) or (isinstance(exc, OSError) and exc.errno in (errno.EIO, errno.EBUSY, errno.ETIMEDOUT, errno.ESTALE))


def _words(exc: BaseException) -> str:
    text = str(exc).strip().partition("\n")[0]  # Azure's go on with the answer's XML
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
