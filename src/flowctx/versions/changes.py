"""What differs between two plain outputs: the way to each value, what it was and what it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from flowctx.core.data.encoding import BUILT_INS, digest
from flowctx.core.data.files import File
from flowctx.core.data.number_changes import are_near, is_number, number_change
from flowctx.core.data.plain import ArtifactRef, FrozenDict
from flowctx.core.data.table_changes import TableChange
from flowctx.core.data.tables import Table
from flowctx.core.errors import ArtifactError, ArtifactRefused, ArtifactUnavailable, ContextError, PlainDataError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import whole_output
from flowctx.core.extras import needs
from flowctx.core.printable import amount
from flowctx.core.suggestions import nearest

#: A step, and what it has returned, or where that is.
Recorded: TypeAlias = tuple[str, FrozenDict | ArtifactRef]
#: What stands for a value that is not there.
ABSENT: Final = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """How much numbers may differ and still be equal, and how tables are compared.

    Args:
        atol: Numbers that differ by no more are equal.
        rtol: Numbers that differ by no more than this part of the new one are equal.
        key: The columns that say which rows of a table are one and the same; without them, the position.
        most: So many changed cells of a table are kept, the largest changes first.

    Raises:
        ContextError: A tolerance is below 0, infinite or no number.
    """

    atol: float = 0.0
    rtol: float = 0.0
    key: tuple[str, ...] = ()
    most: int = 1000
    #: Columns of tables that were looked at, while one of the key is not among them.
    seen: set[str] = field(default_factory=set, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, value in (("atol", self.atol), ("rtol", self.rtol)):
            if not 0 <= value < math.inf:
                raise ContextError(f"{name}={value} is no tolerance; pass a finite number that is not below 0")

    @property
    def key_is_seen(self) -> bool:
        """Whether each column of the key is in a table that was looked at."""
        return self.seen.issuperset(self.key)

    def look_at(self, table: Table) -> None:
        """Note the columns of a table that is compared; of one that is gone or damaged, they may not be known."""
        if not self.key_is_seen:
            try:
                self.seen.update(table.columns)
            except ArtifactError as exc:
                lost(exc)

    def check_key(self) -> None:
        """Refuse a key of which no table that was looked at has a column: rows were compared by position.

        Raises:
            PlainDataError: It names the column, and those that there are.
        """
        if self.seen and not self.key_is_seen:
            odd = next(name for name in self.key if name not in self.seen)
            near = nearest(odd.lower(), {name.lower(): name for name in self.seen})
            like = [name for name in sorted(self.seen) if name.lower() in near]
            hint = f"did you mean {like[0]!r}?" if like else f"they have {', '.join(sorted(self.seen))}"
            raise PlainDataError(f"no table that is compared has a column {odd!r} to be a key; {hint}")

    def are_near(self, old: object, new: object) -> bool:
        """Whether two values are numbers that count as equal."""
        if not self.atol and not self.rtol:
            return False
        return is_number(old) and is_number(new) and are_near(old, new, self.atol, self.rtol)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A value of an output that differs."""

    #: The way to it, such as ``limits.low`` or ``rows[3]``; of a whole output it is empty.
    path: str
    #: What it was; :data:`ABSENT` if it was not there.
    old: Any = ABSENT
    #: What it is; :data:`ABSENT` if it is not there.
    new: Any = ABSENT
    #: What differs, of two tables.
    table: TableChange | None = None
    #: Why two outputs cannot be compared, if they cannot.
    problem: str | None = None

    @property
    def kind(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        if self.problem is not None:
            return "changed"
        return "added" if self.old is ABSENT else "removed" if self.new is ABSENT else "changed"

    @property
    def delta(self) -> float | None:
        """By how much a number changed, infinite if a float cannot say it; of a table, the largest such change."""
        if self.table is not None:
            return max((abs(cell.delta) for cell in self.table.largest if cell.delta is not None), default=None)
        if not (is_number(self.old) and is_number(self.new)):
            return None
        delta = number_change(self.old, self.new)
        return None if math.isnan(delta) else delta


def output_changes(old: Recorded, new: Recorded, store: ArtifactStore | None, how: Tolerance) -> Iterator[Change]:
    """Yield what differs between two recorded outputs; a large one that is gone or damaged is other content."""
    try:
        before, after = whole_output(*old, store), whole_output(*new, store)
    except ArtifactError as exc:
        yield Change(path="", problem=lost(exc))
    else:
        yield from changes(before, after, how)


def lost(exc: ArtifactError) -> str:
    """Return what is gone or damaged, in words; raise the error of a store that does not answer, or may not be read."""
    if isinstance(exc, ArtifactUnavailable | ArtifactRefused):
        raise exc
    return str(exc)


def changes(old: object, new: object, how: Tolerance, path: str = "") -> Iterator[Change]:
    """Yield what differs between two values, however deep.

    Example:
        >>> [(c.path, c.old, c.new) for c in changes({"a": [1, 2]}, {"a": [1, 3]}, Tolerance())]
        [('a[1]', 2, 3)]
    """
    if type(old) in BUILT_INS or type(new) in BUILT_INS:
        if not _are_equal(old, new) and not how.are_near(old, new):
            yield Change(path=path, old=_shown(old), new=_shown(new))
    elif isinstance(old, Table) and isinstance(new, Table):
        yield from _table_changes(old, new, how, path)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            before, after = old.get(name, ABSENT), new.get(name, ABSENT)
            if type(before) not in BUILT_INS or not _are_equal(before, after):  # most are, and cost nothing more
                yield from _either(before, after, how, f"{path}.{name}" if path else str(name))
    elif _is_list(old) and _is_list(new):
        both: Any = (old, new)
        for place in range(max(map(len, both))):
            before, after = (side[place] if place < len(side) else ABSENT for side in both)
            yield from _either(before, after, how, f"{path}[{place}]")
    elif not _are_equal(old, new) and not how.are_near(old, new):
        yield Change(path=path, old=_shown(old), new=_shown(new))


def _either(old: object, new: object, how: Tolerance, path: str) -> Iterator[Change]:
    if old is ABSENT or new is ABSENT:
        yield Change(path=path, old=_shown(old), new=_shown(new))
    else:
        yield from changes(old, new, how, path)


def _table_changes(old: Table, new: Table, how: Tolerance, path: str) -> Iterator[Change]:
    how.look_at(old)
    if old.digest == new.digest:
        return
    how.look_at(new)
    with needs("comparing tables", "tables"):
        from flowctx.artifacts.changed_cells import Comparison
        from flowctx.artifacts.differences import compare_tables
    try:
        # Tables that have none of the columns are other tables than the key is for.
        key = how.key if set(how.key) & {*old.columns, *new.columns} else ()
        found = compare_tables(old, new, Comparison(key=key, atol=how.atol, rtol=how.rtol, most=how.most))
    except ArtifactError as exc:
        found = TableChange(rows_before=old.rows, rows_after=new.rows, key=how.key, problem=lost(exc))
    if found.differs:
        yield Change(path=path, old=_shown(old), new=_shown(new), table=found)


def tables_in(value: object) -> Iterator[Table]:
    """Yield the tables in an output."""
    if isinstance(value, Table):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tables_in(inner)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for inner in value:
            yield from tables_in(inner)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _are_equal(old: object, new: object) -> bool:
    """Whether two values are equal and of one type: 1 is not 1.0, and NaN is NaN."""
    if type(old) is not type(new):
        return False
    if isinstance(old, float) and isinstance(new, float):
        return old == new or (math.isnan(old) and math.isnan(new))
    if type(old) in BUILT_INS:
        return old == new
    if isinstance(old, (File, ArtifactRef)):
        return digest({"": old}) == digest({"": new})
    return bool(old == new) and str(old) == str(new)


def _shown(value: object) -> Any:
    """Return a value as it is shown: of a table or file its size."""
    if isinstance(value, Table):
        return f"table of {amount(value.rows, 'row')}"
    if isinstance(value, File):
        return f"file of {value.bytes:,} bytes, SHA-256 {value.digest[:12]}"
    return value
