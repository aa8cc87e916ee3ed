"""Which keys a selection holds, as far as its text alone tells: the scheme need not be there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from flowctx.core.dates.parsing import time_order
from flowctx.core.errors import PartitionError
from flowctx.core.partitions.key import PartitionKey

#: For which blocks a value is certainly right, and for which it may be: a bit for each.
_Bits = tuple[int, int]
#: For which blocks some values are certainly right, and how many dimensions the selection names of them.
_Sure = tuple[int, int]
#: From when to when, as :func:`time_order` has it.
_Span = tuple[str, str]


class SelectionText:
    """Which keys of a scheme a selection's canonical text holds.

    Ranges of dates say which dates are in them. In a range of other values, or from a later date to an earlier one, the
    order of the scheme decides, and of every other date, the scheme does: there the text tells nothing of what is
    between the ends.

    Args:
        text: The canonical text, as ``str(selection)`` has it.

    Example:
        >>> text = SelectionText("date=2026-01-02..2026-01-09,tier=T1|T4..T9")
        >>> [text.holds(f"date=2026-01-05|tier={tier}") for tier in ("T1", "T2", "T9")]
        [True, None, True]
        >>> text.holds("date=2026-01-12|tier=T1"), text.holds("tier=T1")
        (False, False)
    """

    def __init__(self, text: str) -> None:
        self._blocks = [_clauses(block) for block in text.split(";") if "=" in block]  # else nothing is selected
        self._all = (1 << len(self._blocks)) - 1
        self._names = {name for block in self._blocks for name in block}
        #: What a part of a key's text, such as ``tier=T1``, says: a few thousand parts make a hundred thousand keys.
        self._parts: dict[str, _Bits] = {}

    def holds(self, partition: str) -> bool | None:
        """Return whether a key is selected, given its text; ``None`` where the text of the selection does not tell.

        Args:
            partition: A key of the scheme.
        """
        sure = may = self._all
        known = self._parts
        parts = partition.split("|")
        for part in parts:
            found = known.get(part) or known.setdefault(part, self._bits(part))
            sure &= found[0]
            may &= found[1]
        if not may or not self._has_all(parts):
            return False
        return True if sure else None

    def doubtful(self, partitions: Iterable[str]) -> Iterator[str]:
        """Yield those of some keys that it does not certainly hold: of a hundred thousand, in a moment.

        Args:
            partitions: Their texts, best in order.

        Example:
            >>> list(SelectionText("tier=T1|T2").doubtful(["tier=T1", "tier=T2", "tier=T3", ""]))
            ['tier=T3', '']
        """
        known: dict[str, _Sure] = {"": (self._all, 0)}
        named = len(self._names)
        for partition in partitions:
            begin, _, end = partition.rpartition("|")
            head = known.get(begin) or known.setdefault(begin, self._sure(begin))
            tail = known.get(end) or known.setdefault(end, self._sure(end))
            if not head[0] & tail[0] or head[1] + tail[1] != named or not end:
                yield partition

    def _sure(self, parts: str) -> _Sure:
        """Return for which blocks some parts of a key are certainly right, and how many dimensions are named."""
        bits, named = self._all, 0
        for part in parts.split("|"):
            found = self._parts.get(part) or self._parts.setdefault(part, self._bits(part))
            bits &= found[0]
            named += part.partition("=")[0] in self._names
        return bits, named

    def _has_all(self, parts: Sequence[str]) -> bool:
        """Whether a key has each dimension that the selection names."""
        return len(parts) >= len(self._names) and self._names <= {part.partition("=")[0].strip() for part in parts}

    def _bits(self, part: str) -> _Bits:
        try:
            ((name, _),) = (key := PartitionKey.parse(part)).items()
        except (PartitionError, ValueError):
            return 0, 0
        value = str(key).partition("=")[2]
        found = [block[name].holds(value) if name in block else True for block in self._blocks]
        sure = sum(1 << place for place, answer in enumerate(found) if answer)
        return sure, sum(1 << place for place, answer in enumerate(found) if answer is not False)


def _clauses(block: str) -> dict[str, _Alternatives]:
    """Split ``a=1|2,b=3`` into the alternatives of each dimension."""
    clauses = (clause.partition("=") for clause in block.split(","))
    return {name.strip(): _Alternatives(items.split("|")) for name, _, items in clauses}


class _Alternatives:
    """The values and ranges of one dimension: of many thousands, what is held is looked up."""

    def __init__(self, items: Sequence[str]) -> None:
        #: Certainly held: values, and the ends of ranges.
        self._values = set(items)
        #: Whether the scheme alone knows what is between the ends of some range.
        self._is_open = False
        spans: list[_Span] = []
        with_step: list[_Span] = []
        for item in items:
            span, _, step = item.partition("/")  # a / in a value is escaped
            low, dots, high = span.partition("..")
            if not dots:
                continue
            self._values |= {low, high}
            first, last = time_order(low), time_order(high)
            if first is None or last is None or first > last:
                self._is_open = True
            else:
                (with_step if step else spans).append((first, last))
        self._spans, self._with_step = _Spans(spans), _Spans(with_step)

    def holds(self, value: str) -> bool | None:
        """Return whether a value is one of them, or in a range; ``None`` where the text does not tell."""
        if value in self._values or ".." in self._values:
            return True
        moment = time_order(value)
        if moment is None:
            return None if self._is_open or self._spans or self._with_step else False
        if self._spans.hold(moment):
            return True
        return None if self._is_open or self._with_step.hold(moment) else False


class _Spans:
    """Spans of time, which may overlap."""

    def __init__(self, spans: list[_Span]) -> None:
        spans.sort()
        self._firsts = [first for first, _ in spans]
        #: The latest end of the spans up to each.
        self._lasts = list(accumulate((last for _, last in spans), max))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def hold(self, moment: str) -> bool:
        """Return whether a moment is in one of them."""
        before = bisect_right(self._firsts, moment)
        return before > 0 and moment <= self._lasts[before - 1]
