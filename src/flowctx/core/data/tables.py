"""``Table``: the read-only handle of a frame of rows in an output.

Core knows what a table is and where it is kept; what is in it is read by a library behind a port
(:class:`TableLibrary`), which is loaded when the first table is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import Any, BinaryIO, Protocol

from flowctx.core.data.references import Handle, TableReference
from flowctx.core.printable import amount

#: Largest table or output, in bytes as it is stored, that travels inside where there is no artifact store.
MAX_INLINE_BYTES = 48 * 1024

#: What the table of a step is called that returns nothing but a frame.
TABLE = "table"


class ArrowStream(Protocol):
    """A frame of any library that speaks Arrow."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class TableSource(Protocol):
    """A frame that a step returned and that is not stored yet."""

    #: Its first rows, once it is written: who shows them need not read it again.
    first: list[dict[str, Any]]
    #: Once it is written: what of it is not content (index, categories, units), as a digest.
    form: str
    #: About how many bytes it has in memory, if that is known.
    nbytes: int | None
    #: Whether it was copied when it was taken, and can surely be written: it is small, and of plain columns.
    kept: bool

    def write(self, file: BinaryIO) -> TableReference:
        """Write it as it is stored, in one pass, and return what stands for it, without a path.

        Raises:
            PlainDataError: It would lose something, or was read before and can be read only once.
        """
        ...


class TableReader(Protocol):
    """Reads one stored table; the methods of :class:`Table` say what each does."""

    @property
    def columns(self) -> Mapping[str, str]: ...  # noqa: D102
    def to_arrow(self, columns: Sequence[str] | None, where: Any) -> Any: ...  # noqa: D102
    def to_pandas(self, columns: Sequence[str] | None, where: Any) -> Any: ...  # noqa: D102
    def to_polars(self, columns: Sequence[str] | None, where: Any) -> Any: ...  # noqa: D102
    def batches(self, columns: Sequence[str] | None, where: Any, rows: int) -> Iterator[Any]: ...  # noqa: D102
    def scan_polars(self) -> Any: ...  # noqa: D102
    def dataset(self) -> Any: ...  # noqa: D102
    def head(self, rows: int) -> list[dict[str, Any]]: ...  # noqa: D102
    def stream(self, requested_schema: object | None) -> object: ...  # noqa: D102
    def opened(self) -> AbstractContextManager[TableReader]: ...  # noqa: D102


class TableLibrary(Protocol):
    """What knows how frames become tables, and tables frames."""

    def take(self, value: object, path: str) -> TableSource | None:
        """Return a frame as a source, or ``None`` if it is none.

        Raises:
            PlainDataError: It is a frame, and something in it would be lost; names the column and the remedy.
        """
        ...

    def open(self, reference: TableReference, store: object | None) -> TableReader:
        """Return what reads a stored table from its store, by default from the one that the environment names."""
        ...

    def settle(self, source: TableSource) -> TableReference:
        """Return a source as a table whose bytes are in memory."""
        ...

    def join(self, parts: Sequence[tuple[Mapping[str, str], Table]]) -> tuple[TableReader, TableSource]:
        """Return the tables of several partitions as one: what reads it, and what stores it."""
        ...


def _no_library() -> TableLibrary:
    raise NotImplementedError("import flowctx, not flowctx.core: it brings the library that reads tables")


_load_library: Callable[[], TableLibrary] = _no_library


def set_table_library(load: Callable[[], TableLibrary]) -> None:
    """Say how the library of tables is loaded, when the first one is looked at."""
    global _load_library
    _load_library = load


def speaks_arrow(value: object) -> bool:
    """Whether a value may be a frame: it has the Arrow PyCapsule interface, is lazy, or makes batches."""
    kind = type(value)
    return (
        hasattr(kind, "__arrow_c_stream__")
        or (kind.__name__ == "LazyFrame" and kind.__module__.partition(".")[0] == "polars")
        or kind.__name__ == "generator"
    )


def is_frame(value: object) -> bool:
    """Whether a value that a step returns alone is meant as its table."""
    return isinstance(value, Table) or speaks_arrow(value)


def take_table(value: object, path: str) -> Table | None:
    """Return a frame as a table that is not stored yet, or ``None`` if it is no frame.

    Raises:
        PlainDataError: Something in it would be lost.
        MissingExtra: Nothing here can read it.
    """
    source = _load_library().take(value, path)
    return None if source is None else Table(source=source)


