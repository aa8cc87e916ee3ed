"""A batch in one call, as short as in the shell."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Literal, cast

from flowctx.backfill.bulk import BulkLauncher
from flowctx.backfill.local import Durability, LocalLauncher
from flowctx.backfill.plan import Backfill, ParamsOf
from flowctx.backfill.progress import LaunchListener, LaunchProgress
from flowctx.backfill.same_batch import refuse_another_workflow, refuse_without_selection, with_params_taken
from flowctx.backfill.selected import selections_again
from flowctx.core.batches.launcher import ENGINES, Launcher
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError
from flowctx.core.masking import MASK
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow, expect_workflow
from flowctx.ledger import ledger_or_default


def backfill(
    workflow: Workflow,
    selection: Selection | str | None = None,
    *,
    batch_id: str,
    params: Mapping[str, Any] | ParamsOf | None = None,
    until: date | str | None = None,
    on: Literal["local", "airflow", "dagster"] = "local",
    url: str | None = None,
    location: str | None = None,
    workers: int | None = None,
    durability: Durability | None = None,
    bulk: bool = False,
    retry_failed: bool = False,
    retry_skipped: bool = False,
    from_step: str | None = None,
    extend: bool = False,
    accept_changes: bool = False,
    max_failures: int | None = None,
    listener: LaunchListener | None = None,
    ledger: Ledger | str | None = None,
) -> LaunchProgress:
    """Run many partitions of a workflow under one batch id; again, and what is missing runs.

    It is ``flowctx backfill`` of the shell: called again with the id alone, it goes on with the batch as it is.

    Args:
        workflow: The workflow; other processes import it, so that it has to be bound to a name in a module.
        selection: Which partitions; by default those of the batch, or all of a new one.
        batch_id: The id that all its runs carry.
        params: Parameters, or a function that makes them from the partition key; by default those of the batch.
        until: The last as-of date: what is selected after it is left out.
        on: Where they run.
        url: Where the engine is; by default what ``FLOWCTX_AIRFLOW_URL`` or ``FLOWCTX_DAGSTER_URL`` says.
        location: The code location of Dagster's that has the workflow, where several have.
        workers: So many partitions at a time; by default one for each processor here, 16 on an engine.
        durability: As for :class:`~flowctx.backfill.LocalLauncher`; of batches here.
        bulk: On an engine: run many partitions in each of a few tasks, of the DAG that
            :func:`~flowctx.airflow.workflow_bulk_dag` makes or the job of :func:`~flowctx.dagster.workflow_bulk_job`;
            ``workers`` is then how many such tasks are meant to run at a time, by default 4.
        retry_failed: Also run again what has failed. Like what else goes on with a batch, it is refused for one that is
            not there yet, unless something is selected.
        retry_skipped: Also run again what was skipped.
        from_step: What runs again does so from this step on, although it is complete.
        extend: Add the selection to a batch that is there, with these parameters.
        accept_changes: Go on although the workflow has changed since what ran before: what its complete steps have
            recorded is kept, and the parameters are as they are declared now.
        max_failures: Stop when so many partitions have failed.
        listener: Is told what happens.
        ledger: Where it is remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.

    Returns:
        How many ended how; ``complete`` says whether each partition is done.

    Raises:
        WorkflowError: It is no workflow.
        BatchError: The batch cannot be, worker processes cannot import the workflow, or nothing is selected, and what
            is to go on has no selection of its own; nothing has run.
        EngineError: The engine cannot run it; nothing was launched.
        LedgerError: There is no ledger.

    Example:
        ::

            done = flowctx.backfill(nav, "date=2026-01", batch_id="restate-january", workers=2)
            assert done.complete
    """
    expect_workflow(workflow)
    found = ledger_or_default(ledger)
    known = found.find_batch(batch_id) if found is not None and isinstance(batch_id, str) else None
    of_batch: dict[str, Any] = {"extend": extend, "accept_changes": accept_changes}
    again: dict[str, Any] = {"retry_failed": retry_failed, "retry_skipped": retry_skipped, "from_step": from_step}
    options = [f"{name}=" for name, asked in {**again, **of_batch}.items() if asked and selection is None]
    if found is not None:
        refuse_without_selection(known, batch_id, options, found.batches)
    plan = backfill_again(workflow, selection, batch_id, params=params, until=until, ledger=found, **of_batch)
    made: Callable[..., Launcher | BulkLauncher] = bulk_launcher_on if bulk else launcher_on
    launcher = made(on, url, workers, plan.ledger, durability, location)
    return plan.launch(launcher, **again, **of_batch, max_failures=max_failures, listener=listener)


def backfill_again(
    workflow: Workflow,
    selection: Selection | str | None,
    batch_id: str,
    *,
    params: Mapping[str, Any] | ParamsOf | None,
    until: date | str | None,
    extend: bool,
    accept_changes: bool,
    ledger: Ledger | None,
) -> Backfill:
    """Return a batch; what is ``None`` is as it has that already, if the ledger knows it.

    Raises:
        BatchError: The batch is of another workflow, cannot be, or had secrets among its parameters, or such as the
            workflow does not take any more.
    """
    known = ledger.find_batch(batch_id) if ledger is not None and isinstance(batch_id, str) else None
    if known is not None:
        refuse_another_workflow(known, workflow.name)
        if selection is None:
            (selection,) = selections_again(known, [workflow], until, extend=extend)
        params = kept_params(known, workflow, accept_changes=accept_changes) if params is None else params
    return Backfill(workflow, selection, batch_id, params=params, until=until, ledger=ledger)


def kept_params(batch: BatchRecord, workflow: Workflow, *, accept_changes: bool) -> Mapping[str, Any]:
    """Return the parameters of a batch of a workflow; where changes are accepted, those that it still takes.

    Raises:
        BatchError: The workflow does not take all of them any more, or some were secrets, which no ledger keeps.
    """
    batch = with_params_taken(batch, workflow, accept_changes=accept_changes)
    lost = [name for name, value in batch.params.items() if MASK in repr(value)]
    if lost:
        raise BatchError(
            f"batch {batch.batch_id!r} had secrets in {', '.join(lost)}, which are not kept; pass all parameters again"
        )
    return batch.params


def launcher_on(
    engine: str,
    url: str | None,
    workers: int | None,
    ledger: Ledger,
    durability: Durability | None = None,
    location: str | None = None,
) -> Launcher:
    """Return what runs partitions on an engine.

    Args:
        engine: One of ``ENGINES``.
        url: Where it is, if the environment does not say so.
        workers: So many at a time.
        ledger: Where the batch is remembered.
        durability: As for :class:`~flowctx.backfill.LocalLauncher`; of batches here.
        location: The code location of Dagster's.

    Raises:
        BatchError: There is no such engine, or it takes no URL, durability or code location.
    """
    if engine not in ENGINES:
        raise BatchError(f"on={engine!r} must be one of {', '.join(map(repr, ENGINES))}")
    where = _location(engine, location)
    if engine == "local":
        if url is not None:
            raise BatchError("url= is for other engines; batches here need none")
        return LocalLauncher(ledger, workers, durability=durability or "group")
    if durability is not None:
        raise BatchError("durability= is for batches here; on an engine, each step is a task of its own")
    launchers = importlib.import_module(f"flowctx.backfill.{engine}")
    return cast(Launcher, launchers.launcher_from_env(url=url, workers=workers, **where))


def bulk_launcher_on(
    engine: str,
    url: str | None,
    workers: int | None,
    ledger: Ledger,
    durability: Durability | None = None,
    location: str | None = None,
) -> BulkLauncher:
    """Return what runs slices of a batch on an engine.

    Args:
        engine: ``"airflow"`` or ``"dagster"``.
        url: Where it is, if the environment does not say so.
        workers: So many slices are meant to run at a time.
        ledger: Where the batch is remembered.
        durability: As for :class:`~flowctx.backfill.LocalLauncher`.
        location: The code location of Dagster's that has the workflow.

    Raises:
        BatchError: There is no such engine, or it is this machine; or the ledger is in memory.
    """
    if engine not in ENGINES[1:]:
        raise BatchError(
            f"in bulk, partitions run inside tasks of {' or '.join(ENGINES[1:])}, and not on {engine!r}; name one of "
            "them with on= (--on), or leave bulk out: a batch here does the same"
        )
    if getattr(ledger, "address", None) is None:
        raise BatchError(
            "a ledger in memory cannot be shared with the tasks of an engine, which go on from it; use "
            "postgresql://user@host/db, or a file that they reach"
        )
    where = _location(engine, location)
    launchers = importlib.import_module(f"flowctx.backfill.{engine}_bulk")
    made = cast(BulkLauncher, launchers.launcher_from_env(url=url, workers=workers, **where))
    made.durability = durability or made.durability
    return made


def _location(engine: str, location: str | None) -> dict[str, str]:
    """Return the argument that names a code location."""
    if location is not None and engine != "dagster":
        raise BatchError("location= is a code location of Dagster's; leave it out, or say on='dagster'")
    return {} if location is None else {"location": location}
