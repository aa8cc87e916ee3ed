"""The place of a store, as people name it: a folder, a URL, or a path object."""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from typing import Any

from flowctx.artifacts.bucket import Bucket
from flowctx.artifacts.folder import Folder
from flowctx.core.errors import ContextError


def checked_place(base: Any) -> Any:
    """Return where a store is, as text if it is a folder of this machine.

    Raises:
        ContextError: It is nothing that can hold files, or a URL that ``pathlib`` has mangled.
    """
    needs = "the artifact store needs a folder or URL, such as FLOWCTX_ARTIFACTS_URL=s3://bucket/artifacts"
    of_airflow = "conn_id" in getattr(base, "storage_options", ())  # a path of its object storage has a connection
    found = os.fspath(base) if isinstance(base, os.PathLike) and not of_airflow else base
    if isinstance(base, PurePath) and (mangled := re.match(r"([a-z0-9]{2,}):/(?=[^/])", str(found))):
        url = f"{mangled[1]}://{str(found)[mangled.end() :]}"
        raise ContextError(f"{base!r} was a URL, and a Path keeps only one of its strokes; pass the text {url!r}")
    if not found or (isinstance(found, str) and not found.strip()):
        raise ContextError(f"{needs}, not {base!r}" if found else needs)
    # Of the type: asked for its file system, a path object may look up a connection.
    if not isinstance(found, str) and not (hasattr(type(found), "fs") and hasattr(type(found), "path")):
        raise ContextError(f"{needs}, not {base!r}")
    return found


def files_at(base: Any, patience: tuple[float, ...], why_there: str, *, beside: bool) -> Folder | Bucket:
    """Return what reads and writes files at a place that :func:`checked_place` returned."""
    local = _local_folder(base)
    return Bucket(base, patience, why_there) if local is None else Folder(local, why_there, beside=beside)


def _local_folder(base: Any) -> str | None:
    """Return the folder that is meant, if it is one of this machine."""
    if not isinstance(base, str):
        return None
    scheme, mark, rest = base.partition("://")
    if not mark:
        return base.removeprefix("file:") if base.startswith("file:/") else base
    if scheme not in ("file", "local"):
        return None
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(f"file://{rest}")
    if parts.netloc not in ("", "localhost"):
        raise ContextError(
            f"{base!r} names a folder of the host {parts.netloc!r}; write file:///{rest}, with three strokes"
        )
    return unquote(parts.path)
