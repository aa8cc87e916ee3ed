"""The text of a selection: read into a tree of indexes, and written from one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import takewhile

from flowctx.core.dates.cadence import Cadence
from flowctx.core.dates.parsing import iso_date, month_or_year, time_order
from flowctx.core.errors import PartitionError, UnknownPartition
from flowctx.core.partitions.dimensions import CadenceDimension, Dimension, StaticDimension
from flowctx.core.partitions.index_tree import Runs, Tree, tree_of_block, union
from flowctx.core.partitions.key import PartitionKey, escape_value, unescape_value
from flowctx.core.suggestions import nearest

#: A static dimension, and some of its values.
Within = tuple[str, Sequence[str]]

_ENDS = re.compile(r"(first|last):(\d+)\Z")


_STEP = re.compile(r"/(\d+)\Z")


_SEPARATOR = re.compile(r"([,|])")


def parse_selection(
    dimensions: tuple[Dimension, ...], text: str | None, until: date | None, within: Within | None = None
) -> Tree | None:
    """Read a selection's text into a tree; see :meth:`PartitionScheme.select` for its form.

    Args:
        dimensions: Those of the scheme.
        text: What is selected; ``None`` is all.
        until: Where open ranges end, and the last ones are counted from.
        within: A static dimension and some of its values: all others are left out, and parts without them not read.
    """
    if text is not None and not isinstance(text, str):
        raise PartitionError(f"{text!r} is not text; write a selection as 'date=2012-01-03..2012-03-30,symbol=IBM'")
    if text is None:
        return _block(dimensions, {}, until, within)
    names = [dimension.name for dimension in dimensions]
    return union(_block(dimensions, _clauses(part, names, text), until, within) for part in text.split(";"))


def counts_from_latest(dimensions: Sequence[Dimension], text: str) -> bool:
    """Return whether a selection's text counts from the last of the dates, as ``date=last:5`` does."""
    return any(item.startswith("last:") for items in _dates_named(dimensions, text) for item in items or ())


def is_open(dimensions: Sequence[Dimension], text: str) -> bool:
    """Return whether a selection's text goes on as long as the dates do, as ``date=2026-01-05..`` or one without dates.

    Example:
        >>> from flowctx import Daily, PartitionScheme
        >>> parts = PartitionScheme(date=Daily(start="2026-01-05"), tier=["T1"]).parts
        >>> is_open(parts, "tier=T1"), is_open(parts, "date=2026-01-05../5"), is_open(parts, "date=2026-01")
        (True, True, False)
    """
    named = _dates_named(dimensions, text)
    return any(items is None or any(_STEP.sub("", item).endswith("..") for item in items) for items in named)


def _dates_named(dimensions: Sequence[Dimension], text: str) -> list[list[str] | None]:
    """Return what each part of a selection's text says of the dates; ``None`` where it says nothing."""
    names = [dimension.name for dimension in dimensions]
    dates = [dimension.name for dimension in dimensions if isinstance(dimension, CadenceDimension)]
    parts = [_clauses(part, names, text) for part in text.split(";")]
    return [part.get(name) for part in parts for name in dates]


def _block(
    dimensions: tuple[Dimension, ...], clauses: dict[str, list[str]], until: date | None, within: Within | None
) -> Tree | None:
    read: dict[str, list[range]] = {}
    for dimension in sorted(dimensions, key=lambda one: isinstance(one, CadenceDimension)):  # dates at the end
        items = clauses.get(dimension.name)
        ranges = [range(dimension.size(until))] if items is None else [_item(dimension, i, until) for i in items]
        if within is not None and dimension.name == within[0]:
            kept = {dimension.find(value) for value in within[1]}
            ranges = [range(i, i + 1) for some in ranges for i in some if i in kept]
            if not ranges:
                return None
        read[dimension.name] = ranges
    return tree_of_block([read[dimension.name] for dimension in dimensions])


