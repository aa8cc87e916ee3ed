"""Keep the tables and files that a step hands on."""

from __future__ import annotations

from typing import TypeVar

from flowctx.core.data.files import File
from flowctx.core.data.handles import replaced
from flowctx.core.data.tables import MAX_INLINE_BYTES, Table
from flowctx.core.errors import OutputTooLarge
from flowctx.core.execution.artifacts import ArtifactStore

_T = TypeVar("_T")

#: What to do where there is no artifact store.
NO_STORE = (
    "set FLOWCTX_ARTIFACTS_URL to a folder or bucket that all workers share, or return where the data is instead of "
    "the data"
)


def keep_tables(output: _T, store: ArtifactStore | None, step: str) -> _T:
    """Return an output, or updates, whose tables and files are stored; without a store, small ones travel inside.

    Raises:
        OutputTooLarge: One is over the limit, and there is no store.
        ArtifactError: The store cannot keep it.
        PlainDataError: Something in a table would be lost.
    """

    def kept(handle: Table | File) -> Table | File:
        if store is not None:
            return store.put_table(handle) if isinstance(handle, Table) else store.put_file(handle)
        reference = handle.reference
        if reference.data is not None and reference.size > MAX_INLINE_BYTES:
            kind = "table" if isinstance(handle, Table) else "file"
            raise OutputTooLarge(
                f"a {kind} that step {step!r} hands on takes {reference.size:,} bytes, more than "
                f"{MAX_INLINE_BYTES:,}; {NO_STORE}"
            )
        return handle

    kept_output: _T = replaced(output, kept)
    return kept_output
