"""``flowctx backfill``, ``status``, ``cancel`` and ``batches``."""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from flowctx.backfill import BatchStatus, LocalLauncher, import_engine_runs, render_html
from flowctx.backfill.advice import advice
from flowctx.backfill.launching import wait_for_launcher
from flowctx.backfill.previews import latest_tables
from flowctx.backfill.settling import settle_run
from flowctx.backfill.status import counted
from flowctx.cli.completing import batch_ids
from flowctx.cli.following import listener, show_tally
from flowctx.cli.grids import print_grid, print_plan
from flowctx.cli.options import (
    json_option,
    ledger_option,
    name_of,
    params_option,
    read_params,
    target_argument,
    there_option,
    workflow_option,
)
from flowctx.cli.output import clock_time, echo, print_facts, print_json, print_table, spent, write_file
from flowctx.cli.planning import plan_of, stale_plan_of
from flowctx.core.batches.launcher import Launcher
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.data.encoding import to_json
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import EngineError, WorkflowError
from flowctx.core.masking import mask_data
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_function, import_path_of, import_recorded, import_workflow

ENGINES = ("local", "airflow", "dagster")


def _engine_options(what_for: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    url = click.option(
        "--url", metavar="URL", help="Where the engine is; else FLOWCTX_AIRFLOW_URL, FLOWCTX_DAGSTER_URL."
    )
    on = click.option("--on", "engine", type=click.Choice(ENGINES), help=what_for)
    return lambda command: on(url(command))


@click.command(short_help="Run many partitions under one batch id.")
@target_argument
@click.option("--batch", "batch_id", metavar="ID", required=True, help="The id that all its runs carry.")
@click.option(
    "--select", "selection", metavar="TEXT", help="Which partitions; by default those of the batch, else all."
)
@click.option("--until", metavar="DATE", help="The last as-of date, where partitions go on for ever.")
@click.option("--stale", is_flag=True, help="Only partitions that were built on what has changed since.")
@params_option
@click.option("--params-from", metavar="MODULE:FUNCTION", help="Makes the parameters of each partition from its key.")
@_engine_options("Where they run; here by default.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="So many partitions at a time; by default one for each CPU here, 16 on an engine.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would run.")
@click.option("--retry-failed", is_flag=True, help="Also run again what has failed.")
@click.option("--retry-skipped", is_flag=True, help="Also run again what was skipped.")
@click.option("--from-step", metavar="STEP", help="What runs again does so from this step on, although it is complete.")
@click.option("--extend", is_flag=True, help="Add the selection to a batch that is there, with these parameters.")
@click.option("--max-failures", type=click.IntRange(min=1), metavar="N", help="Stop when so many have failed.")
@ledger_option
@json_option
def backfill(
    target: str,
    batch_id: str,
    selection: str | None,
    until: str | None,
    stale: bool,
    params: dict[str, str],
    params_from: str | None,
    engine: str | None,
    url: str | None,
    workers: int | None,
    dry_run: bool,
    retry_failed: bool,
    retry_skipped: bool,
    from_step: str | None,
    extend: bool,
    max_failures: int | None,
    ledger: Ledger,
    as_json: bool,
) -> None:
    """Run many partitions of a workflow under one batch id; again, and what is missing runs.

    \b
    flowctx backfill flows:prices --batch restate --select date=2012-01-03..2012-06-29
    flowctx backfill flows:prices --batch restate --select … --dry-run
    flowctx backfill flows:prices --batch restate --select … --on airflow
    flowctx backfill flows:prices --batch ibm --select "date=last:9,symbol=IBM|AAPL"
    flowctx backfill flows:prices --batch restate --retry-failed
    flowctx backfill flows:month --batch refresh --stale

    Ctrl-C lets what is under way finish, and the same command goes on. The workflow may also be a name that the table
    [tool.flowctx] of pyproject.toml has for it, such as prices = "flows:prices".

    Exit code 1: partitions failed, or were not reached.
    """  # noqa: D301 - \b is for click
    if params and params_from:
        raise click.UsageError("--param and --params-from exclude each other; the function can return all of them")
    workflow = import_workflow(target)
    made = _function(params_from) if params_from else read_params(workflow, params)
    if stale:
        found = stale_plan_of(workflow, batch_id, selection, made, until=until, ledger=ledger)
        if found is None:
            print_json({"total": 0}) if as_json else echo(f"nothing of {workflow.name} is stale")
            return
        plan = found
    else:
        plan = plan_of(workflow, batch_id, selection, made, until=until, extend=extend, ledger=ledger)
    if dry_run:
        print_plan(plan.plan(retry_failed=retry_failed, retry_skipped=retry_skipped, extend=extend), batch_id, as_json)
        return
    launcher = launcher_of(engine or "local", url, workers, ledger)
    progress = plan.launch(
        launcher,
        retry_failed=retry_failed,
        retry_skipped=retry_skipped,
        from_step=from_step,
        extend=extend,
        max_failures=max_failures,
        listener=listener(),
    )
    show_tally(progress, batch_id, as_json, from_step)
    if not progress.complete:
        sys.exit(1)


def launcher_of(engine: str, url: str | None, workers: int | None, ledger: Ledger) -> Launcher:
    """Return what runs partitions on an engine."""
    if engine == "local":
        if url is not None:
            raise click.UsageError("--url is for other engines; batches here need none")
        return LocalLauncher(ledger, workers)
    launchers = importlib.import_module(f"flowctx.backfill.{engine}")  # one of ENGINES
    launcher: Launcher = launchers.launcher_from_env(url=url, workers=workers)
    return launcher


def _function(text: str) -> Callable[[PartitionKey], Mapping[str, Any]]:
    try:
        return import_function(text)
    except (WorkflowError, ImportError) as exc:
        raise click.BadParameter(f"{text!r} is no function: {exc}", param_hint="--params-from") from exc


@click.command(short_help="Show how a batch stands, and what failed.")
@click.argument("batch_id", metavar="BATCH", shell_complete=batch_ids)
@_engine_options("The engine to ask first.")
@workflow_option
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write a page to a file."
)
@click.option(
    "--failures", "most", type=click.IntRange(min=0), metavar="N", default=20, show_default=True, help="List so many."
)
@there_option
@json_option
def status(
    batch_id: str,
    engine: str | None,
    url: str | None,
    target: str | None,
    html_file: Path | None,
    most: int,
    ledger: Ledger,
    as_json: bool,
) -> None:
    """Show how a batch stands, whichever engine it ran on and whoever started it.

    With --on, the engine is asked first; a batch that it started by itself is found so, too.

    \b
    flowctx status restate
    flowctx status restate --html restate.html
    flowctx status restate --on airflow --workflow flows:prices
    """  # noqa: D301 - \b is for click
    workflow = import_workflow(target) if target else None
    _ask_engine(ledger, batch_id, engine, url, workflow)
    found = BatchStatus.of(ledger, batch_id, workflow)
    if html_file is not None:
        write_file(html_file, render_html(found, latest_tables(ledger, found.batch)).encode())
    if as_json:
        print_json(found.to_dict())
    else:
        _show_status(found, most)
        if html_file is not None:
            echo(f"\nwritten to {html_file}")


def _ask_engine(ledger: Ledger, batch_id: str, engine: str | None, url: str | None, workflow: Workflow | None) -> None:
    """Note what the engine knows of the batch: the one that is named, or else the one that it was launched on."""
    if engine is None:
        batch = ledger.batches.get(batch_id)
        if batch.selection is None or batch.engine in (None, "local") or batch.import_path is None:
            return
        if workflow is None:
            echo(f"{batch.engine} was not asked anew: that needs the workflow (--workflow MODULE:NAME)", err=True)
            return
        try:
            _adopt(ledger, batch, str(batch.engine), url, workflow)
        except EngineError as exc:
            echo(f"not asked anew: {exc}", err=True)
        return
    if engine == "local":
        return
    known = ledger.find_batch(batch_id)
    if workflow is None:
        raise click.UsageError(f"with --on {engine} also say whose batch {batch_id} is: --workflow MODULE:NAME")
    batch = known or BatchRecord(
        batch_id=batch_id,
        workflow=workflow.name,
        import_path=import_path_of(workflow),
        engine=engine,
        created_at=datetime.now(UTC),
    )
    if _adopt(ledger, batch, engine, url, workflow) and known is None:
        ledger.batches.put(batch)


def _adopt(ledger: Ledger, batch: BatchRecord, engine: str, url: str | None, workflow: Workflow) -> int:
    def found() -> Iterator[PartitionRun]:
        for run in launcher_of(engine, url, None, ledger).find(batch, workflow):
            settle_run(ledger, batch.workflow, run)
            yield run

    return import_engine_runs(ledger.batches, batch, found())


def _show_status(found: BatchStatus, most: int) -> None:
    batch = found.batch
    counts = {
        state: f"{count:,}" + (f" ({count / found.total:.1%})" if found.total else "")
        for state, count in found.counts.items()
    }
    times = {name: spent(timedelta(seconds=value)) for name, value in found.seconds.items()}
    print_facts(
        {
            "batch": batch.batch_id,
            "workflow": batch.workflow,
            "selection": batch.selection,
            "params": json.dumps(mask_data(to_json(batch.params))) if batch.params else batch.params_from,
            "partitions": f"{found.total:,}",
            **counts,
            "other workflows": "; ".join(f"{name}: {counted(n)}" for name, n in found.others.items()) or None,
            "engines": ", ".join(f"{name} {count:,}" for name, count in found.engines.items()) or None,
            "a run took": ", ".join(f"{name} {value}" for name, value in times.items()) or None,
            "started": f"{clock_time(found.started_at)} UTC" if found.started_at else None,
            "last ended": f"{clock_time(found.ended_at)} UTC" if found.ended_at else None,
            "canceled": f"{clock_time(batch.canceled_at)} UTC" if batch.canceled_at else None,
        }
    )
    if found.grid is not None:
        print_grid(found.grid)
    reasons = {"skipped": found.skips, "optional steps failed": found.tolerated, "waiting": found.waits}
    for title, by_reason in reasons.items():
        if by_reason:
            print_table(f"\n{title}", ("partitions", "why"), [(f"{n:,}", why) for why, n in by_reason.items()])
    if found.failures and most:
        rows = [(run.label, run.step, run.engine, run.run_id, run.error) for run in found.failures[:most]]
        print_table("\nfailures", ("partition", "step", "engine", "run", "why"), rows)
        for line in advice(found.failures, batch):
            echo(line)
        failed = found.counts.get(PartitionState.FAILED, 0)
        if failed > most:
            echo(f"{failed - most:,} more: --failures {failed}")


@click.command(short_help="Stop a batch.")
@click.argument("batch_id", metavar="BATCH", shell_complete=batch_ids)
@_engine_options("The engine to stop it on, if not the one it was launched on.")
@there_option
def cancel(batch_id: str, engine: str | None, url: str | None, ledger: Ledger) -> None:
    """Stop a batch: no more partitions are begun, and runs on engines are stopped; what has ended stays.

    \b
    flowctx cancel restate

    The backfill command begins it again.
    """  # noqa: D301 - \b is for click
    batch = ledger.batches.cancel(batch_id)
    wait_for_launcher(ledger.batches, batch_id)
    if (workflow := _workflow_on_engine(batch, engine)) is not None:
        _ask_engine(ledger, batch_id, engine, url, workflow)
    under_way = [run for run in ledger.batches.iter_outcomes(batch_id, workflow=batch.workflow) if not run.state.ended]
    stopped = 0
    for name in sorted({run.engine for run in under_way} - {"local"}):
        runs = [run for run in under_way if run.engine == name]
        done = list(launcher_of(name, url, None, ledger).cancel(batch, runs))
        ledger.batches.record_outcomes(batch_id, done)
        for run in done:
            settle_run(ledger, batch.workflow, run)
        stopped += sum(run.state is PartitionState.CANCELED for run in done)
        if len(done) < len(runs):
            echo(f"{len(runs) - len(done):,} runs on {name} do not stop; say it again, or look at them there", err=True)
    for name, counts in ledger.batches.runs_by_workflow(batch_id).items():
        if name != batch.workflow and (running := counts.get("running")):
            echo(f"{running:,} runs of workflow {name} carry this batch id and are not stopped", err=True)
    echo(f"batch {batch_id} is canceled" + (f"; {stopped:,} runs were stopped" if stopped else ""))


def _workflow_on_engine(batch: BatchRecord, engine: str | None) -> Workflow | None:
    """Return the workflow that an engine is to be asked about; a batch of this machine needs no engine."""
    if batch.import_path is None or (engine or batch.engine) in (None, "local"):
        return None
    try:
        return import_recorded(batch.import_path)
    except WorkflowError as exc:
        echo(f"{engine or batch.engine} was not asked anew: {exc}", err=True)
        return None


@click.command(short_help="List batches, the latest first.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", default=20, show_default=True, help="How many.")
@there_option
@json_option
def batches(limit: int, ledger: Ledger, as_json: bool) -> None:
    """List the batches that the ledger remembers, the latest first.

    \b
    flowctx batches
    flowctx batches --limit 5 --json
    """  # noqa: D301 - \b is for click
    found = [(batch, _counts(ledger, batch)) for batch in ledger.batches.all(limit)]
    if as_json:
        print_json(
            [
                {
                    "batch_id": batch.batch_id,
                    "workflow": batch.workflow,
                    "selection": batch.selection,
                    "total": batch.total,
                    "counts": counts,
                    "engine": batch.engine,
                    "created_at": batch.created_at.isoformat(),
                    "canceled_at": batch.canceled_at.isoformat() if batch.canceled_at else None,
                }
                for batch, counts in found
            ]
        )
        return
    rows = [
        (
            batch.batch_id,
            batch.workflow,
            f"{batch.total:,}" if batch.total is not None else "",
            batch.engine,
            clock_time(batch.created_at),
            ", ".join(
                [f"{count:,} {state}" for state, count in counts.items()] + ["canceled"] * bool(batch.canceled_at)
            ),
        )
        for batch, counts in found
    ]
    columns = ("batch", "workflow", "partitions", "engine", "made (UTC)", "so far")
    print_table("batches", columns, rows, none=f"{name_of(ledger)} remembers no batch; flowctx backfill makes one")


def _counts(ledger: Ledger, batch: BatchRecord) -> dict[str, int]:
    return Counter(str(run.state) for run in ledger.batches.iter_outcomes(batch.batch_id, workflow=batch.workflow))
