"""An input inside any task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from airflow.sdk import get_current_context

from flowctx.airflow.ordering import await_runs
from flowctx.airflow.planned_runs import DagRuns
from flowctx.airflow.recording import ledger, store_of_runs
from flowctx.core.durability.reading_once import read_once
from flowctx.core.errors import InputMissing
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.inputs import Input


def read_input(ctx: WorkflowContext, item: Input, *, scheme: PartitionScheme | None = None) -> Any:
    """Return an output of another partition or workflow, inside any Airflow task.

    It is what a step would get that declares the input, from the same ledger, by the same rule. Nothing is remembered
    of it, and the task does not wait: in one of Airflow's own backfills it fails while a run is to come that makes what
    is read, so give it retries.

    Args:
        ctx: What :func:`~flowctx.airflow.workflow_context` returns.
        item: The input, such as ``nav.output("value").previous()``.
        scheme: The scheme of the context's partition. Without it, the partition's dimensions are taken for those of the
            workflow that is read, and the business date for its date.

    Returns:
        The output, or :class:`~flowctx.Outputs` of several partitions; ``None`` where there is none before the first
        date, or of an optional one.

    Raises:
        InputMissing: It is not there, not yet, or was skipped and is not optional.
        ContextError: The context does not say which partition it is about, or there is no ledger.
        WorkflowError: There is no such step, or its partitions do not fit.

    Example:
        ::

            @task(retries=3)
            def report() -> None:
                ctx = workflow_context(AsOf.last_session("XNYS"))
                navs = read_input(ctx, nav.output("value"))     # of every fund of this date
    """
    found = ledger()
    return read_once(
        ctx,
        item,
        scheme=scheme,
        ledger=found,
        store=store_of_runs(),
        await_made=lambda item, keys: await_runs(_Task(ctx, item), get_current_context(), item, keys, found),
    )


class _Task:
    """A task that cannot wait."""

    def __init__(self, ctx: WorkflowContext, item: Input) -> None:
        self.ctx, self.item = ctx, item

    def context_of(self, context: Mapping[str, Any]) -> WorkflowContext:
        return self.ctx

    def wait_for(self, runs: list[DagRuns]) -> NoReturn:
        raise InputMissing(
            f"input {self.item!r}: runs of DAG {runs[0].dag_id!r} that are queued or under way are still to make it, "
            "and no older version stands in; give the task retries, or read it in a step, which waits without a worker"
        )
