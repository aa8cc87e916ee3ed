"""``flowctx resume --on``: a run goes on as a new run of an engine, which takes over what is complete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from flowctx import local
from flowctx.cli.continuing import beside_batch
from flowctx.cli.options import read_params
from flowctx.cli.output import echo, print_facts, print_json
from flowctx.core.batches.launcher import Launcher
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorded import latest_continuation
from flowctx.core.durability.records import RunRecord
from flowctx.core.durability.resumption import plan_resume
from flowctx.core.errors import EngineError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger.ownership import refuse_alive


def resume_on(
    engine: str,
    url: str | None,
    location: str | None,
    run_id: str,
    workflow: Workflow | None,
    *,
    partition: PartitionKey | None,
    params: Mapping[str, str],
    from_step: str | None,
    accept_changes: bool,
    take_over: bool,
    ledger: Ledger,
    as_json: bool,
) -> bool:
    """Start the run that continues another, wait for its end, say how it ended, and return whether it ended well.

    Raises:
        RunAlive: Somebody is at the run, and it is not to be taken over; nothing was started.
        WorkflowChanged: A step that is complete has changed since; nothing was started.
        EngineError: The engine cannot run it.
    """
    workflow, named = local.remembered(ledger, run_id, workflow, partition)
    before = latest_continuation(ledger, named)
    if before.run_id != named.run_id:
        echo(f"run {named.run_id} went on as {before.run_id}; that one goes on", err=True)
    if not take_over:
        refuse_alive(before, ledger.now())
    records, read = ledger.steps(before.key), read_params(workflow, params)
    plan = plan_resume(workflow, before, records, params=read, from_step=from_step, accept_changes=accept_changes)
    if plan.complete(workflow):
        raise click.UsageError(f"run {before.run_id} is complete; to run part of it again, add --from-step")
    if (hint := beside_batch(ledger, before, params)) is not None:
        echo(hint, err=True)
    job = Job(
        key=before.context.partition if workflow.partitions is not None else None,
        run_id=_run_id(before),
        params=read,
        request=_request(before, workflow, from_step=from_step, accept_changes=accept_changes, take_over=take_over),
    )
    from flowctx.backfill.call import launcher_on  # here, because to resume a run here needs none of it

    ended = _run(launcher_on(engine, url, None, ledger, location=location), engine, workflow, job)
    _show(ended, before, as_json)
    return ended.state.done


def _request(before: RunRecord, workflow: Workflow, **how: Any) -> RunRequest:
    """Return the request for the next run: the ids of the former one, and how it goes on."""
    ctx = before.context
    loose = workflow.partitions is None
    return RunRequest(
        batch_id=ctx.batch_id,
        partition=ctx.partition if loose else None,
        as_of_date=ctx.as_of_date if loose else None,
        resume_from=before.run_id,
        **how,
    )


def _run_id(before: RunRecord) -> str:
    """Return the id of the next attempt's run: equal until that has begun, so that the engine takes it once."""
    readable = re.sub(r"[^A-Za-z0-9_:+~-]+", "-", before.run_id)[:120]
    return f"resume__{readable}__{before.key.digest[:12]}__{before.attempt + 1}.{before.fencing_token}"


def _run(launcher: Launcher, engine: str, workflow: Workflow, job: Job) -> PartitionRun:
    launcher.check(workflow)
    batch = BatchRecord(
        batch_id=job.request.batch_id or "", workflow=workflow.name, engine=engine, created_at=datetime.now(UTC)
    )
    latest: PartitionRun | None = None
    for news in launcher.launch(batch, iter([job])):
        if news is not None and (latest is None or news.run_id != latest.run_id):
            echo(f"run {news.run_id} on {engine}", err=True)
        latest = news or latest
    if latest is None or not latest.state.ended:
        raise EngineError(f"{engine} has not said how run {job.run_id} ended; see: flowctx runs")
    return latest


def _show(ended: PartitionRun, before: RunRecord, as_json: bool) -> None:
    found = {
        "run_id": ended.run_id,
        "resumed_from": before.run_id,
        "engine": ended.engine,
        "status": str(ended.state),
        "step": ended.step,
        "error": ended.error,
    }
    if as_json:
        print_json(found)
    else:
        print_facts(found)
        echo(f"\nsee: flowctx show {ended.run_id}")
