"""What to type next about a run: only what will work here."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from flowctx.cli.output import echo
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord
from flowctx.core.errors import LedgerError
from flowctx.core.partitions.selection_reading import SelectionText
from flowctx.core.partitions.selection_text import selection_text
from flowctx.core.workflow.context import WorkflowContext, engine_of
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.named_workflows import is_named_file
from flowctx.ledger.memory import MemoryLedger


def how_to_continue(run: RunRecord, ledger: Ledger) -> str:
    """Return what goes on with a run that has not ended well.

    A run of a DAG of somebody's own goes on where Airflow has it. Where a ledger only says in which file a workflow
    is, or that module is not here, whoever continues the run has to say it.
    """
    dag_id = engine_of(run.context).get("dag_id")
    if run.import_path is None and dag_id is not None:
        steps = "the steps that are not complete, and what follows them,"
        return f"to continue: clear {steps} in Airflow (DAG {dag_id!r} is of no Workflow)"
    command = f"to continue: flowctx resume {shlex.quote(run.run_id)}{_partition_option(run, ledger)}"
    where, _, name = (run.import_path or "").rpartition(":")
    if where.endswith(".py"):
        return command if is_named_file(where, name) else f"{command} --workflow FILE.py:{name}"
    return command if _is_here(where) else f"{command} --workflow MODULE:{name or 'NAME'}"


def _partition_option(run: RunRecord, ledger: Ledger) -> str:
    """Return what says which partition of a run is meant, if its id serves several."""
    key = run.context.partition
    several = key is not None and len(ledger.list_runs(run_id=run.run_id, limit=2)) > 1
    return f" --partition {shlex.quote(str(key))}" if several else ""


def outside_of_batch(ledger: Ledger, target: str, workflow: Workflow, ctx: WorkflowContext) -> str | None:
    """Return what to say of a run whose batch was planned without its partition; ``None`` if there is nothing."""
    if not ctx.batch_id or ctx.partition is None:
        return None
    batch = ledger.find_batch(ctx.batch_id)
    own = batch.of(workflow.name) if batch is not None else None
    if own is None or own.selection is None or SelectionText(own.selection).holds(str(ctx.partition)) is not False:
        return None
    select = selection_text([ctx.partition])
    extend = f'flowctx backfill {shlex.quote(target)} --batch {shlex.quote(own.batch_id)} --select "{select}" --extend'
    return (
        f"batch {own.batch_id!r} has not selected {ctx.partition}: the run counts for nothing in it; add it: {extend}"
    )


def _is_here(module: str) -> bool:
    """Whether Python would find a module here; nothing is imported."""
    top = module.partition(".")[0]
    return bool(top) and (top in sys.modules or importlib.util.find_spec(top) is not None)


@contextmanager
def told_if_cut(ledger: Ledger, run_id: str) -> Iterator[None]:
    """Say how a run stands that Ctrl-C, or what ends a process, in a step ended; the exit code is then 1."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit) as exc:
        what = "interrupted" if isinstance(exc, KeyboardInterrupt) else "a step raised GeneratorExit"
        if isinstance(exc, SystemExit):
            what = f"a step called sys.exit({exc.code!r})"
        try:
            run = ledger.list_runs(run_id=run_id, limit=1)
        except LedgerError:
            run = []
        hint = how_to_continue(run[0], ledger) if run and not isinstance(ledger, MemoryLedger) else ""
        reason = f"; {run[0].error}" if run and run[0].error and isinstance(exc, SystemExit) else ""
        echo("\n".join(filter(None, [f"Error: run {run_id}: {what}{reason}", hint])), err=True)
        raise click.exceptions.Exit(1) from exc


def hints_after(run: RunRecord, ledger: Ledger, *, raised: bool) -> list[str]:
    """Return what to type after a run that has failed."""
    which = f"{shlex.quote(run.run_id)}{_partition_option(run, ledger)}"
    where = [f"to see where it failed: flowctx show {which} --traceback"] if raised else []
    return [*where, how_to_continue(run, ledger)]
