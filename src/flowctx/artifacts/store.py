"""Where tables, files and large outputs are kept: a folder or bucket that all workers share."""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import PurePath
from typing import Any, BinaryIO, TypeVar, cast
from uuid import uuid4

from flowctx.artifacts.bucket import Bucket
from flowctx.artifacts.folder import Folder
from flowctx.artifacts.legacy import legacy_path
from flowctx.artifacts.places import checked_place, files_at
from flowctx.artifacts.trouble import PATIENCE, explained
from flowctx.core.data.files import File
from flowctx.core.data.plain import ArtifactRef
from flowctx.core.data.references import FileReference, Reference, TableReference, check_path
from flowctx.core.data.tables import Table
from flowctx.core.errors import ArtifactError, LedgerError, PayloadError, noting
from flowctx.core.execution.artifacts import ArtifactIndex, PrunedArtifacts
from flowctx.core.hashing import sha256
from flowctx.core.printable import amount
from flowctx.core.whole_files import PART

logger = logging.getLogger("flowctx")

_T = TypeVar("_T")

#: Bytes that are copied at once.
_CHUNK = 1 << 20
#: A frame that may be small enough to travel inside has no more bytes in memory.
_SMALL = 64 * 1024
#: Files that a ledger is asked to release at once.
_RELEASED_AT_ONCE = 500
#: The prefix of what no ledger remembers.
SHARED = "shared"


