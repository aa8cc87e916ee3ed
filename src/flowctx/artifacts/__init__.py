"""Where tables, files and large outputs live: a folder or bucket that all workers share.

* :mod:`.store`: :class:`~.store.PathArtifactStore`, on :mod:`.folder` or on :mod:`.bucket`
* :mod:`.library`: what core asks for when it meets a frame or looks into a table (pyarrow; loaded then)
* :mod:`.frames`, :mod:`.parquet`, :mod:`.reading`: frames of any library as Parquet, and back
* :mod:`.differences`, :mod:`.table_parts`, :mod:`.row_keys`, :mod:`.changed_cells`: what differs between two tables
* :mod:`.content`, :mod:`.form`: the digest of what is in a table, and what its writer has to find again
"""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import datetime

from flowctx.artifacts.store import SHARED, MemoryArtifactStore, PathArtifactStore
from flowctx.core.errors import ContextError, LedgerError
from flowctx.core.execution.artifacts import PrunedArtifacts

__all__ = ["MemoryArtifactStore", "PathArtifactStore", "artifact_store", "prune_artifacts"]


def artifact_store(
    ledger: object | None = None, default: object | None = None
) -> PathArtifactStore | MemoryArtifactStore | None:
    """Return the store in which a run keeps what is large.

    The first of these: what ``FLOWCTX_ARTIFACTS_URL`` names, the folder beside the file of the ledger, the engine's
    own place, and memory for a ledger in memory.

    Args:
        ledger: The ledger in which the run is recorded, if it is.
        default: A folder, URL or path object: where the engine itself keeps what is large.

    Returns:
        The store, or ``None`` if there is none of these.

    Example:
        >>> import os
        >>> os.environ.pop("FLOWCTX_ARTIFACTS_URL", None) and None
        >>> artifact_store(default="/tmp/outputs")
        PathArtifactStore('/tmp/outputs')
    """
    beside = None if ledger is None else _beside_url(_url(ledger))
    named = os.environ.get("FLOWCTX_ARTIFACTS_URL")
    place = named or beside or default
    if place:
        why_there = _why_there(otherwise="beside the ledger" if beside else "the engine's own place")
        if ledger is None:
            return PathArtifactStore(place, why_there=why_there)
        index = getattr(ledger, "artifacts", None)
        return PathArtifactStore(
            place, lambda: _prefix(ledger), index=index, why_there=why_there, beside=not named and beside is not None
        )
    return MemoryArtifactStore() if ledger is not None and _url(ledger) == "memory://" else None


def default_store() -> PathArtifactStore | MemoryArtifactStore:
    """Return the store that the environment names, for a reference that nobody bound to one.

    Raises:
        ContextError: It names none.
    """
    place = os.environ.get("FLOWCTX_ARTIFACTS_URL") or _beside_url(os.environ.get("FLOWCTX_LEDGER_URL") or "")
    if not place:
        raise ContextError(
            "this is a reference to an artifact, and nothing says in which store it is; set FLOWCTX_ARTIFACTS_URL to "
            "the place where it was written"
        )
    return PathArtifactStore(place, why_there=_why_there(otherwise="beside the ledger"))


def prune_artifacts(
    ledger: object, keep: Collection[str], before: datetime, *, dry_run: bool = False
) -> PrunedArtifacts | None:
    """Remove the artifacts of a ledger that it no longer refers to, and what was never completed.

    Args:
        ledger: The ledger; artifacts under the prefix of another are not touched.
        keep: Paths of the artifacts that it refers to.
        before: What was written since stays: longer ago than any run takes.
        dry_run: Only count.

    Returns:
        How much; ``None`` if nothing says where the artifacts of this ledger are.
    """
    store = artifact_store(ledger)
    if not isinstance(store, PathArtifactStore):
        return None
    return store.prune(keep, before, dry_run=dry_run)


def _why_there(*, otherwise: str) -> str:
    """Return why a store is where it is."""
    if os.environ.get("FLOWCTX_ARTIFACTS_URL"):
        return "which FLOWCTX_ARTIFACTS_URL names here"
    return f"{otherwise}, as FLOWCTX_ARTIFACTS_URL is not set here"


def _prefix(ledger: object) -> str:
    try:
        return str(getattr(ledger, "artifact_prefix", SHARED))
    except LedgerError:  # lenient runs go on without it, and nothing will refer to what they keep
        return SHARED


def _url(ledger: object) -> str:
    return str(getattr(ledger, "url", "memory://"))


def _beside_url(url: str) -> str | None:
    """Return the folder beside the file of a ledger; other databases have none."""
    scheme, mark, rest = url.partition("://")
    path = rest.partition("?")[0].removeprefix("/")
    if not mark or scheme.partition("+")[0] != "sqlite" or path in ("", ":memory:"):
        return None
    return f"{os.path.abspath(path)}.artifacts"
