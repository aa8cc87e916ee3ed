"""``flowctx runs``, ``show`` and ``captures``: what the ledger remembers."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowctx.cli.blocks import Cell, Paragraph
from flowctx.cli.completing import run_ids
from flowctx.cli.continuing import how_to_continue
from flowctx.cli.options import CommandError, json_option, name_of, own_name, partition_option, there_option
from flowctx.cli.output import (
    as_of,
    clock_time,
    context_facts,
    echo,
    masked_json,
    print_facts,
    print_json,
    print_table,
    run_data,
    shown,
    spent,
    step_data,
    write_file,
)
from flowctx.cli.output import (
    show as show_block,
)
from flowctx.cli.run_names import meant_workflow, partition_named, run_named
from flowctx.core.batches.ledger import meant_batch
from flowctx.core.data.encoding import to_json
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepStatus

if TYPE_CHECKING:
    from flowctx.versions.lineage import Source


@click.command(short_help="List runs of all engines, the latest first.")
@click.option("--workflow", metavar="NAME", callback=own_name, help="Only runs of this workflow.")
@click.option("--batch", "batch_id", metavar="ID", help="Only runs of this batch.")
@click.option("--status", type=click.Choice([str(status) for status in RunStatus]), help="Only runs that stand so.")
@partition_option("Only runs of this partition.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", default=20, show_default=True, help="How many.")
@there_option
@json_option
def runs(
    workflow: str | None,
    batch_id: str | None,
    status: str | None,
    partition: PartitionKey | str | None,
    limit: int,
    ledger: Ledger,
    as_json: bool,
) -> None:
    """List the runs that the ledger remembers, the latest first.

    \b
    flowctx runs --status failed
    flowctx runs --workflow daily_prices --batch restate
    flowctx runs --partition date=2012-10-26,symbol=IBM --json
    """  # noqa: D301 - \b is for click
    found = ledger.list_runs(
        workflow=workflow,
        batch_id=batch_id,
        status=RunStatus(status) if status else None,
        partition=partition_named(ledger, workflow, partition),
        limit=limit,
    )
    if not found and workflow is not None and not ledger.list_runs(workflow=workflow, limit=1):
        meant = meant_workflow(ledger, workflow)
        raise CommandError(f"{name_of(ledger)} remembers no run of a workflow {workflow!r}; {meant}see: flowctx runs")
    if as_json:
        print_json([run_data(run) for run in found])
        return
    now = ledger.now()
    rows = [
        (
            run.run_id,
            run.workflow,
            run.context.partition or as_of(run),
            run.context.batch_id,
            run.engine,
            run.status,
            clock_time(run.context.started_at),
            run.error or _silence(run, now),
        )
        for run in found
    ]
    columns = ("run", "workflow", "partition", "batch", "engine", "status", "started (UTC)", "why")
    print_table("runs", columns, rows, none="" if rows else _no_such_run(ledger, batch_id))


def _no_such_run(ledger: Ledger, batch_id: str | None) -> str:
    none = f"{name_of(ledger)} remembers no such run"
    if batch_id is None or ledger.find_batch(batch_id) is not None:
        return none
    return f"{none}, nor batch {batch_id!r}; {meant_batch(batch_id, ledger.batches)}see: flowctx batches"


def _silence(run: RunRecord, now: datetime) -> str | None:
    """Return since when a run that is running has given no sign of life, if that is longer than it should be."""
    if run.status is not RunStatus.RUNNING or run.is_alive(now) or run.last_seen_at is None:
        return None
    return f"no sign of life since {clock_time(run.last_seen_at)} UTC"


@click.command(short_help="Show a run: steps, times, errors, context.")
@click.argument("run_id", metavar="RUN", shell_complete=run_ids)
@click.option(
    "--workflow", metavar="NAME", callback=own_name, help="Which workflow is meant, where one run id serves several."
)
@partition_option("Which partition is meant, where one run id serves several.")
@click.option("--traceback", "tracebacks", is_flag=True, help="Also print where failed steps failed.")
@click.option(
    "--lineage", "built_from", is_flag=True, help="Instead, what it was built from, down to the first inputs."
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --lineage: also draw it, as a page.",
)
@there_option
@json_option
def show(
    run_id: str,
    workflow: str | None,
    partition: PartitionKey | str | None,
    tracebacks: bool,
    built_from: bool,
    html_file: Path | None,
    ledger: Ledger,
    as_json: bool,
) -> None:
    """Show a run: its steps, how long they took and how they ended, and its context.

    The first characters of its id are enough, where no other run has them.

    \b
    flowctx show RUN_ID
    flowctx show RUN_ID --json
    flowctx show RUN_ID --traceback
    flowctx show CAPTURE --lineage
    flowctx show CAPTURE --lineage --json
    flowctx show CAPTURE --lineage --html page.html
    """  # noqa: D301 - \b is for click
    run_id, key = run_named(ledger, run_id, partition, or_capture=built_from)
    if built_from:
        _print_lineage(ledger, run_id, workflow, key, html_file, as_json)
        return
    if html_file is not None:
        raise click.UsageError("--html draws what something was built from; add --lineage")
    run = ledger.get_run(run_id, workflow=workflow, partition=key)
    records = ledger.steps(run.key)
    if as_json:
        print_json({**run_data(run), "steps": [step_data(r) for r in records], "context": run.context.to_dict()})
        return
    from flowctx.cli.tables import print_outputs, print_tables  # here, because a list of runs has no tables

    _print_run(run, ledger)
    print_table("\nsteps", ("step", "status", "tries", "began (UTC)", "took", "why"), _step_rows(run, records))
    _print_not_ended(run, records, alive=run.is_alive(ledger.now()))
    _print_inputs(records)
    print_outputs(records)
    print_tables(ledger, records)
    if tracebacks:
        _print_tracebacks(records)
    if run.is_alive(ledger.now()):
        echo(f"\nit is under way ({run.owner or 'somebody'} is at it since {clock_time(run.begun_at)} UTC)")
    elif run.continued_by is not None:
        echo(f"\nsee how it went on: flowctx show {run.continued_by}")
    elif run.status not in (RunStatus.OK, RunStatus.SKIPPED):
        echo("")
        if run.engine != "local":
            echo(f"if {run.engine} runs it again, this is told here once its next step has begun")
        echo(how_to_continue(run, ledger))


def _print_run(run: RunRecord, ledger: Ledger) -> None:
    print_facts(
        {
            "run": run.run_id,
            "workflow": run.workflow,
            "status": run.status,
            "attempt": run.attempt if run.attempt > 1 else None,
            "engine": run.engine,
            "started": f"{clock_time(run.context.started_at)} UTC",
            "finished": f"{clock_time(run.finished_at)} UTC" if run.finished_at else None,
            "last heard of": f"{clock_time(run.last_seen_at)} UTC" if run.status is RunStatus.RUNNING else None,
            **context_facts(run.context),
            "error": run.error or _silence(run, ledger.now()),
            "went on as": run.continued_by,
            "did only": ", ".join(run.selected) or None,
        }
    )


def _print_lineage(
    ledger: Ledger, run_id: str, workflow: str | None, key: PartitionKey | None, html_file: Path | None, as_json: bool
) -> None:
    from flowctx.versions.lineage import find_captured, lineage  # here, because few ask for it
    from flowctx.versions.lineage_drawing import lineage_page

    found = lineage(ledger, find_captured(ledger, run_id, workflow, key))
    if html_file is not None:
        write_file(html_file, lineage_page(found).encode())
    _show_lineage(found, as_json)


def _show_lineage(found: list[Source], as_json: bool) -> None:
    """Print what something was built from, the nearest first."""
    if as_json:
        print_json([source.to_dict() for source in found])
        return
    rows = []
    for source in found:
        run = source.run
        params = masked_json(to_json(run.context.params)) if run else None
        code = ", ".join(f"{step.step}@{step.version}" if step.version else step.step for step in source.steps)
        where = (source.depth, source.workflow, source.partition, source.capture_id, source.revision, code)
        who = (run.engine, run.owner, clock_time(run.finished_at)) if run else (None, None, None)
        rows.append((*where, *who, source.problem or params))
    columns = (
        "depth",
        "workflow",
        "partition",
        "capture",
        "revision",
        "code",
        "engine",
        "by",
        "written (UTC)",
        "params",
    )
    print_table("built from", columns, rows)


def _print_inputs(records: list[StepRecord]) -> None:
    rows = [
        (record.step, name, read.workflow, read.partition, read.capture_id if read.digest else "skipped", read.revision)
        for record in records
        for name, reads in record.inputs.items()
        for read in reads
    ]
    if rows:
        print_table("\ninputs", ("step", "input", "workflow", "partition", "capture", "revision"), rows)


def _print_tracebacks(records: list[StepRecord]) -> None:
    for record in records:
        if record.traceback is not None:
            echo(f"\nstep {record.step}:")
            show_block(Paragraph([Cell(shown(record.traceback, lines=True))]))
    if not any(record.traceback for record in records):
        echo("\nno step of it raised")


def _step_rows(run: RunRecord, records: list[StepRecord]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (r.step, r.status, r.attempts, clock_time(r.started_at), spent(timedelta(seconds=r.seconds)), r.error)
        for r in records
    ]
    not_ended = _not_ended(run, records)
    recorded = {record.step for record in records}
    rest = [(name, "not_ended" if name in not_ended else "not_run") for name in run.steps if name not in recorded]
    return rows + [(*one, None, None, None, None) for one in rest]


def _not_ended(run: RunRecord, records: list[StepRecord]) -> set[str]:
    """Return the steps of a run that may have begun and have no record; where a step failed, no other has."""
    if run.status is RunStatus.FAILED:
        may_have_begun = all(record.status is not StepStatus.FAILED for record in records)
    else:
        may_have_begun = run.status in (RunStatus.RUNNING, RunStatus.CANCELED)
    of_run = set(run.selected or run.steps) if may_have_begun else set()
    return of_run - {record.step for record in records}


def _print_not_ended(run: RunRecord, records: list[StepRecord], *, alive: bool) -> None:
    """Print what is known of steps of which nothing is recorded, since a step is recorded when it ends."""
    if _not_ended(run, records):
        other = "it is at work" if alive else "it was stopped at work"
        echo(f"\nnot_ended: nothing is recorded of the step yet; {other}, or has not begun")
