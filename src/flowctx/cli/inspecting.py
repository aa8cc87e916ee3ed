"""``flowctx runs``, ``show`` and ``captures``: what the ledger remembers."""

from __future__ import annotations

from datetime import timedelta

import click

from flowctx.cli.options import json_option, ledger_option, partition_option
from flowctx.cli.output import (
    capture_data,
    clock_time,
    context_facts,
    print_facts,
    print_json,
    print_table,
    run_data,
    spent,
    step_data,
)
from flowctx.core.partition import PartitionKey
from flowctx.core.ports import Ledger
from flowctx.core.records import CaptureState, RunRecord, RunStatus, StepRecord


@click.command()
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option("--batch", "batch_id", metavar="ID", help="Only runs of this batch.")
@click.option("--status", type=click.Choice([str(status) for status in RunStatus]), help="Only runs that stand so.")
@partition_option("Only runs of this partition.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@ledger_option
@json_option
def runs(
    workflow: str | None,
    batch_id: str | None,
    status: str | None,
    partition: PartitionKey | None,
    limit: int,
    ledger: Ledger,
    as_json: bool,
) -> None:
    """List the runs that the ledger remembers, the latest first."""
    found = ledger.runs(
        workflow=workflow,
        batch_id=batch_id,
        status=RunStatus(status) if status else None,
        partition=partition,
        limit=limit,
    )
    if as_json:
        print_json([run_data(run) for run in found])
        return
    rows = [
        (
            run.run_id,
            run.workflow,
            run.context.partition,
            run.context.batch_id,
            run.engine,
            run.status,
            clock_time(run.context.started_at),
            run.error,
        )
        for run in found
    ]
    print_table("runs", ("run", "workflow", "partition", "batch", "engine", "status", "started (UTC)", "error"), rows)


@click.command()
@click.argument("run_id")
@click.option("--workflow", metavar="NAME", help="Which workflow is meant, where one run id serves several.")
@partition_option("Which partition is meant, where one run id serves several.")
@ledger_option
@json_option
def show(run_id: str, workflow: str | None, partition: PartitionKey | None, ledger: Ledger, as_json: bool) -> None:
    """Show a run: its steps, how long they took and how they ended, and its context."""
    run = ledger.run(run_id, workflow=workflow, partition=partition)
    records = ledger.steps(run.key)
    if as_json:
        print_json({**run_data(run), "steps": [step_data(r) for r in records], "context": run.context.to_dict()})
        return
    print_facts(
        {
            "run": run.run_id,
            "workflow": run.workflow,
            "status": run.status,
            "attempt": run.attempt if run.attempt > 1 else None,
            "engine": run.engine,
            "started": f"{clock_time(run.context.started_at)} UTC",
            "finished": f"{clock_time(run.finished_at)} UTC" if run.finished_at else None,
            "last heard of": f"{clock_time(run.heard_at)} UTC" if run.status is RunStatus.RUNNING else None,
            **context_facts(run.context),
            "error": run.error,
        }
    )
    print_table("\nsteps", ("step", "status", "tries", "began (UTC)", "took", "why"), _step_rows(run, records))
    if run.status is not RunStatus.OK:
        click.echo(f"\nto go on: flowctx resume {run.run_id}")


def _step_rows(run: RunRecord, records: list[StepRecord]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (r.step, r.status, r.attempts, clock_time(r.started_at), spent(timedelta(seconds=r.seconds)), r.error)
        for r in records
    ]
    recorded = {record.step for record in records}
    rest = "pending" if run.status is RunStatus.RUNNING else "not_run"
    return rows + [(name, rest, None, None, None, None) for name in run.steps if name not in recorded]


@click.command()
@click.argument("workflow")
@partition_option("Only captures of this partition.")
@ledger_option
@json_option
def captures(workflow: str, partition: PartitionKey | None, ledger: Ledger, as_json: bool) -> None:
    """List the captures of a workflow: each partition's revisions, and which one is current."""
    found = ledger.captures(workflow=workflow, partition=partition)
    current = {c.key.subject: c.revision for c in found if c.state is CaptureState.COMPLETE}
    if as_json:
        print_json([{**capture_data(c), "current": current.get(c.key.subject) == c.revision} for c in found])
        return
    rows = [
        (
            capture.partition,
            capture.revision,
            capture.state,
            "current" if current.get(capture.key.subject) == capture.revision else None,
            capture.key.capture_id,
            capture.run_id,
            clock_time(capture.completed_at or capture.claimed_at),
        )
        for capture in found
    ]
    print_table(f"captures of {workflow}", ("partition", "revision", "state", "", "capture", "run", "when (UTC)"), rows)
