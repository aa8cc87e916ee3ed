"""Why two outputs may differ that mean the same, such as what two libraries make of one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from flowctx.core.data.tables import Table
from flowctx.versions.changes import ABSENT, Change, Tolerance, changes

#: Floats that differ by less of themselves differ in their last bits: a sum in another order does.
_LAST_BITS: Final = Tolerance(rtol=1e-12)
LAST_BITS: Final = "the last bits of floats, as when they are added in another order"


def cause_of(
    before: Mapping[str, object] | None, after: Mapping[str, object] | None, found: Sequence[Change]
) -> str | None:
    """Return what explains all changes of an output, if that is known.

    Example:
        >>> change = Change(path="output.sum", old=0.6, new=0.6000000000000001)
        >>> cause_of({"sum": change.old}, {"sum": change.new}, [change])
        'the last bits of floats, as when they are added in another order'
    """
    if before is None or after is None:
        return None
    causes = [_cause(change, before, after) for change in found]
    if not causes or None in causes:
        return None
    return "; ".join(dict.fromkeys(cause for cause in causes if cause))


def _cause(change: Change, before: Mapping[str, object], after: Mapping[str, object]) -> str | None:
    if change.path.endswith(", order of keys"):
        return "the order of keys, which whoever loops over them sees"
    if change.path.endswith(", order of columns"):
        return "the order of columns"
    if ABSENT in (change.old, change.new):
        return None
    if change.table is not None:
        name = change.path.removeprefix("output.")
        old, new = before.get(name), after.get(name)
        return _table_cause(old, new) if isinstance(old, Table) and isinstance(new, Table) else None
    if not list(changes(change.old, change.new, _LAST_BITS)):
        return LAST_BITS
    values = (change.old, change.new)
    if None in values and any(isinstance(value, float) and value != value for value in values):
        return "NaN against null"
    return None


def _table_cause(old: Table, new: Table) -> str | None:
    from flowctx.artifacts.likeness import apart_from  # pyarrow, which is there where a table is

    return apart_from(old, new)
