"""What two tables are equal apart from: what two libraries, or two versions of one, make of the same data."""

from __future__ import annotations

import re
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from flowctx.artifacts.changed_cells import Comparison, differing
from flowctx.artifacts.content import flat_column
from flowctx.artifacts.form import cast_exactly
from flowctx.artifacts.types import common_type, inner_types
from flowctx.core.data.tables import Table

#: What a column is called that was a data frame's index.
_INDEX: Final = re.compile(r"__index_level_\d+__|index|level_\d+|Unnamed: 0")
#: Floats that differ by less of themselves differ in their last bits.
_LAST_BITS: Final = Comparison(rtol=1e-12)
_T = pa.types


def apart_from(old: Table, new: Table) -> str | None:
    """Return what all differences of two tables come down to, or ``None`` if there are others.

    Example:
        ::

            apart_from(before, after)    # 'units of time (at); the last bits of floats (total)'
    """
    if old.rows != new.rows:
        return None
    before, after = (_columns(table) for table in (old, new))
    found: dict[str, list[str]] = {}
    for name in before.keys() ^ after.keys():
        if not _INDEX.fullmatch(name):
            return None
        found.setdefault("an index column", []).append(name)
    names = [name for name in before if name in after]
    if names != [name for name in after if name in before]:
        found["the order of columns"] = []
    for name in names:
        causes = _causes(before[name], after[name])
        if causes is None:
            return None
        for cause in causes:
            found.setdefault(cause, []).append(name)
    return "; ".join(f"{cause} ({', '.join(some)})" if some else cause for cause, some in found.items()) or None


def _columns(table: Table) -> dict[str, Any]:
    arrow = table.to_arrow()
    return {name: flat_column(arrow.column(name)) for name in arrow.column_names}


def _causes(one: Any, other: Any) -> list[str] | None:
    """Return what two columns are equal apart from; ``None`` if they are not."""
    causes: list[str] = []
    if one.type != other.type:
        alike = _of_one_type(one, other)
        if alike is None:
            return None
        one, other, cause = alike
        causes.append(cause)
    kind = one.type
    if _T.is_floating(kind) and not pc.is_null(one).equals(pc.is_null(other)):
        one, other = (pc.if_else(pc.is_nan(side), pa.scalar(None, kind), side) for side in (one, other))
        causes.append("NaN against null")
    if _count(one, other, Comparison()):
        if not _T.is_floating(kind) or _count(one, other, _LAST_BITS):
            return None
        causes.append("the last bits of floats")
    return causes


def _count(one: Any, other: Any, how: Comparison) -> int:
    return pc.sum(differing(one, other, one.type, how)).as_py() or 0


def _of_one_type(one: Any, other: Any) -> tuple[Any, Any, str] | None:
    """Return two columns as one type that holds both exactly, and what the types differ in."""
    kinds = (one.type, other.type)
    for same in (_T.is_timestamp, _T.is_duration, _T.is_time):
        if all(map(same, kinds)):
            if _T.is_timestamp(kinds[0]) and kinds[0].tz != kinds[1].tz:
                return None
            return _as(
                one, other, max(kinds, key=lambda kind: ("s", "ms", "us", "ns").index(kind.unit)), "units of time"
            )
    if all(_T.is_floating(kind) or _T.is_integer(kind) for kind in kinds):
        return _as(one, other, pa.float64(), "types of numbers")
    common = common_type(*kinds, wide=True)
    if common is None:
        return None
    nulls = any(_T.is_null(inner) for kind in kinds for inner in inner_types(kind))
    return _as(one, other, common, "the type of an empty column" if nulls else "the scale of decimals")


def _as(one: Any, other: Any, kind: pa.DataType, cause: str) -> tuple[Any, Any, str] | None:
    try:
        return cast_exactly(one, kind), cast_exactly(other, kind), cause
    except pa.ArrowInvalid:
        return None
