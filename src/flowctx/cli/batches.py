"""``flowctx backfill``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from flowctx.backfill import Backfill, JointBackfill
from flowctx.backfill.again import RunsAgain
from flowctx.backfill.bulk import BulkLauncher
from flowctx.backfill.call import bulk_launcher_on, launcher_on
from flowctx.backfill.changed import refused_again
from flowctx.backfill.lacking import inputs_lacking
from flowctx.backfill.local import Durability, LocalLauncher
from flowctx.backfill.plan import Plan
from flowctx.backfill.progress import LaunchProgress
from flowctx.backfill.same_batch import refuse_without_selection
from flowctx.backfill.superseding import warn_of_superseded
from flowctx.cli.engines import check_engine, engine_options, location_option
from flowctx.cli.following import listener, show_tally
from flowctx.cli.grids import print_plan
from flowctx.cli.joining import joint_plan_of
from flowctx.cli.options import (
    batches_as_typed,
    json_option,
    name_of,
    params_option,
    planned_option,
    read_params,
    targets_argument,
)
from flowctx.cli.output import echo
from flowctx.cli.planning import TypedBatch, plan_of, stale_plan_of
from flowctx.core.batches.launcher import Launcher
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import WorkflowError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_function, import_workflow


@click.command(short_help="Run many partitions under one batch id.")
@targets_argument
@click.option("--batch", "batch_id", metavar="ID", required=True, help="The id that all its runs carry.")
@click.option(
    "--select", "selection", metavar="TEXT", help="Which partitions; by default those of the batch, else all."
)
@click.option("--until", metavar="DATE", help="The last as-of date; what is selected after it is left out.")
@click.option("--downstream", is_flag=True, help="Also what hangs on the selection, in workflows known here.")
@click.option("--stale", is_flag=True, help="Only partitions that were built on what has changed since.")
@params_option
@click.option("--params-from", metavar="MODULE:FUNCTION", help="Makes the parameters of each partition from its key.")
@engine_options("Where they run; here by default.")
@location_option
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="So many partitions at a time; by default one for each CPU here, 16 on an engine, 4 slices with --bulk.",
)
@click.option("--bulk", is_flag=True, help="On an engine: many partitions in each of a few tasks, not a run for each.")
@click.option(
    "--durability",
    type=click.Choice(["group", "step"]),
    default=None,
    help="Here: commit what short steps record together (the default), or each step before the next one begins.",
)
@click.option("--dry-run", is_flag=True, is_eager=True, help="Only say what would run.")
@click.option("--retry-failed", is_flag=True, help="Also run again what has failed.")
@click.option("--retry-skipped", is_flag=True, help="Also run again what was skipped.")
@click.option("--from-step", metavar="STEP", help="What runs again does so from this step on, although it is complete.")
@click.option("--extend", is_flag=True, help="Add the selection to a batch that is there, with these parameters.")
@click.option("--accept-changes", is_flag=True, help="What ran before goes on although the workflow has changed since.")
@click.option("--max-failures", type=click.IntRange(min=1), metavar="N", help="Stop when so many have failed.")
@planned_option
@json_option
def backfill(
    targets: list[str],
    batch_id: str,
    selection: str | None,
    until: str | None,
    downstream: bool,
    stale: bool,
    params: dict[str, str],
    params_from: str | None,
    engine: str | None,
    url: str | None,
    location: str | None,
    workers: int | None,
    bulk: bool,
    durability: Durability | None,
    dry_run: bool,
    retry_failed: bool,
    retry_skipped: bool,
    from_step: str | None,
    extend: bool,
    accept_changes: bool,
    max_failures: int | None,
    ledger: Ledger,
    as_json: bool,
) -> None:
    """Run many partitions of a workflow, or of several, under one batch id; again, and what is missing runs.

    \b
    flowctx backfill flows:prices --batch restate --select date=2012-01-03..2012-06-29
    flowctx backfill flows:prices --batch restate --select … --dry-run
    flowctx backfill flows:prices --batch restate --select … --on airflow --bulk
    flowctx backfill flows:prices --batch ibm --select "date=last:9,symbol=IBM|AAPL"
    flowctx backfill flows:prices --batch restate --retry-failed
    flowctx backfill flows:month --batch refresh --stale
    flowctx backfill flows:nav flows:desk --batch jan --select date=2013-01
    flowctx backfill flows:nav --batch jan --select date=2013-01-08 --downstream

    Of several workflows, a partition begins when those that it reads are done. Ctrl-C lets what is under way finish,
    and the same command goes on. A workflow may also be a name that the table [tool.flowctx] of pyproject.toml has for
    it, such as prices = "flows:prices".

    Exit code 1: partitions failed, or were not reached.
    """  # noqa: D301 - \b is for click
    if params and params_from:
        raise click.UsageError("--param and --params-from exclude each other; the function can return all of them")
    how: dict[str, Any] = {
        "retry_failed": retry_failed,
        "retry_skipped": retry_skipped,
        "from_step": from_step,
        "extend": extend,
        "accept_changes": accept_changes,
    }
    options = [f"--{name.replace('_', '-')}" for name, value in how.items() if value not in (None, False)]
    _check_known(ledger, batch_id, selection, [] if stale else options)
    engine = engine or "local"
    check_engine(engine, url=url, location=location, durability=durability, bulk=bulk)
    workflows = [import_workflow(target) for target in targets]
    workflow, several = workflows[0], len(workflows) > 1 or downstream
    if several and (stale or params_from):
        raise click.UsageError("--stale and --params-from are for one workflow; leave them out, or fill it alone")
    if bulk and (several or stale or params_from):
        raise click.UsageError("in bulk, a batch is of one workflow, with one set of parameters; leave --bulk out")
    launcher: Launcher | BulkLauncher | None = None
    if engine == "local":
        launcher = launcher_on("local", url, workers, ledger, durability, location)
        if not dry_run:
            _prepare(launcher, workflows, batch_id)
    plan: Backfill | JointBackfill
    made = {} if several else _function(params_from) if params_from else read_params(workflow, params)
    typed = TypedBatch(
        batch_id=batch_id,
        selection=selection,
        until=until,
        extend=extend,
        accept_changes=accept_changes,
        ledger=ledger,
    )
    if several:
        plan = joint_plan_of(targets, typed, params, hanging=downstream)
    elif stale:
        found = stale_plan_of(workflow, typed, made)
        if found is None:
            _say_none_is_stale(workflow, batch_id, dry_run=dry_run, as_json=as_json)
            return
        plan = found
    else:
        plan = plan_of(workflow, typed, made)
    if dry_run:
        if launcher is not None:
            _check(launcher, plan)
        warn_of_superseded(ledger, plan.reconcile(**typed.how))
        planned = plan.plan(**how)
        again = RunsAgain(**{name: value for name, value in how.items() if name != "extend"})
        print_plan(
            planned, batch_id, as_json, inputs_lacking(plan, again), refused_again(plan, _workflows_of(plan), again)
        )
        return
    launch_on: Callable[..., Launcher | BulkLauncher] = bulk_launcher_on if bulk else launcher_on
    launcher = launcher or launch_on(engine, url, workers, ledger, durability, location)
    shown = listener(batch_id)
    progress = plan.launch(launcher, **how, max_failures=max_failures, listener=shown)
    show_tally(progress, batch_id, as_json, from_step, shown.refused)
    if not progress.complete:
        raise click.exceptions.Exit(1)


def _check_known(ledger: Ledger, batch_id: str, selection: str | None, options: Sequence[str]) -> None:
    """Refuse to go on with a batch that is not there, after a slip or in another ledger, or that nobody planned."""
    if selection is not None:
        return
    with batches_as_typed():
        known = ledger.find_batch(batch_id)
        refuse_without_selection(known, batch_id, options, ledger.batches, ledger=name_of(ledger))


def _say_none_is_stale(workflow: Workflow, batch_id: str, *, dry_run: bool, as_json: bool) -> None:
    if not as_json:
        echo(f"nothing of {workflow.name} is stale")
    elif dry_run:
        print_plan(Plan(total=0, first=None, last=None, states={}, would_run=0), batch_id, as_json)
    else:
        show_tally(LaunchProgress(total=0), batch_id, as_json)


def _check(launcher: Launcher | BulkLauncher, plan: Backfill | JointBackfill) -> None:
    """Refuse workflows that cannot run here; engines are not asked where nothing is launched."""
    for workflow in _workflows_of(plan):
        launcher.check(workflow)


def _workflows_of(plan: Backfill | JointBackfill) -> list[Workflow]:
    return plan.workflows if isinstance(plan, JointBackfill) else [plan.workflow]


def _prepare(launcher: Launcher, workflows: Sequence[Workflow], batch_id: str) -> None:
    """Let the first worker import the workflows while the batch is planned."""
    if isinstance(launcher, LocalLauncher):
        launcher.prepare(workflows, batch_id)
        click.get_current_context().call_on_close(launcher.close)


def _function(text: str) -> Callable[[PartitionKey], Mapping[str, Any]]:
    try:
        return import_function(text)
    except (WorkflowError, ImportError) as exc:
        raise click.BadParameter(f"{text!r} is no function: {exc}", param_hint="--params-from") from exc
