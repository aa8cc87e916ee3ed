"""What differs between two versions, on its way to a reader: sorted, and with little of it in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Self

from flowctx.core.masking import data_masker, secret_values
from flowctx.versions.differences import Differences, Outcome, StepDifference
from flowctx.versions.largest_first import LargestFirst
from flowctx.versions.shown import Line, head_data, step_data, step_lines


class WaitingDifferences:
    """Counts what differs, and returns it in the end, the largest changes of numbers first.

    Args:
        found: What is compared; takes the counts.
        some: Differences, equal ones too.
        lines: So many lines are asked for; ``None``: all of them.
        data: Whether all of it is asked for as data.
    """

    def __init__(
        self, found: Differences, some: Iterable[StepDifference], *, lines: int | None = None, data: bool = False
    ) -> None:
        #: What is compared, and how many stand how.
        self.found = found
        self._lines, self._data = lines, data
        self._secrets: set[str] = set()
        self._texts = LargestFirst(None if data else lines)
        try:
            for one in some:
                self._add(one)
        except BaseException:
            self._texts.__exit__()
            raise

    def _add(self, one: StepDifference) -> None:
        self.found.counts[one.outcome] += 1
        if one.outcome is Outcome.EQUAL:
            return
        data = None
        if self._data:
            data = step_data(one)
            self._secrets |= secret_values(data)
        self._texts.add(one.size, lambda: json.dumps([list(step_lines(one)) if self._lines != 0 else [], data]))

    def lines(self) -> Iterator[Line]:
        """Yield what differs as lines."""
        return (Line(*line) for lines, _ in map(json.loads, self._texts) for line in lines)

    def head(self) -> dict[str, Any]:
        """Return what is compared, and how many stand how, as JSON-ready data."""
        return head_data(self.found)

    def data(self) -> Iterator[dict[str, Any]]:
        """Yield what differs as JSON-ready data, without the secrets of any."""
        mask = data_masker(self._secrets)
        return (mask(data) for _, data in map(json.loads, self._texts))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._texts.__exit__()
