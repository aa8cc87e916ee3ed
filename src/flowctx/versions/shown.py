"""Differences as lines for people, and as JSON-ready data; without secrets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from flowctx.core.data.table_changes import CellChange, TableChange
from flowctx.core.masking import mask_data
from flowctx.core.printable import amount
from flowctx.versions.changes import ABSENT, Change
from flowctx.versions.differences import Differences, Outcome, StepDifference
from flowctx.versions.rows import cell, text
from flowctx.versions.stale_links import StalePartition


class Line(NamedTuple):
    """One thing that differs."""

    #: The partition, as text.
    partition: str
    #: The step.
    step: str
    #: The way to the value.
    path: str
    #: ``added``, ``removed`` or ``changed``; of what cannot be compared ``differs`` or ``gone``.
    kind: str
    #: What it was, as text.
    old: str
    #: What it is, as text.
    new: str
    #: By how much a number changed.
    delta: float | None


def title(found: Differences) -> str:
    """Return what is compared, in words."""
    return f"{found.workflow}: {found.before} and {found.after}"


def counts(found: Differences) -> str:
    """Return how many outputs stand how, in words."""
    return ", ".join(f"{found.counts[outcome]:,} {outcome}" for outcome in Outcome if found.counts[outcome])


def lines(found: Differences) -> Iterator[Line]:
    """Yield what differs, the largest changes of numbers first within each kind of thing."""
    for step in found.by_size():
        yield from step_lines(step)


def step_lines(step: StepDifference) -> Iterator[Line]:
    """Yield what differs in what a step made of a partition."""
    where = (str(step.partition or ""), step.step)
    if step.outcome is Outcome.GONE:
        yield from (Line(*where, change.problem or "", str(step.outcome), "", "", None) for change in step.changes)
        return
    if not step.changes:
        only = step.after if step.outcome is Outcome.ADDED else step.before
        yield Line(*where, "", str(step.outcome), "", only or "", None)
    yield from change_lines(where, step.changes)


def change_lines(where: tuple[str, str], found: Iterable[Change]) -> Iterator[Line]:
    """Yield what differs in one output, the largest changes of numbers first.

    Args:
        where: The partition and the step, as text.
        found: What differs.
    """
    for change in sorted(found, key=lambda one: -abs(one.delta or 0.0)):
        if change.problem is not None:
            yield Line(*where, change.problem, "differs", "", "", None)
        elif change.table is None:
            old, new = (_masked(change.path, value) for value in (change.old, change.new))
            yield Line(*where, change.path, change.kind, _text(old), _text(new), change.delta)
        else:
            yield from _table_lines(where, change.path, change.table)


def _table_lines(where: tuple[str, str], path: str, table: TableChange) -> Iterator[Line]:
    rows = (amount(table.rows_before, "row"), amount(table.rows_after, "row"))
    if table.problem is not None:
        yield Line(*where, f"{path}: {table.problem}", "differs", *rows, None)
        return
    how = f"by {', '.join(table.key)}" if table.key else "by position"
    changed = f"{amount(table.cells, 'cell')} in {amount(table.changed_rows, 'row')}"
    counts = f"{changed}, {table.added:,} added, {table.removed:,} removed"
    yield Line(*where, f"{path}: {counts}; rows {how}", "changed", *rows, None)
    for one in table.largest:
        old, new = (_masked(one.column, value) for value in (one.old, one.new))
        yield Line(*where, f"{path}[{_row(one.row)}].{one.column}", "changed", text(old), text(new), one.delta)
    for kind, some in (("added", table.added_rows), ("removed", table.removed_rows)):
        yield from (Line(*where, f"{path}[{_row(row)}]", kind, "", "", None) for row in some)


def to_data(found: Differences) -> dict[str, Any]:
    """Return differences as JSON-ready data."""
    return {**head_data(found), "steps": [step_data(step) for step in found.by_size()]}


def head_data(found: Differences) -> dict[str, Any]:
    """Return what is compared, and how many outputs stand how, as JSON-ready data."""
    return {
        "workflow": found.workflow,
        "before": found.before,
        "after": found.after,
        "equal": found.equal,
        "counts": {str(outcome): count for outcome, count in found.counts.items()},
    }


def stale_data(found: StalePartition) -> dict[str, Any]:
    """Return a stale partition as JSON-ready data."""
    return {
        "partition": str(found.partition) if found.partition else None,
        "capture_id": found.capture_id,
        "code": list(found.code),
        "missing": found.missing or None,
        "left_out": found.left_out,
        "chain": [
            {
                "workflow": link.read.workflow,
                "step": link.read.step,
                "partition": str(link.read.partition) if link.read.partition else None,
                "capture_id": link.capture_id,
                "revision": link.revision,
                "captured_again": link.now,
                "batch_id": link.batch_id,
                "without_step": link.without_step,
                "gone": link.gone,
                "added": link.added,
                "removed": link.removed,
            }
            for link in found.chain
        ],
    }


def step_data(step: StepDifference) -> dict[str, Any]:
    """Return what differs in what a step made of a partition as JSON-ready data."""
    return {
        "partition": str(step.partition) if step.partition else None,
        "step": step.step,
        "outcome": str(step.outcome),
        "before": step.before,
        "after": step.after,
        "changes": [change_data(change) for change in step.changes],
    }


def change_data(change: Change) -> dict[str, Any]:
    """Return what differs in one value as JSON-ready data."""
    data: dict[str, Any] = {"path": change.path, "kind": change.kind, "delta": cell(change.delta)}
    for name, value in (("old", change.old), ("new", change.new)):
        if value is not ABSENT:
            data[name] = _masked(change.path, value)
    if change.problem is not None:
        data["problem"] = change.problem
    if change.table is not None:
        data["table"] = _table_data(change.table)
    return data


def _table_data(table: TableChange) -> dict[str, Any]:
    return {
        "key": list(table.key),
        "problem": table.problem,
        "rows_before": table.rows_before,
        "rows_after": table.rows_after,
        "added": table.added,
        "removed": table.removed,
        "changed_rows": table.changed_rows,
        "changed_cells": table.cells,
        "columns": dict(table.columns),
        "largest": [_cell_data(one) for one in table.largest],
        "added_rows": [cell(row) for row in table.added_rows],
        "removed_rows": [cell(row) for row in table.removed_rows],
    }


def _cell_data(one: CellChange) -> dict[str, Any]:
    values = {name: _masked(one.column, value) for name, value in (("old", one.old), ("new", one.new))}
    return {"row": cell(one.row), "column": one.column, **values, "delta": cell(one.delta)}


def _masked(name: str, value: object) -> Any:
    """Return a value as it may be shown: a secret is one by the way to it."""
    if value is ABSENT:
        return ABSENT
    masked: Mapping[str, Any] = mask_data({name: cell(value)})
    return next(iter(masked.values()))


def _row(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={text(value)}" for name, value in mask_data(cell(row)).items())


def _text(value: object) -> str:
    return "" if value is ABSENT else "null" if value is None else text(value)
