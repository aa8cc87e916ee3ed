"""Keys in the form that Dagster has for them: two dimensions at most, and periods named by their first day.

Known here, without Dagster, because batches are launched on it from where it is not installed. The static dimensions
are folded into one, so that ``tier`` and ``venue`` become ``tier~venue`` with values such as ``T1~NYSE``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Final

from flowctx.core.dates.cadence import Cadence, Hourly
from flowctx.core.dates.parsing import iso_date
from flowctx.core.errors import CalendarError, UnknownPartition
from flowctx.core.partitions.key import PartitionKey, escape_value, unescape_value
from flowctx.core.partitions.scheme import PartitionScheme

#: Joins the names, and the values, of folded dimensions; in neither can it stand for itself.
FOLD: Final = "~"
_MULTI: Final = "|"


def static_dimensions(scheme: PartitionScheme) -> tuple[str, ...]:
    """Return the names of the scheme's static dimensions, in its order."""
    return tuple(name for name in scheme.dimensions if name != scheme.cadence_dimension)


def static_values(scheme: PartitionScheme) -> Iterable[Mapping[str, str]]:
    """Yield one value for each static dimension, in every combination, in the scheme's order."""
    cadence = scheme.cadence_dimension
    static = scheme if cadence is None else scheme.without(cadence)
    return static.keys() if static is not None else ()


def fold(values: Mapping[str, str], names: Iterable[str]) -> str:
    """Return the values of some dimensions as one text that Dagster takes as a key, safe as a file name too.

    Example:
        >>> fold({"tier": "T1", "venue": "N|Y"}, ["venue", "tier"])
        'N%7CY~T1'
    """
    return FOLD.join(_escape(values[name]) for name in names)


def _escape(value: str) -> str:
    text = escape_value(value)
    # Dagster keeps '...' for ranges, and a file may not be called '.' or '..'.
    return text.replace(".", "%2E") if "..." in text or not text.strip(".") else text


def dagster_key_parts(key: PartitionKey, scheme: PartitionScheme) -> dict[str, str]:
    """Return the values of a key by Dagster's dimensions: that of the cadence, and the folded one.

    Args:
        key: A key of the scheme.
        scheme: The scheme.

    Example:
        >>> from flowctx import Weekly
        >>> weeks = PartitionScheme(week=Weekly(start="2012-01-01"), tier=["T1"], venue=["N/Y"])
        >>> dagster_key_parts(weeks.key(week="2012-01-13", tier="T1", venue="N/Y"), weeks)
        {'week': '2012-01-07', 'tier~venue': 'T1~N%2FY'}
    """
    values: dict[str, str] = {}
    if scheme.cadence is not None and scheme.cadence_dimension is not None:
        start = scheme.cadence.window(scheme.period(key) or scheme.cadence.start).start
        values[scheme.cadence_dimension] = start.strftime(format_of(scheme.cadence))
    static = static_dimensions(scheme)
    if static:
        values[FOLD.join(static)] = fold(key, static)
    return values


def dagster_key_text(values: Mapping[str, str]) -> str:
    """Return the text of Dagster's key, in which the dimensions are sorted by name.

    Example:
        >>> dagster_key_text({"week": "2012-01-07", "tier": "T1"})
        'T1|2012-01-07'
    """
    return _MULTI.join(values[name] for name in sorted(values))


def parse_dagster_key(text: str, scheme: PartitionScheme) -> PartitionKey:
    """Return the scheme's key for the text of Dagster's.

    Raises:
        UnknownPartition: The scheme has no such key.

    Example:
        >>> from flowctx import Weekly
        >>> parse_dagster_key("2012-01-07", PartitionScheme(week=Weekly(start="2012-01-01"))).week
        '2012-01-13'
    """
    static = static_dimensions(scheme)
    # Dagster sorts the two dimensions by name, whatever order they were given in.
    names = sorted(name for name in (scheme.cadence_dimension, FOLD.join(static)) if name)
    pattern = _MULTI.join(f"<{name}>" for name in names)
    by_name = getattr(text, "keys_by_dimension", None)
    if by_name is None:
        by_name = dict(zip(names, text.split(_MULTI), strict=False)) if text.count(_MULTI) == len(names) - 1 else {}
    if sorted(by_name) != names:
        raise UnknownPartition(
            f"{str(text)!r} is no key of Dagster's for this scheme, whose keys there are {pattern!r}; "
            "was it made with another scheme?"
        )
    values: dict[str, str] = {}
    if scheme.cadence is not None and scheme.cadence_dimension is not None:
        day = _start_of(by_name[scheme.cadence_dimension], scheme.cadence)
        if day is None:
            raise UnknownPartition(
                f"{str(text)!r} has no {_written(scheme.cadence)} for {scheme.cadence_dimension}; Dagster's keys of "
                f"this scheme are {pattern!r}"
            )
        values[scheme.cadence_dimension] = scheme.cadence.text(_as_of(day, scheme.cadence))
    if static:
        values |= _unfold(by_name[FOLD.join(static)], static)
    return scheme.check(values)


def format_of(cadence: Cadence) -> str:
    """Return the format of the first instant of a window as Dagster's keys have it: with its offset, if it is an hour.

    Example:
        >>> format_of(Hourly(start="2012-01-01"))
        '%Y-%m-%dT%H:%M%z'
    """
    return "%Y-%m-%dT%H:%M%z" if isinstance(cadence, Hourly) else "%Y-%m-%d"


def _start_of(text: str, cadence: Cadence) -> date | None:
    if not isinstance(cadence, Hourly):
        return iso_date(text)
    try:
        start = datetime.strptime(text, format_of(cadence))  # noqa: DTZ007 - the format has the offset
    except ValueError:
        return None
    return start if start.strftime(format_of(cadence)) == text else None


def _written(cadence: Cadence) -> str:
    return "hour (YYYY-MM-DDTHH:MM-0500)" if isinstance(cadence, Hourly) else "date (YYYY-MM-DD)"


def _as_of(day: date, cadence: Cadence) -> date:
    try:
        as_of = cadence.containing(day)
        why = cadence.explain(day) if as_of is None else ""
    except CalendarError as error:
        as_of, why = None, str(error)
    if as_of is None:
        raise UnknownPartition(f"no window of this scheme starts on {day}: {why}")
    first = cadence.window(as_of).start
    start: date = first if isinstance(day, datetime) else date(first.year, first.month, first.day)
    # An instant at a time that clocks show twice is equal to none of another zone; its number of seconds is.
    if (first.timestamp() != day.timestamp()) if isinstance(day, datetime) else (start != day):
        raise UnknownPartition(
            f"Dagster names a partition by the first day of its window, and {day} is not one; the window that holds "
            f"it is {start}, with the as-of date {as_of}"
        )
    return as_of


def _unfold(text: str, names: Sequence[str]) -> dict[str, str]:
    parts = text.split(FOLD)
    if len(parts) != len(names):
        raise UnknownPartition(
            f"{text!r} has {len(parts)} value{'s' * (len(parts) != 1)}, and {FOLD.join(names)} takes {len(names)}, "
            f"joined by {FOLD!r}"
        )
    return {name: unescape_value(part) for name, part in zip(names, parts, strict=True)}