class PathArtifactStore:
    """Keeps artifacts as files of random names; each is there completely, or not at all.

    Args:
        base: A folder (a text or a ``pathlib.Path``), any URL that fsspec knows, such as ``s3://bucket/artifacts``, or
            a path object with ``fs`` and ``path``, such as universal-pathlib's.
        prefix: What all names of this writer begin with, or a function that returns it: what a ledger refers to
            stands apart from all else.
        patience: Waits in seconds before a call that got no answer is repeated.
        inline_bytes: A table that takes no more, as it is stored, travels inside of its reference.
        index: What the ledger knows of the files here; with it, equal tables share one.
        why_there: Why this place was taken, as words that follow its name where something is not there.
        beside: It is a folder beside a file of this machine, whose own folder is not made.

    Example:
        >>> import tempfile
        >>> store = PathArtifactStore(tempfile.mkdtemp())
        >>> store.get(store.put(b"rows"))
        b'rows'
    """

    #: Whether it is gone with this process; then outputs stay where they are.
    in_memory = False

    def __init__(
        self,
        base: Any,
        prefix: str | Callable[[], str] = SHARED,
        patience: tuple[float, ...] = PATIENCE,
        inline_bytes: int = 2048,
        index: ArtifactIndex | None = None,
        why_there: str = "",
        *,
        beside: bool = False,
    ) -> None:
        self.base, self._prefix, self.inline_bytes, self._index = checked_place(base), prefix, inline_bytes, index
        self._files = files_at(self.base, patience, why_there, beside=beside)

    @property
    def prefix(self) -> str:
        """What all names of this writer begin with."""
        return self._prefix if isinstance(self._prefix, str) else self._prefix()

    @property
    def shown(self) -> str:
        """Where it is, as messages say it."""
        return self._files.shown

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PathArtifactStore) and str(self.base) == str(other.base)

    def __hash__(self) -> int:
        return hash(str(self.base))

    def __reduce__(self) -> tuple[Any, ...]:
        return _read_elsewhere, (self.base, self._files.why_there)

    def __repr__(self) -> str:
        return f"PathArtifactStore({self.shown!r})"

    def probe(self) -> None:
        """Write, read and delete a small file, as runs will.

        Raises:
            ArtifactError: One of them cannot be done; the message says which and why.
        """
        path, data = f"{SHARED}/probes/{uuid4().hex}.bin", b"written to be read and deleted"
        with self._created(path) as file:
            file.write(data)
        with self._opened(path, len(data)) as file:
            found = file.read()
        self._files.remove(path)
        if found != data:
            raise _not_what_was_written(path, self.shown)

    # -- outputs ----------------------------------------------------------------------------------------------------

    def put(self, data: bytes, holds: Collection[str] = ()) -> ArtifactRef:
        """Store the bytes of an output, and return what stands for it."""
        path = self._new("outputs", "json")
        with self._created(path) as file:
            file.write(data)
        return ArtifactRef(uri=path, digest=sha256(data), size=len(data), holds=tuple(holds))

    def get(self, ref: ArtifactRef) -> bytes:
        """Return the bytes of an output, checked against their number and their digest."""
        path = legacy_path(ref, str(self.base)) or check_path(ref.uri)
        with self._opened(path, ref.size) as file:
            data = file.read()
        if sha256(data) != ref.digest:
            raise _not_what_was_written(path, self.shown)
        return data

    # -- tables -----------------------------------------------------------------------------------------------------

    def put_table(self, table: Table) -> Table:
        """Store a table, and return a handle of it; one that is here already is only referred to anew."""
        if table.stored_in(self):
            table.bind(self)
            if self._reuses(table.reference):
                return table
        source = table.source
        if self._travels_inside(table):
            return table
        path = self._new("tables", "parquet")
        try:
            with self._created(path) as file:
                reference = replace(_written(table, file), path=path, data=None)
                if source is not None:
                    self._leave_if_known(reference, source.form)
        except _Known as known:
            reference = known.reference
        else:
            if source is not None:
                self._ask(lambda index: index.add(reference, source.form), None)
        return Table(reference, store=self, first=() if source is None else source.first)

    def _leave_if_known(self, reference: TableReference, form: str) -> None:
        """Give up what is being written if an equal table is stored already, which then stays."""
        known = self._ask(lambda index: index.find(reference.digest, form), None)
        if known is None:
            return
        path = check_path(known.path)
        try:
            with self._opened(path, known.size) as file:
                if _digest_of(file) != known.checksum:
                    raise _not_what_was_written(path, self.shown)
            self._files.touch(path)
        except ArtifactError as exc:  # removed by hand, damaged, or in another store
            logger.info("an equal table is not shared: %s", exc)
            return
        raise _Known(known)

    def _reuses(self, reference: Reference) -> bool:
        """Say that a file that is stored here is about to be referred to anew; returns whether it stays."""
        path = check_path(reference.path)
        if not path.startswith(f"{self.prefix}/"):  # who removes it does not ask here
            return False
        if self._index is not None and not self._ask(lambda index: index.reuse(path), False):
            return False
        return self._files.touch(path) or self._index is not None

    def _ask(self, question: Callable[[ArtifactIndex], _T], otherwise: _T) -> _T:
        """Return what the ledger knows; one that does not answer is no reason not to store anything."""
        if self._index is None:
            return otherwise
        try:
            return question(self._index)
        except (LedgerError, PayloadError) as exc:
            logger.warning("the ledger does not say which tables are stored (%s); they get files of their own", exc)
            return otherwise

    def _travels_inside(self, table: Table) -> bool:
        """Whether a table is so small that a file of its own would cost more than the table."""
        source = table.source
        if source is not None and (source.nbytes is None or source.nbytes > _SMALL):
            return False
        reference = table.reference
        return reference.data is not None and reference.size <= self.inline_bytes

    @contextmanager
    def _created(self, path: str) -> Iterator[BinaryIO]:
        with self._files.create(path) as file:
            yield cast(BinaryIO, _Sink(file, f"write {path} to {self.shown}"))

    def open_table(self, reference: TableReference) -> BinaryIO:
        """Open the bytes of a table, after their number was checked."""
        return self._files.open(check_path(reference.path), reference.size)

    def local_path(self, reference: Reference) -> str | None:
        """Return where a file is on this machine, if it is."""
        path = check_path(reference.path)
        return self._files.local_path(path) if isinstance(self._files, Folder) else None

    def dataset(self, reference: TableReference) -> Any:
        """Return a table as a dataset of pyarrow's."""
        path = check_path(reference.path)
        if isinstance(self._files, Bucket):
            return self._files.dataset(path)
        from pyarrow import dataset

        self._files.open(path, reference.size).close()
        return dataset.dataset(self._files.local_path(path), format="parquet")

    # -- files ------------------------------------------------------------------------------------------------------

    def put_file(self, file: File) -> File:
        """Store a file, and return a handle of it; one that is here already is only referred to anew."""
        if file.stored_in(self):
            file.bind(self)
            if self._reuses(file.reference):
                return file
        path = self._new("files", "bin")
        digest, size = hashlib.sha256(), 0
        with _source(file) as source, self._created(path) as target:
            while data := source.read(_CHUNK):
                digest.update(data)
                target.write(data)
                size += len(data)
            name = file.name if file.source is None else PurePath(file.source).name
        return File.of(FileReference(name=name, size=size, digest=digest.hexdigest(), path=path), self)

    def open_file(self, reference: FileReference) -> BinaryIO:
        """Open a file, checked against the number of its bytes and their digest."""
        path = check_path(reference.path)
        file = self._files.open(path, reference.size)
        if _digest_of(file) != reference.digest:
            file.close()
            raise _not_what_was_written(path, self.shown)
        file.seek(0)
        return file

    # -- what is left over ------------------------------------------------------------------------------------------

    def prune(self, keep: Collection[str], before: datetime, *, dry_run: bool = False) -> PrunedArtifacts:
        """Remove what nothing refers to, and what was never completed.

        Args:
            keep: Paths that something refers to.
            before: Nothing that was written since is touched: a run may be about to refer to it.
            dry_run: Only count.
        """
        files = size = 0
        old = (one for one in self._files.list(self.prefix) if one.modified < before)
        unkept = (one for one in old if one.path not in keep or one.path.endswith(PART))
        with noting(lambda: f"removed before that: {amount(files, 'artifact')}, {size:,} bytes" if files else ""):
            while some := {one.path: one.size for one in islice(unkept, _RELEASED_AT_ONCE)}:
                gone = set(some) if self._index is None else self._index.release(list(some), before, dry_run=dry_run)
                for path in gone:
                    if not dry_run:
                        self._files.remove(path)
                    files, size = files + 1, size + some[path]
                if self._index is not None and not dry_run:
                    self._index.forget(gone)
            if isinstance(self._files, Bucket):
                files += self._files.abort_uploads(self.prefix, before, dry_run=dry_run)
        return PrunedArtifacts(files=files, bytes=size)

    def _new(self, kind: str, ending: str) -> str:
        name = uuid4().hex
        return f"{self.prefix}/{kind}/{name[:2]}/{name}.{ending}"

    @contextmanager
    def _opened(self, path: str, size: int) -> Iterator[BinaryIO]:
        with self._files.open(path, size) as file:
            try:
                yield file
            except OSError as exc:
                raise explained(exc, f"read {path} from {self.shown}", self._files.why_there) from exc


