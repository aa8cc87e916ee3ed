"""The partitions of a batch on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flowctx.backfill.grid import LETTERS, MISSING, NONE, Grid
from flowctx.cli.blocks import Block, Cell, Paragraph
from flowctx.cli.output import print_facts, print_json, print_table, show
from flowctx.core.batches.records import PartitionState
from flowctx.core.data.plain import EMPTY

if TYPE_CHECKING:
    from flowctx.backfill import Plan
    from flowctx.backfill.lacking import Lacking

#: More rows than this are taken together by month, and then by year; more columns are taken together.
_MOST_ROWS, _MOST_COLUMNS = 36, 10
_STYLES = {
    LETTERS[PartitionState.FAILED]: ("✗", "bold red"),
    LETTERS[PartitionState.RUNNING]: ("▶", "cyan"),
    LETTERS[PartitionState.LAUNCHED]: ("…", "cyan"),
    LETTERS[PartitionState.CANCELED]: ("⊘", "magenta"),
    LETTERS[PartitionState.PARTIAL]: ("◐", "magenta"),
    LETTERS[PartitionState.WAITING]: ("◌", "bold yellow"),
    MISSING: ("·", "dim"),
    LETTERS[PartitionState.OK]: ("●", "green"),
    LETTERS[PartitionState.SKIPPED]: ("○", "yellow"),
    LETTERS[PartitionState.PRUNED]: ("◇", "dim"),
}
_WORDS = {letter: str(state) for state, letter in LETTERS.items()} | {MISSING: "missing"}
_DONE = {letter for state, letter in LETTERS.items() if state.done}


def print_grid(grid: Grid) -> None:
    """Print a grid: one sign for each partition, or how many are done where several share a cell."""
    groups = _groups(grid)
    together = len(grid.columns) > _MOST_COLUMNS
    columns = [f"all {len(grid.columns)}"] if together else grid.columns
    seen: set[str] = set()
    shown: list[list[Cell]] = []
    for label, rows in groups:
        letters = [grid.row(row).decode() for row in rows]
        cells = ["".join(letters)] if together else ["".join(some) for some in zip(*letters, strict=True)]
        seen.update(*cells)
        shown.append([Cell(label, "dim"), *map(_cell, cells)])
    show(Paragraph())
    show(Block(rows=shown, headings=[grid.row_dimension, *columns], right=True))
    show(_legend(seen))


def _groups(grid: Grid) -> list[tuple[str, list[int]]]:
    for cut in (10, 7, 4) if grid.dated else (None,):
        groups: dict[str, list[int]] = {}
        for index, label in enumerate(grid.rows):
            groups.setdefault(label[:cut], []).append(index)
        if len(groups) <= _MOST_ROWS or cut == 4:
            return list(groups.items())
    return [(f"{grid.rows[0]} … {grid.rows[-1]}", list(range(len(grid.rows))))]


def _cell(letters: str) -> Cell:
    there = letters.replace(NONE, "")
    if not there:
        return Cell("")
    worst = next(letter for letter in _STYLES if letter in there)
    sign, style = _STYLES[worst]
    if len(there) == 1:
        return Cell(sign, style)
    done = sum(map(there.count, _DONE))
    return Cell(f"{done}/{len(there)} {sign}", style)


def _legend(seen: set[str]) -> Paragraph:
    signs = [(*_STYLES[letter], _WORDS[letter]) for letter in _STYLES if letter in seen]
    return Paragraph(
        [cell for sign, style, word in signs for cell in (Cell(f"{sign} ", style), Cell(f"{word}   ", "dim"))]
    )


def print_plan(
    plan: Plan, batch_id: str, as_json: bool, lacking: Lacking | None = None, refused: Mapping[str, int] = EMPTY
) -> None:
    """Print how many partitions a batch has, how they stand, and how many would run.

    Args:
        plan: What a launch would do.
        batch_id: The batch.
        as_json: Whether a program reads it.
        lacking: How many of what would run lack inputs.
        refused: Why what would run could not go on, and how many for each reason.
    """
    states = {str(state): count for state, count in plan.states.items()}
    if as_json:
        first, last = (str(key) if key else None for key in (plan.first, plan.last))
        found = {"total": plan.total, "first": first, "last": last, "states": states, "would_run": plan.would_run}
        if lacking is not None:
            found |= {"lack_inputs": lacking.count, "first_lacks": lacking.first or None, "lacks_cut": lacking.cut}
            found["would_not_go_on"] = dict(refused)
        each = {name: {"total": one.total, "would_run": one.would_run} for name, one in plan.by_workflow.items()}
        print_json({**found, "workflows": each} if each else found)
        return
    print_facts(
        {
            "batch": batch_id,
            "partitions": f"{plan.total:,}",
            "first": plan.first,
            "last": plan.last,
            **{state: f"{count:,}" for state, count in states.items()},
            "would run": f"{plan.would_run:,}",
            **({"lack inputs": lacking.text} if lacking is not None and lacking.text else {}),
        }
    )
    if refused:
        print_table("\nwould not go on", ("partitions", "why"), [(f"{n:,}", why) for why, n in refused.items()])
    if plan.by_workflow:
        rows = [
            (name, f"{one.total:,}", one.first, one.last, f"{one.would_run:,}")
            for name, one in plan.by_workflow.items()
        ]
        print_table("\nworkflows", ("workflow", "partitions", "first", "last", "would run"), rows)