class Table(Handle[TableReference, TableSource]):
    """A frame of rows in an output: an immutable, lazy handle, of which only a reference is handed on.

    Steps return frames of any library that speaks Arrow, and find tables::

        prices = ctx.get_output("load", "prices")
        frame = prices.to_pandas(columns=["close"])

    Any library that reads the Arrow PyCapsule interface takes a table as it is. Tables are equal if their content is:
    names, types, values, nulls and order, whatever library wrote them.
    """

    __slots__ = ("_first", "_reader")

    def __init__(
        self,
        reference: TableReference | None = None,
        *,
        source: TableSource | None = None,
        store: object | None = None,
        first: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(reference, source, store)
        self._first = list(first)
        self._reader: TableReader | None = None

    @classmethod
    def of(cls, reference: TableReference, store: object | None = None) -> Table:
        """Return the handle of a stored table."""
        return cls(reference, store=store)

    def _settled(self, source: TableSource) -> TableReference:
        reference = _load_library().settle(source)
        self._first = source.first
        return reference

    # -- what is known without reading it ---------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.reference.rows

    @property
    def columns(self) -> dict[str, str]:
        """The names of its columns, in order, and their types."""
        known = self.reference.columns
        return dict(known) if known is not None else dict(self._open().columns)

    # -- what is in it ----------------------------------------------------------------------------------------------

    def to_arrow(self, columns: Sequence[str] | None = None, where: Any = None) -> Any:
        """Return it as a ``pyarrow.Table``.

        Args:
            columns: Only these, in this order.
            where: Only rows for which this holds: a pyarrow expression, or a list such as ``[("symbol", "=", "IBM")]``.

        Raises:
            PlainDataError: It has no such column, or none that fits the condition.
            ArtifactError: It is gone or damaged.
            MissingExtra: pyarrow is not installed.
        """
        return self._open().to_arrow(columns, where)

    def to_pandas(self, columns: Sequence[str] | None = None, where: Any = None) -> Any:
        """Return it as a pandas DataFrame, with the index and the types that a pandas writer gave it.

        Whole numbers beside nulls are floats, as pandas has them; where a float would be another number, ``Int64``.

        Args:
            columns: Only these, in this order.
            where: Only rows for which this holds, as for :meth:`to_arrow`.
        """
        return self._open().to_pandas(columns, where)

    def to_polars(self, columns: Sequence[str] | None = None, where: Any = None) -> Any:
        """Return it as a polars DataFrame.

        Args:
            columns: Only these, in this order.
            where: Only rows for which this holds, as for :meth:`to_arrow`.
        """
        return self._open().to_polars(columns, where)

    def scan_polars(self) -> Any:
        """Return it as a polars LazyFrame, which reads what a query needs."""
        return self._open().scan_polars()

    def dataset(self) -> Any:
        """Return it as a ``pyarrow.dataset.Dataset``, of the columns as they are stored."""
        return self._open().dataset()

    def batches(self, columns: Sequence[str] | None = None, where: Any = None, *, rows: int = 65_536) -> Iterator[Any]:
        """Yield it as ``pyarrow.RecordBatch``, in flat memory whatever its size.

        Args:
            columns: Only these, in this order.
            where: Only rows for which this holds, as for :meth:`to_arrow`.
            rows: How many rows a batch has at most.
        """
        return self._open().batches(columns, where, rows)

    def head(self, rows: int = 5) -> list[dict[str, Any]]:
        """Return the first rows as dicts, which are the caller's own."""
        known = self._first
        return deepcopy(known[:rows]) if known and rows <= len(known) else self._open().head(rows)

    @contextmanager
    def opened(self) -> Iterator[Table]:
        """Open its file once for all that is read in the block, such as one column after the other.

        Example:
            ::

                with prices.opened() as table:
                    for name in table.columns:
                        check(table.to_arrow([name]))
        """
        same = Table(self.reference, store=self._store, first=self._first)
        with self._open().opened() as reader:
            same._reader = reader
            yield same

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._open().stream(requested_schema)

    def _open(self) -> TableReader:
        if self._reader is None:
            self._reader = _load_library().open(self.reference, self._store)
        return self._reader

    # -- a value as any other ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.rows

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Table) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        if self._source is not None and not self._source.kept:
            return "<Table, not stored yet>"
        return f"<Table: {amount(self.rows, 'row')} x {amount(len(self.columns), 'column')}, {self.bytes:,} bytes>"

    def _repr_html_(self) -> str:
        return preview_html(self)


def preview_html(table: Table, rows: int = 5) -> str:
    """Return the first rows of a table as HTML, escaped, with its columns' types and its size."""
    import html

    def line(tag: str, cells: Sequence[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    columns = table.columns
    lines = [line("th", list(columns)), line("th", list(columns.values()))]
    lines += [line("td", list(row.values())) for row in table.head(rows)]
    return f"<table>{''.join(lines)}</table><p>{html.escape(repr(table).strip('<>'))}</p>"


def join_tables(parts: Sequence[tuple[Mapping[str, str], Table]]) -> Table:
    """Return the tables of several partitions as one, with the dimensions as columns before theirs.

    Raises:
        PlainDataError: Their columns do not fit together; names two partitions.
    """
    reader, source = _load_library().join(parts)
    joined = Table(source=source)
    joined._reader = reader
    return joined
