"""Artifacts in an object store, or on any other file system that fsspec knows by its URL."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, cast
from uuid import uuid4

from flowctx.artifacts.folder import Stored, damaged
from flowctx.artifacts.trouble import PATIENCE, patiently
from flowctx.core.errors import ArtifactError, ArtifactUnavailable, ContextError
from flowctx.core.temporary_files import having_room
from flowctx.core.whole_files import PART

logger = logging.getLogger("flowctx")

#: Object stores on which a put is atomic; anywhere else a file is written beside its place and moved.
_ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "r2"})
#: Bytes of one part of an upload.
_PART_BYTES = 8 * 1024 * 1024
#: Without a ledger, an object that is older is copied when something refers to it anew: it may be removed by its age.
_FRESH = timedelta(hours=6)
#: Where the next page of a list of uploads begins, by what S3 calls it in a page.
_MARKERS = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}


class Bucket:
    """Reads and writes objects under one URL.

    An object is first written to a temporary file of this machine, and then uploaded: a source that breaks never
    reaches the store, an upload that gets no answer is repeated, and memory stays flat. An upload that fails is
    aborted, not published.

    Args:
        base: The URL, or a path object with ``fs`` and ``path`` (universal-pathlib's, or Airflow's).
        patience: Waits in seconds before a call that got no answer is repeated.
        why_there: Why this one was chosen, for the message that something is not there.
    """

    def __init__(self, base: Any, patience: tuple[float, ...] = PATIENCE, why_there: str = "") -> None:
        self.why_there = why_there
        self.shown = _shown(str(base))
        self._given, self._patience = base, patience
        self._found: tuple[Any, str, str] | None = None

    def _at(self, path: str) -> tuple[Any, str]:
        """Return the file system, and a path on it."""
        fs, root, _ = self._opened()
        return fs, f"{root}/{path}"

    def _opened(self) -> tuple[Any, str, str]:
        if self._found is None:
            base = _path_object(self._given, self.shown)
            protocol = base.fs.protocol
            names = (protocol,) if isinstance(protocol, str) else tuple(protocol)
            self._found = base.fs, str(base.path).rstrip("/"), names[0]
        return self._found

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Open a new object; it is there when the block ends, and not at all if the block raises."""
        what = f"write {path} to {self.shown}"
        with _having_room(what):
            file = tempfile.TemporaryFile(prefix="flowctx-")  # noqa: SIM115 - closed below
        try:
            yield cast(BinaryIO, _TemporaryFile(file, what))
            with _having_room(what):
                file.flush()
            patiently(lambda: self._upload(file, path), what, self._patience)
        finally:
            with suppress(OSError):  # where it has no room, it says so once more
                file.close()

    def _upload(self, file: BinaryIO, path: str) -> None:
        fs, target = self._at(path)
        atomic = self._opened()[2] in _ATOMIC
        if not atomic:
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        at = target if atomic else f"{target}.{uuid4().hex}{PART}"
        file.seek(0)
        remote = fs.open(at, "wb", block_size=_PART_BYTES)
        try:
            while data := file.read(_PART_BYTES):
                remote.write(data)
            remote.close()
        except BaseException:
            _abort(remote)
            if not atomic:
                with suppress(Exception):  # what stays is removed by the next prune
                    fs.rm_file(at)
            raise
        if not atomic:
            fs.mv(at, target)

    def open(self, path: str, size: int) -> BinaryIO:
        """Open an object for reading, if it has as many bytes as it should."""

        def opened() -> BinaryIO:
            fs, target = self._at(path)
            found = fs.info(target)
            if found["size"] != size:
                raise damaged(path, self.shown, found["size"], size)
            file: BinaryIO = fs.open(target, "rb", block_size=_PART_BYTES)
            return file

        return patiently(opened, f"read {path} from {self.shown}", self._patience, self.why_there)

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the objects under a prefix, and uploads that were never completed."""
        fs, target = self._at(prefix)
        root = self._opened()[1]

        def listed() -> dict[str, Any]:
            fs.invalidate_cache()
            found: dict[str, Any] = fs.find(target, detail=True)
            return found

        for name, info in patiently(listed, f"list {self.shown}", self._patience).items():
            path = name[len(root.lstrip("/" if not name.startswith("/") else "")) :].lstrip("/")
            yield Stored(path, info["size"], _modified(fs, name, info))

    def remove(self, path: str) -> None:
        """Remove an object; it may be gone already."""
        fs, target = self._at(path)

        def removed() -> None:
            with suppress(FileNotFoundError):
                fs.rm_file(target)

        patiently(removed, f"remove {path} from {self.shown}", self._patience)

    def touch(self, path: str) -> bool:
        """Return whether an object counts as new; an old one is not written anew, as others may read it."""
        fs, target = self._at(path)

        def is_new() -> bool:
            return datetime.now(UTC) - _modified(fs, target, fs.info(target)) < _FRESH

        return patiently(is_new, f"refer to {path} in {self.shown}", self._patience, self.why_there)

    def dataset(self, path: str) -> Any:
        """Return an object as a dataset of pyarrow's, which reads what a query needs."""
        from pyarrow import dataset
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        fs, target = self._at(path)

        def found() -> Any:
            return dataset.dataset(target, filesystem=PyFileSystem(FSSpecHandler(fs)), format="parquet")

        return patiently(found, f"read {path} from {self.shown}", self._patience, self.why_there)

    def abort_uploads(self, prefix: str, before: datetime, *, dry_run: bool = False) -> int:
        """Abort uploads that were begun before a time and never completed; returns how many.

        A bucket may not let who prunes do so: then a warning says that they stay.
        """
        if self._opened()[2] not in ("s3", "s3a"):
            return 0
        aborted = 0
        try:
            for upload in self._uploads(prefix):
                if upload["Initiated"].astimezone(UTC) < before:
                    if not dry_run:
                        self._call_s3("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
                    aborted += 1
        except ArtifactError as exc:
            logger.warning("uploads that were never completed stay: %s", exc)
        return aborted

    def _uploads(self, prefix: str) -> Iterator[dict[str, Any]]:
        key = self._at(prefix)[1].partition("/")[2]
        after: dict[str, str] | None = {}
        while after is not None:
            page = self._call_s3("list_multipart_uploads", Prefix=f"{key}/", **after)
            yield from page.get("Uploads") or ()
            markers = {to: page[name] for to, name in _MARKERS.items() if page.get(name)}
            after = markers if markers and page.get("IsTruncated") else None

    def _call_s3(self, method: str, **asked: str) -> dict[str, Any]:
        fs, root, _ = self._opened()

        def called() -> dict[str, Any]:
            with suppress(FileNotFoundError):  # somebody else has aborted it
                found: dict[str, Any] = fs.call_s3(method, Bucket=root.partition("/")[0], **asked)
                return found
            return {}

        return patiently(called, f"{method.replace('_', ' ')} to {self.shown}", self._patience)


class _TemporaryFile:
    """Writes to the temporary file of an object that is uploaded later."""

    def __init__(self, file: BinaryIO, what: str) -> None:
        self._file, self._what = file, what

    def write(self, data: bytes) -> int:
        with _having_room(self._what):
            return self._file.write(data)


def _having_room(what: str) -> AbstractContextManager[None]:
    """Say that it is no store that has no room, but the folder for temporary files."""
    return having_room(error=ArtifactUnavailable, what=f"cannot {what}")


def _path_object(base: Any, shown: str) -> Any:
    if not isinstance(base, str):
        return base
    from upath import UPath

    try:
        path = UPath(base)
        path.fs  # noqa: B018  # is made when it is first asked for
    except ImportError as exc:
        scheme = base.partition("://")[0]
        raise ContextError(
            f"the artifact store {shown} needs a package for {scheme}:// ({exc}); pip install it"
        ) from exc
    except ValueError as exc:
        raise ContextError(
            f"the artifact store {shown} cannot be opened ({exc}); name a folder or a URL that fsspec knows, and set "
            "what it needs"
        ) from exc
    return path


def _abort(remote: Any) -> None:
    """Throw away what was written of an upload; closing it would publish that."""
    discard = getattr(remote, "discard", None)
    with suppress(Exception):
        if discard is not None:
            discard()
    with suppress(AttributeError):
        remote.closed = True  # or fsspec closes it when it is collected


def _modified(fs: Any, name: str, info: dict[str, Any]) -> datetime:
    found = info.get("LastModified") or info.get("last_modified") or info.get("mtime") or info.get("updated")
    if found is None:
        found = fs.modified(name)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    if isinstance(found, (int, float)):
        return datetime.fromtimestamp(found, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _shown(url: str) -> str:
    """Return a URL without what may be a password in it."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else url
