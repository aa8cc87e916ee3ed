"""Where large outputs live: a folder or bucket that all workers share, through universal-pathlib."""

from __future__ import annotations

import hashlib
import os
from typing import Any
from uuid import uuid4

from flowctx.core.data.plain import ArtifactRef
from flowctx.core.errors import ArtifactError, ContextError


class PathArtifactStore:
    """Keeps artifacts as files named by their digest, so that the same bytes are stored once.

    Args:
        base: A folder or any URL that fsspec knows, such as ``s3://bucket/artifacts``.

    Example:
        >>> import tempfile
        >>> store = PathArtifactStore(tempfile.mkdtemp())
        >>> store.get(store.put(b"rows"))
        b'rows'
    """

    def __init__(self, base: str) -> None:
        if not base:
            raise ContextError(
                "the artifact store needs a folder or URL, such as FLOWCTX_ARTIFACTS_URL=s3://bucket/artifacts"
            )
        self.base = base

    def _path(self, uri: str) -> Any:
        from upath import UPath

        return UPath(uri)

    def put(self, data: bytes) -> ArtifactRef:
        """Store bytes: written beside their place and renamed, so that a reader never sees half of them."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(self.base) / digest[:2] / f"{digest}.json"
        ref = ArtifactRef(uri=str(path), digest=digest, size=len(data))
        try:
            if path.exists() and path.stat().st_size == len(data):
                return ref
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{uuid4().hex}.part")
            try:
                part.write_bytes(data)
                part.rename(path)
            finally:
                if part.exists():
                    part.unlink()
        except OSError as exc:
            raise ArtifactError(f"cannot write the artifact {path}: {exc}; is FLOWCTX_ARTIFACTS_URL writable?") from exc
        return ref

    def get(self, ref: ArtifactRef) -> bytes:
        """Return the bytes, checked against their digest."""
        path = self._path(ref.uri)
        try:
            data = bytes(path.read_bytes())
        except FileNotFoundError:
            raise ArtifactError(f"the artifact {ref.uri} is gone; run the step that made it again") from None
        except OSError as exc:
            raise ArtifactError(f"cannot read the artifact {ref.uri}: {exc}") from exc
        if hashlib.sha256(data).hexdigest() != ref.digest:
            raise ArtifactError(f"the artifact {ref.uri} is damaged: it is not what was written; run its step again")
        return data


def artifact_store() -> PathArtifactStore | None:
    """Return the store that ``FLOWCTX_ARTIFACTS_URL`` names, or ``None``."""
    url = os.environ.get("FLOWCTX_ARTIFACTS_URL")
    return PathArtifactStore(url) if url else None
