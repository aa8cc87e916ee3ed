"""``flowctx cancel``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import click

from flowctx.backfill.belonging import batch_asked_of
from flowctx.backfill.leading import wait_for_launcher
from flowctx.backfill.settling import settle_run
from flowctx.cli.completing import batch_ids
from flowctx.cli.engines import engine_options, refuse_url
from flowctx.cli.options import batches_as_typed, there_option, workflows_option
from flowctx.cli.output import echo
from flowctx.cli.standing import ask_engine, end_silent
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError, EngineError, WorkflowError
from flowctx.core.printable import amount
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_recorded, import_workflow


@click.command(short_help="Stop a batch.")
@click.argument("batch_id", metavar="BATCH", shell_complete=batch_ids)
@engine_options("The engine to stop it on, if not the one it was launched on.")
@workflows_option
@there_option
def cancel(batch_id: str, engine: str | None, url: str | None, targets: Sequence[str], ledger: Ledger) -> None:
    """Stop a batch: no more partitions are begun, and runs on engines are stopped; what has ended stays.

    \b
    flowctx cancel restate
    flowctx cancel restate --workflow flows.py:prices

    The backfill command begins it again.
    """  # noqa: D301 - \b is for click
    known = ledger.batches.get(batch_id)
    refuse_url(engine or known.engine, url)
    typed = [import_workflow(target) for target in targets]
    with batches_as_typed():
        for workflow in typed:
            batch_asked_of(known, workflow)
    batch = ledger.batches.cancel(batch_id)
    wait_for_launcher(ledger.batches, batch_id)
    refusals: list[tuple[str, EngineError]] = []
    unasked: list[str] = []
    workflows = typed or _workflows_on_engine(batch, engine)
    # An engine that is named refuses one workflow, and may have runs of the next.
    for some in [[one] for one in workflows] if engine is not None else [workflows] if workflows else []:
        with _noted(refusals, str(engine or batch.engine)), batches_as_typed():
            unasked += ask_engine(ledger, batch_id, engine, url, some)
    urls = {str(engine or batch.engine): url}  # of other engines, the environment tells
    # One that nobody planned is of the workflows that are named, too.
    own = {one.workflow: one for one in [*batch.by_workflow(), *(batch_asked_of(batch, one) for one in workflows)]}
    stopped = sum(_stop(ledger, one, urls, refusals) for one in own.values())
    for why in unasked:
        if why not in [str(exc) for _, exc in refusals]:
            echo(f"not asked anew: {why}", err=True)
    died = end_silent(ledger, batch)
    for name, counts in ledger.batches.runs_by_workflow(batch_id).items():
        if name not in own and (running := counts.get("running")):
            echo(f"not stopped: {amount(running, 'run')} of workflow {name} with this batch id", err=True)
    more = f"; stopped {amount(stopped, 'run')}" if stopped else ""
    more += f"; of workers that have died: {amount(died, 'run')}" if died else ""
    if refusals:
        on = " and ".join(sorted({name for name, _ in refusals}))
        echo(f"batch {batch_id} is canceled{more}; what runs of it on {on} may go on: say it again", err=True)
        *others, last = {str(exc): exc for _, exc in refusals}.values()
        for exc in others:
            echo(f"Error: {exc}", err=True)
        raise last
    echo(f"batch {batch_id} is canceled{more}")
    if batch.selection is None and (begun_by := engine or batch.engine) not in (None, "local"):
        echo(f"if it is a backfill that {begun_by} began, that goes on: cancel it there, too", err=True)


@contextmanager
def _noted(refusals: list[tuple[str, EngineError]], engine: str) -> Iterator[None]:
    """Note what an engine refuses, so that all else is stopped."""
    try:
        yield
    except EngineError as exc:
        refusals.append((engine, exc))


def _stop(
    ledger: Ledger, batch: BatchRecord, urls: Mapping[str, str | None], refusals: list[tuple[str, EngineError]]
) -> int:
    """Stop what is under way of one workflow of a batch, and return how many runs that were."""
    from flowctx.backfill.call import launcher_on  # here, because what runs on this machine needs none of it

    if all(PartitionState(state).ended for state in ledger.batches.count_outcomes(batch.batch_id, batch.workflow)):
        return 0
    outcomes = ledger.batches.iter_outcomes(batch.batch_id, workflow=batch.workflow)
    under_way = [run for run in outcomes if not run.state.ended]
    stopped = 0
    for name in sorted({run.engine for run in under_way} - {"local"}):
        runs = [run for run in under_way if run.engine == name]
        done: list[PartitionRun] = []
        try:
            with _noted(refusals, name):
                for run in launcher_on(name, urls.get(name), None, ledger).cancel(batch, runs):
                    ledger.batches.record_outcomes(batch.batch_id, [replace(run, workflow=batch.workflow)])
                    done.append(run)
                if left := len(runs) - len(done):
                    what = f"{amount(left, 'run')} on {name} had ended meanwhile, or did not stop"
                    echo(f"{what}; say it again, or look there", err=True)
        finally:  # also where somebody does not wait for the rest
            stopped_at = ledger.now()  # steps may have begun while runs were stopped
            for run in done:
                settle_run(ledger, batch.workflow, run, stopped_at)
        stopped += sum(run.state is PartitionState.CANCELED for run in done)
    return stopped


def _workflows_on_engine(batch: BatchRecord, engine: str | None) -> list[Workflow]:
    """Return the workflows that an engine is to be asked about; a batch of this machine needs no engine."""
    if (engine or batch.engine) in (None, "local"):
        return []
    found: list[Workflow] = []
    for one in batch.by_workflow():
        if one.import_path is None:
            continue
        try:
            workflow = import_recorded(one.import_path)
            batch_asked_of(batch, workflow)
            found.append(workflow)
        except (WorkflowError, BatchError) as exc:
            whose = f" of {one.workflow}" if batch.others else ""
            echo(f"{engine or batch.engine} was not asked anew{whose}: {exc}", err=True)
    return found
