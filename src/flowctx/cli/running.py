"""``flowctx run``, ``resume`` and ``replay``."""

from __future__ import annotations

import pdb  # --pdb is what it is for
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from flowctx import local
from flowctx.cli.blocks import Cell, Paragraph
from flowctx.cli.completing import run_ids
from flowctx.cli.continuing import beside_batch, hints_after, outside_of_batch, told_if_cut
from flowctx.cli.engines import check_engine, location_option, url_option
from flowctx.cli.options import (
    json_option,
    ledger_option,
    params_option,
    partition_option,
    read_params,
    read_step_config,
    step_config_option,
    target_argument,
    there_option,
    workflow_option,
)
from flowctx.cli.output import echo, masked_json, print_facts, print_json, print_result, result_data, show, shown
from flowctx.cli.resuming import resume_on
from flowctx.cli.run_names import run_named
from flowctx.core.batches.launcher import ENGINES
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.recorded import latest_continuation
from flowctx.core.durability.records import RunRecord
from flowctx.core.durability.replay import Replay
from flowctx.core.errors import LedgerError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_workflow
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_context import new_run_id
from flowctx.core.workflow.run_request import read_date
from flowctx.core.workflow.run_result import RunResult
from flowctx.ledger.memory import MemoryLedger


@click.command(short_help="Run a workflow here, for one partition.")
@target_argument
@click.option("--partition", metavar="KEY", help="Such as date=2012-10-26,symbol=IBM or 2012-10-26|IBM.")
@params_option
@step_config_option
@click.option("--batch", "batch_id", metavar="ID", help="The batch that the run belongs to.")
@click.option("--trace", "trace_id", metavar="ID", help="An id for tracing.")
@click.option("--as-of", metavar="DATE", help="The business date, as YYYY-MM-DD.")
@click.option("--run-id", metavar="ID", help="Another id than a new UUID.")
@click.option(
    "--on-captured",
    type=click.Choice(["recapture", "skip"]),
    default="recapture",
    show_default=True,
    help="What to do when the partition is captured already.",
)
@click.option("--known-at", metavar="TIME", help="Read inputs as they were known at this time, with its zone.")
@ledger_option
@json_option
def run(target: str, as_of: str | None, as_json: bool, **how: Any) -> None:
    """Run a workflow here, for one partition key.

    \b
    flowctx run flows:prices --partition date=2012-10-26,symbol=IBM
    flowctx run flows.py:prices --partition "2012-10-26|IBM" -p limit=3
    flowctx run flows:prices --partition … --step-config validate.max_move=0.3

    The workflow is module:name or file.py:name, or a name that the table [tool.flowctx] of pyproject.toml has for one:
    prices = "flows:prices".

    Exit code 1: a step failed.
    """  # noqa: D301 - \b is for click
    workflow = import_workflow(target)
    how["params"] = read_params(workflow, how["params"])
    how["step_config"] = read_step_config(workflow, how["step_config"]) or None
    how["run_id"] = how["run_id"] or new_run_id()
    with told_if_cut(how["ledger"], how["run_id"], workflow):
        result = local.run(workflow, as_of_date=read_date(as_of, "--as-of"), **how)
    print_result(result, as_json)
    with _told_if_away():
        if (hint := outside_of_batch(how["ledger"], target, workflow, result.context)) is not None:
            echo(hint, err=True)
    _end(result, as_json, how["ledger"])


@click.command(short_help="Continue a run where it stopped, here or on an engine.")
@click.argument("run_id", shell_complete=run_ids)
@params_option
@click.option("--from-step", metavar="STEP", help="Run this step again, and all that follow it.")
@click.option("--accept-changes", is_flag=True, help="Go on although the workflow has changed since.")
@click.option("--take-over", is_flag=True, help="Go on although somebody is at the run, who is stopped then.")
@partition_option("Which partition is meant, where one run id serves several.")
@click.option("--on", "engine", type=click.Choice(ENGINES), default="local", help="Where it goes on; here by default.")
@url_option
@location_option
@workflow_option
@there_option
@json_option
def resume(
    run_id: str, target: str | None, engine: str, url: str | None, location: str | None, as_json: bool, **how: Any
) -> None:
    """Continue a run, whichever engine it ran on; complete steps are not run again.

    \b
    flowctx resume RUN_ID                       here
    flowctx resume RUN_ID --on airflow          there, if it has the same ledger
    flowctx resume RUN_ID -p max_move=0.6       with a parameter that wins
    flowctx resume RUN_ID --from-step validate  again from this step on

    Exit code 1: it failed again.
    """  # noqa: D301 - \b is for click
    check_engine(engine, url=url, location=location)
    run_id, how["partition"] = run_named(how["ledger"], run_id, how["partition"])
    if engine == "local":
        workflow, before = local.remembered(how["ledger"], run_id, _workflow(target), how["partition"])
        before = latest_continuation(how["ledger"], before)
        how["params"] = read_params(workflow, how["params"])
        if (hint := beside_batch(how["ledger"], before, how["params"])) is not None:
            echo(hint, err=True)
        with told_if_cut(how["ledger"], before.run_id, workflow, before.context.partition):
            result = local.resume(run_id, workflow, **how)
        print_result(result, as_json)
        _end(result, as_json, how["ledger"])
        if not as_json and _run_of(how["ledger"], result) == before:
            echo("\nnothing was left to run; to run part of it again, add --from-step STEP")
    elif not resume_on(engine, url, location, run_id, _workflow(target), as_json=as_json, **how):
        raise click.exceptions.Exit(1)