def _clauses(text: str, names: list[str], selection: str) -> dict[str, list[str]]:
    """Split ``a=1|2,b=3`` into the alternatives of each dimension; it is all of a selection, or what ``;`` joins."""
    clauses: dict[str, list[str]] = {}
    if not selection.strip():
        raise PartitionError(
            f"the selection {selection!r} is empty; leave it out for all partitions, or write {names[0]}=..."
        )
    if not text.strip():
        raise PartitionError(f"{selection!r} has an empty part; ';' joins whole selections: leave out the one too many")
    current: list[str] = []
    pieces = _SEPARATOR.split(text)
    for separator, token in zip(["", *pieces[1::2]], pieces[0::2], strict=True):
        name, equals, item = token.partition("=")
        if equals:
            name = name.strip()
            if name not in names:
                clause = "".join(takewhile(lambda piece: piece != ",", pieces[pieces.index(token) :]))
                raise _no_dimension(text, name, clause.partition("=")[2].strip(), names)
            if name in clauses:
                raise PartitionError(f"{text!r} names {name!r} twice; join alternatives with '|': {name}=A|B")
            current = clauses[name] = [item.strip()]
        elif separator == "|":
            current.append(token.strip())
        else:
            last = next(reversed(clauses), names[0])
            raise PartitionError(f"{token!r} in {text!r} has no '='; write {last}=..., and alternatives as {last}=A|B")
    return clauses


def _no_dimension(text: str, name: str, item: str, names: list[str]) -> PartitionError:
    plain = name.strip("!<> ")
    meant = (nearest(plain, names) or names)[0]
    if "!" in name:
        return _leaves_out(text, f"{meant}={item}")
    if plain != name:
        bound = item.partition("|")[0]
        written = f"{meant}=..{bound}" if "<" in name else f"{meant}={bound}.."
        return PartitionError(f"{text!r} has {name.removeprefix(plain)}=; write it as a range: {written}")
    return PartitionError(
        f"{text!r} names {name!r}, and the scheme has the dimensions {', '.join(names)}; write {meant}={item}"
    )


def _leaves_out(text: str, other: str) -> PartitionError:
    return PartitionError(
        f"{text!r} would leave something out, and a selection says what is in it; name all others, or subtract: "
        f"scheme.select(...) - scheme.select({other!r})"
    )


def _item(dimension: Dimension, item: str, until: date | None) -> range:
    """Read one alternative of a clause: a value, a range, or so many from an end."""
    if isinstance(dimension, StaticDimension):
        found = dimension.find(unescape_value(item))
        if found is not None:
            return range(found, found + 1)
    if ends := _ENDS.match(item):
        return _from_an_end(dimension, ends[1], int(ends[2]), until)
    step = _STEP.search(item)
    span = item[: step.start()] if step else item
    low, dots, high = span.partition("..")
    if not dots:
        return _one(dimension, item)
    stride = int(step[1]) if step else 1
    if stride < 1:
        raise PartitionError(f"{dimension.name}={item}: a step counts from 1, such as {span}/5")
    if isinstance(dimension, CadenceDimension):
        return _dates(dimension, low, high, until)[::stride]
    first = _one(dimension, low).start if low else 0
    last = _one(dimension, high).stop if high else dimension.size(until)
    if first >= last:
        raise PartitionError(f"{dimension.name}={item} goes backwards; values are in the order of the scheme")
    return range(first, last, stride)


def _one(dimension: Dimension, item: str) -> range:
    value = unescape_value(item)
    found = dimension.find(value)
    if found is None and isinstance(dimension, CadenceDimension) and (span := dimension.cadence.parse_span(value)):
        return span
    if found is None and value.startswith("!"):
        raise _leaves_out(f"{dimension.name}={item}", f"{dimension.name}={item[1:]}")
    if found is None:
        if isinstance(dimension, CadenceDimension) and dimension.cadence.parse(value) is None:
            raise UnknownPartition(f"{dimension.name}={item}: {_no_span(dimension.cadence, value)}")
        reason, near = dimension.explain(value)
        near = [day for day in near if day not in reason]
        hint = _nearest(near) if near and isinstance(dimension, CadenceDimension) else ""
        raise UnknownPartition(f"{dimension.name}={item}: {reason}{hint}")
    return range(found, found + 1)


def _no_span(cadence: Cadence, value: str) -> str:
    """Say why a text that is no as-of date stands for none either."""
    if month_or_year(value) is None and iso_date(value) is None:
        return f"{_not_written(cadence, value)}; a range is FIRST..LAST, and the latest three are last:3"
    last = "" if cadence.end is None else f" to {cadence.end}"
    return f"no as-of date of the scheme is in {value}; it goes from {cadence.start}{last}"


def _not_written(cadence: Cadence, value: str) -> str:
    """Say how a date is written, or a month or a year."""
    reason = cadence.say_not_written(value)
    wider = ", a month as YYYY-MM or a year as YYYY" if reason == cadence.not_written else ""
    return f"{value!r} {reason}{wider}"