def _read_elsewhere(base: Any, why_there: str) -> PathArtifactStore:
    """Return the store of another process, which reads what is there."""
    return PathArtifactStore(base, why_there=why_there)


class MemoryArtifactStore:
    """Keeps tables and files in the memory of this process: for runs that nothing remembers."""

    in_memory = True

    def put(self, data: bytes, holds: Collection[str] = ()) -> ArtifactRef:
        """Refuse: outputs stay where they are."""
        raise NotImplementedError("outputs in memory need no store")

    def get(self, ref: ArtifactRef) -> bytes:
        """Refuse: it is elsewhere."""
        raise ArtifactError(f"{ref.uri} is in an artifact store; set FLOWCTX_ARTIFACTS_URL here too")

    def put_table(self, table: Table) -> Table:
        """Return a table with its bytes in memory; a small one is written when it is first looked at."""
        source = table.source
        if source is None or not source.kept:
            table.reference  # noqa: B018  # which puts it there
        return table

    def put_file(self, file: File) -> File:
        """Return a file with its bytes in memory."""
        file.reference  # noqa: B018  # which puts it there
        return file


class _Known(Exception):  # nothing went wrong
    """A table that was being written is stored already."""

    def __init__(self, reference: TableReference) -> None:
        super().__init__(reference)
        self.reference = reference


class _Sink(io.BufferedIOBase):
    """A file in a store, whose errors are told apart from those of what is written to it."""

    def __init__(self, file: BinaryIO, what: str) -> None:
        self.file, self.what = file, what

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as exc:
            raise explained(exc, self.what) from exc


@contextmanager
def _source(file: File) -> Iterator[BinaryIO]:
    if file.source is None:
        with file.open() as opened:
            yield opened
        return
    try:
        opened = open(file.source, "rb")  # noqa: SIM115  # closed below
    except OSError as exc:
        raise ArtifactError(f"cannot hand on the file {file.source!r}: {exc.strerror or exc}") from exc
    with opened:
        yield opened


def open_table(reference: TableReference, store: Any) -> BinaryIO:
    """Open the bytes of a table, wherever they are."""
    if reference.data is not None:
        return io.BytesIO(reference.data)
    if store is None:
        raise _no_store(reference)
    return store.open_table(reference)  # type: ignore[no-any-return]


def _written(table: Table, file: BinaryIO) -> TableReference:
    """Write a table in one pass, from the frame behind it or from where it is."""
    if table.source is not None:
        return table.source.write(file)
    with open_table(table.reference, table.store) as opened:
        shutil.copyfileobj(opened, file, _CHUNK)
    return table.reference


def _no_store(reference: Reference) -> PayloadError:
    return PayloadError(
        f"{reference.path} is in an artifact store; set FLOWCTX_ARTIFACTS_URL here too, to the same place"
    )


def _digest_of(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while data := file.read(_CHUNK):
        digest.update(data)
    return digest.hexdigest()


def _not_what_was_written(path: str, shown: str) -> ArtifactError:
    return ArtifactError(f"{path} in {shown} is damaged: it is not what was written; run the step that made it again")
