"""What core asks for when it looks into a file."""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import Any, BinaryIO

from flowctx.artifacts import default_store
from flowctx.core.data.references import FileReference
from flowctx.core.errors import ArtifactError
from flowctx.core.hashing import sha256


class StoredFiles:
    """Files of this machine and of stores."""

    def open(self, reference: FileReference, store: object | None) -> BinaryIO:
        """Open a file, checked against its digest."""
        if reference.data is not None:
            return io.BytesIO(reference.data)
        found: Any = default_store() if store is None else store
        opened: BinaryIO = found.open_file(reference)
        return opened

    def settle(self, path: str) -> FileReference:
        """Return a file of this machine with its bytes in memory."""
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as exc:
            raise ArtifactError(f"cannot hand on the file {path!r}: {exc.strerror or exc}") from exc
        return FileReference(name=PurePath(path).name, size=len(data), digest=sha256(data), data=data)