@click.command(short_help="Run one recorded step again, and compare.")
@click.argument("run_id", shell_complete=run_ids)
@click.argument("step")
@click.option("--pdb", "debugger", is_flag=True, help="Run the step under the debugger, from its first line.")
@partition_option("Which partition is meant, where one run id serves several.")
@workflow_option
@there_option
@json_option
def replay(
    run_id: str,
    step: str,
    debugger: bool,
    partition: PartitionKey | str | None,
    target: str | None,
    ledger: Ledger,
    as_json: bool,
) -> None:
    """Run one step again on exactly the context it saw, and compare; writes nothing.

    \b
    flowctx replay RUN_ID validate
    flowctx replay RUN_ID validate --pdb

    Exit code 1: the step failed, or was left in the debugger.
    """  # noqa: D301 - \b is for click
    under = pdb.Pdb() if debugger else None
    invoke = under.runcall if under else None
    run_id, key = run_named(ledger, run_id, partition)
    done = local.replay(run_id, step, _workflow(target), partition=key, ledger=ledger, invoke=invoke)
    if under and under.quitting:  # pdb then answers for the step with None, which would pass for its result
        raise click.ClickException("the step was left in the debugger, so that there is nothing to compare")
    if as_json:
        print_json({"result": result_data(done.result), "diff": done.diff, "recorded": done.recorded is not None})
    else:
        _show_replay(done)
    if done.result.status is StepStatus.FAILED:
        raise click.exceptions.Exit(1)


@click.command(short_help="Draw a workflow.")
@target_argument
def graph(target: str) -> None:
    """Print a workflow's steps and their order as a Mermaid flow chart, to be pasted into Markdown.

    \b
    flowctx graph flows:prices
    """  # noqa: D301 - \b is for click
    echo(import_workflow(target).to_mermaid())


def _show_replay(done: Replay) -> None:
    result = result_data(done.result)
    texts = {name: value if isinstance(value, str) else masked_json(value) for name, value in result.items() if value}
    print_facts(texts)
    if done.recorded is None:
        echo("nothing was recorded of this step: the run died before it ended")
    elif not done.diff:
        echo("the same as recorded")
    else:
        for line in done.diff.splitlines():
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            show(Paragraph([Cell(shown(line), style)]))


def _workflow(target: str | None) -> Workflow | None:
    return import_workflow(target) if target else None


def _end(result: RunResult, as_json: bool, ledger: Ledger) -> None:
    """End with what to type next and exit code 1, if the run has failed."""
    if result.status is not StepStatus.FAILED:
        return
    run = None if as_json or isinstance(ledger, MemoryLedger) else _run_of(ledger, result)
    if run is not None:
        with _told_if_away():
            for hint in hints_after(run, ledger, raised=any(step.exception for step in result.steps)):
                echo(hint)
    raise click.exceptions.Exit(1)


def _run_of(ledger: Ledger, result: RunResult) -> RunRecord | None:
    """Return a run as the ledger remembers it, if it does, and is there."""
    found: list[RunRecord] = []
    with _told_if_away():
        found = ledger.list_runs(
            run_id=result.run_id, workflow=result.workflow, partition=result.context.partition, limit=1
        )
    return found[0] if found else None


@contextmanager
def _told_if_away() -> Iterator[None]:
    """Let a run that is over stand as it ended, although the ledger cannot say more of it."""
    try:
        yield
    except LedgerError as exc:
        echo(f"Warning: {exc}", err=True)
