"""What to type next about a run: only what will work here."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import click

from flowctx.cli.output import echo
from flowctx.core.batches.partition_params import has_params_again, params_option
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord
from flowctx.core.errors import LedgerError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection_reading import SelectionText
from flowctx.core.partitions.selection_text import selection_text
from flowctx.core.workflow.context import WorkflowContext, engine_of
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.named_workflows import is_named_file
from flowctx.ledger.memory import MemoryLedger

#: So many runs of one id are looked through.
_MOST = 1_000


def how_to_continue(run: RunRecord, ledger: Ledger) -> str:
    """Return what goes on with a run that has not ended well.

    A run of a DAG of somebody's own goes on where Airflow has it. Where a ledger only says in which file a workflow
    is, or that module is not here, whoever continues the run has to say it.
    """
    dag_id = engine_of(run.context).get("dag_id")
    if run.import_path is None and dag_id is not None:
        steps = "the steps that are not complete, and what follows them,"
        return f"to continue: clear {steps} in Airflow (DAG {dag_id!r} is of no Workflow)"
    where, _, name = (run.import_path or "").rpartition(":")
    if where.endswith(".py"):
        found, place = is_named_file(where, name), f"FILE.py:{name}"
    else:
        found, place = _is_here(where), f"MODULE:{name or 'NAME'}"
    which = _which(run, ledger, str(run.import_path) if found else place)
    more = "" if found or "--workflow" in which else f" --workflow {place}"
    return f"to continue: flowctx resume {shlex.quote(run.run_id)}{which}{more}"


def _which(run: RunRecord, ledger: Ledger, workflow: str) -> str:
    """Return what says which run is meant, if its id serves several partitions, or workflows."""
    same_id = ledger.list_runs(run_id=run.run_id, limit=_MOST)
    own = [one for one in same_id if one.workflow == run.workflow]
    of = f" --workflow {shlex.quote(workflow)}" if len(own) < len(same_id) else ""
    key = run.context.partition if len(own) > 1 else None
    return of if key is None else f"{of} --partition {shlex.quote(str(key))}"


def outside_of_batch(ledger: Ledger, target: str, workflow: Workflow, ctx: WorkflowContext) -> str | None:
    """Return what to say of a run whose batch was planned without its partition; ``None`` if there is nothing."""
    if not ctx.batch_id or ctx.partition is None:
        return None
    if (batch := ledger.find_batch(ctx.batch_id)) is None or (own := batch.of(workflow.name)) is None:
        return None
    if own.selection is None or SelectionText(own.selection).holds(str(ctx.partition)) is not False:
        return None
    what = f"batch {own.batch_id!r} has not selected {ctx.partition}: the run counts for nothing in it"
    if len(batch.workflows) > 1 or has_params_again(own.params_from):  # --select would add others, or not this one
        return what
    from flowctx.backfill.advice import backfill_command  # here, because few runs are outside of a batch

    command = backfill_command(replace(own, import_path=target), params_option(own.params_from))
    return f'{what}; add it: {command} --select "{selection_text([ctx.partition])}" --extend'


def beside_batch(ledger: Ledger, run: RunRecord, params: Collection[str]) -> str | None:
    """Return what to say of a run that goes on with parameters that its batch does not have; else ``None``."""
    batch = ledger.find_batch(run.context.batch_id) if run.context.batch_id else None
    own = batch.of(run.workflow) if batch is not None else None
    if own is None or own.selection is None or own.params_from is not None:
        return None
    if not (others := [name for name in params if name not in own.params]):
        return None
    return (
        f"batch {own.batch_id!r} has no parameter {', '.join(others)}: only this run goes on with it, and keeps it if "
        "the batch runs it again"
    )


def _is_here(module: str) -> bool:
    """Whether Python would find a module here; nothing is imported."""
    top = module.partition(".")[0]
    return bool(top) and (top in sys.modules or importlib.util.find_spec(top) is not None)


@contextmanager
def told_if_cut(
    ledger: Ledger, run_id: str, workflow: Workflow, partition: PartitionKey | None = None
) -> Iterator[None]:
    """Say how a run stands that Ctrl-C, or what ends a process, in a step ended; the exit code is then 1."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit) as exc:
        what = "interrupted" if isinstance(exc, KeyboardInterrupt) else "a step raised GeneratorExit"
        if isinstance(exc, SystemExit):
            what = f"a step called sys.exit({exc.code!r})"
        hint = reason = ""
        with suppress(LedgerError):
            run = ledger.list_runs(run_id=run_id, workflow=workflow.name, partition=partition, limit=1)
            hint = how_to_continue(run[0], ledger) if run and not isinstance(ledger, MemoryLedger) else ""
            reason = f"; {run[0].error}" if run and run[0].error and isinstance(exc, SystemExit) else ""
        echo("\n".join(filter(None, [f"Error: run {run_id}: {what}{reason}", hint])), err=True)
        raise click.exceptions.Exit(1) from exc


def hints_after(run: RunRecord, ledger: Ledger, *, raised: bool) -> list[str]:
    """Return what to type after a run that has failed."""
    which = f"{shlex.quote(run.run_id)}{_which(run, ledger, run.workflow)}"
    where = [f"to see where it failed: flowctx show {which} --traceback"] if raised else []
    return [*where, how_to_continue(run, ledger)]
