"""``flowctx doctor``: what will stop being right by itself: calendars that end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from flowctx.cli.options import json_option
from flowctx.cli.output import print_json, print_table
from flowctx.core.dates.calendar_end import calendar_end
from flowctx.core.workflow.import_path import import_workflow
from flowctx.core.workflow.named_workflows import named_workflows


@click.command()
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@json_option
def doctor(targets: tuple[str, ...], as_json: bool) -> None:
    """Say how long the calendars of workflows are known.

    TARGET is module:name, file.py:name or a name in [tool.flowctx] of pyproject.toml; all of the latter by default.
    Exit code 1 if a calendar has ended.

    \b
    flowctx doctor flows:prices
    flowctx doctor --json
    """  # noqa: D301 - \b is for click
    named = named_workflows()
    rows = [_row(named.get(target, target)) for target in targets or named]
    if as_json:
        print_json({"calendars": rows})
    else:
        columns = ("workflow", "calendar", "known until", "days left", "note")
        shown = [[row[name.replace(" ", "_")] or "-" for name in columns[:-1]] + [row["note"]] for row in rows]
        none = "No workflow is named: give module:name, or name workflows in [tool.flowctx] of pyproject.toml."
        print_table("Calendars", columns, shown, none=none)
    if any(row["ended"] for row in rows):
        raise click.exceptions.Exit(1)


def _row(import_path: str) -> dict[str, Any]:
    workflow, now = import_workflow(import_path), datetime.now(UTC)
    cadence = workflow.partitions.cadence if workflow.partitions is not None else None
    row: dict[str, Any] = dict.fromkeys(("calendar", "version", "known_until", "days_left", "note"))
    row |= {"workflow": workflow.name, "ended": False}
    if cadence is None:
        return row | {"note": "no dates"}
    calendar, known, end = cadence.business_calendar, cadence.known_until, calendar_end(cadence, now)
    left = None if known is None else (known - now.astimezone(cadence.zone).date()).days
    return row | {
        "calendar": calendar.name,
        "version": calendar.version,
        "known_until": None if known is None else known.isoformat(),
        "days_left": left,
        "ended": end is not None and end.ended,
        "note": "ok" if end is None else str(end),
    }