def _from_an_end(dimension: Dimension, end: str, count: int, until: date | None) -> range:
    if count < 1:
        raise PartitionError(f"{dimension.name}={end}:{count} selects nothing; count from 1, such as {end}:3")
    if end == "first" and until is None and isinstance(dimension, CadenceDimension) and not dimension.cadence.bounded:
        return range(count)
    size = dimension.size(until)
    if count > size > 0:
        last = "" if until is None or isinstance(dimension, StaticDimension) else f" up to {until.isoformat()}"
        _say_cut(f"{dimension.name}={end}:{count}", f"which has {size:,}{last}")
    return range(min(count, size)) if end == "first" else range(max(0, size - count), size)


def _bound(dimension: CadenceDimension, text: str) -> tuple[date, date]:
    """Return the first and the last date of what stands at an end of a range: a date twice, or a month or a year."""
    value = unescape_value(text)
    day = dimension.cadence.parse_bound(value)
    span = month_or_year(value) if day is None else (day, day)
    if span is None:
        raise PartitionError(f"{dimension.name}: {_not_written(dimension.cadence, value)}")
    return span


def _dates(dimension: CadenceDimension, low: str, high: str, until: date | None) -> range:
    cadence, name = dimension.cadence, dimension.name
    first, last_of_low = _bound(dimension, low) if low else (cadence.start, cadence.start)
    if not high:
        found = range(cadence.indexes(first, first).start, dimension.size(until))
    else:
        first_of_high, last = _bound(dimension, high)
        if not low and cadence.goes_backwards(first, last):
            raise PartitionError(
                f"{name}=..{high} is before the start of the scheme, whose first date is {dimension.part(0)[0]}"
            )
        if cadence.goes_backwards(first, last):
            raise PartitionError(f"{name}={low}..{high} goes backwards; write {name}={high}..{low}")
        found = cadence.indexes(first, last)
    ended = cadence.end is not None and cadence.goes_backwards(first, cadence.end)
    if not found and not high and until is not None and not ended:
        return found  # all of them are after until
    if not found:
        near = [cadence.text(day) for day in cadence.neighbours(first)]
        raise PartitionError(f"{name}={low}..{high} holds no as-of date{_nearest(near)}")
    if cadence.goes_backwards(cadence.start, last_of_low):
        _say_cut(f"{name}={low}..{high}", f"which starts {cadence.start}")
    if high and cadence.end is not None and cadence.goes_backwards(first_of_high, cadence.end):
        _say_cut(f"{name}={low}..{high}", f"which ends {cadence.end}")
    return found


def _say_cut(text: str, scheme: str) -> None:
    """Warn that a selection asks for more than there is."""
    warnings.warn(f"{text} reaches beyond the scheme, {scheme}; what lies beyond is left out", stacklevel=2)


def _nearest(days: Sequence[str]) -> str:
    return f"; the nearest {'are' if len(days) > 1 else 'is'} {' and '.join(days) or 'none'}"


def block_text(dimensions: tuple[Dimension, ...], block: tuple[Runs, ...]) -> str:
    """Return the text of one block of a selection."""
    clauses = []
    for dimension, runs in zip(dimensions, block, strict=True):
        every_value = isinstance(dimension, StaticDimension) and runs == (range(dimension.size(None)),)
        if not every_value:
            clauses.append(f"{dimension.name}={'|'.join(t for run in runs for t in _run_texts(dimension, run))}")
    return ",".join(clauses) or f"{dimensions[0].name}=.."


def selection_text(keys: Iterable[PartitionKey]) -> str:
    """Return a selection of some partitions, as text.

    Example:
        >>> selection_text([PartitionKey(tier="T1"), PartitionKey(tier="T2")])
        'tier=T1;tier=T2'
    """
    return ";".join(",".join(f"{name}={escape_value(value)}" for name, value in key.items()) for key in keys)


def _run_texts(dimension: Dimension, run: range) -> list[str]:
    if len(run) < 3:
        return [_text_at(dimension, index) for index in run]
    low, high = _text_at(dimension, run[0]), _text_at(dimension, run[-1])
    text = f"{low}..{high}" + (f"/{run.step}" if run.step > 1 else "")
    if text.partition("..")[0] != low or ".." in high or high[0] == "." or dimension.find(text) is not None:
        return [_text_at(dimension, index) for index in run]  # values with dots of their own would be misread
    if isinstance(dimension, StaticDimension) and time_order(low) and not dimension.by_time:
        return [_text_at(dimension, index) for index in run]  # without the scheme, a range of dates is read by time
    return [text]


def _text_at(dimension: Dimension, index: int) -> str:
    return escape_value(dimension.part(index)[0])
