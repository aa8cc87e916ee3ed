"""Notices where the calls of one run do not agree on its business date."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date
from typing import Final

#: Of so many runs it is known; the oldest is forgotten first.
_MOST: Final = 256


class DatesOfRuns:
    """Remembers, in one process, the first business date of each run.

    Example:
        >>> dates = DatesOfRuns()
        >>> dates.differing("r1", date(2026, 1, 16), "fired_at+last_session:XNYS")
        >>> dates.differing("r1", date(2026, 1, 19), "fired_at")
        '2026-01-16 (from fired_at+last_session:XNYS) and 2026-01-19 (from fired_at)'
    """

    def __init__(self) -> None:
        self._first: dict[Hashable, tuple[date, str]] = {}
        self._reported: set[tuple[Hashable, date]] = set()

    def first(self, run: Hashable) -> tuple[date, str] | None:
        """Return the first date that a run has had, and where it is from, if it has had one."""
        return self._first.get(run)

    def differing(self, run: Hashable, day: date | None, source: object) -> str | None:
        """Return both dates where a run has another one already; each other date is told once, and None is no date."""
        if day is None:
            return None
        while len(self._first) >= _MOST and run not in self._first:
            oldest = next(iter(self._first))
            del self._first[oldest]
            self._reported = {pair for pair in self._reported if pair[0] != oldest}
        first, by = self._first.setdefault(run, (day, str(source)))
        if first == day or (run, day) in self._reported:
            return None
        self._reported.add((run, day))
        return f"{first} (from {by}) and {day} (from {source})"
