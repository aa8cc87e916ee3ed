"""An input inside any op or asset."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from datetime import timedelta
from typing import Any

import dagster as dg

from flowctx.artifacts import artifact_store
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading_once import read_once
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.inputs import Input
from flowctx.dagster.engine_contexts import run_keys
from flowctx.dagster.ordering import unordered
from flowctx.dagster.run_time import time_dimension, window_of
from flowctx.ledger import ledger_to_read


def read_input(
    ctx: WorkflowContext, item: Input, *, scheme: PartitionScheme | None = None, ledger: Ledger | str | None = None
) -> Any:
    """Return an output of another partition or workflow, inside any op or asset of Dagster's.

    It is what a step would get that declares the input, from the same ledger, by the same rule. Nothing is remembered
    of it. Dagster does not know of it either: name the asset in ``deps=`` (:func:`~flowctx.dagster.asset_key`), so that
    backfills keep the order.

    Args:
        ctx: What :func:`~flowctx.dagster.workflow_context` returns.
        item: The input, such as ``nav.output("value").previous()``.
        scheme: The scheme of the context's partition. Without it, the partition's dimensions are taken for those of the
            workflow that is read, and the business date for its date.
        ledger: The ledger, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.

    Returns:
        The output, or :class:`~flowctx.Outputs` of several partitions; ``None`` where there is none before the first
        date, or of an optional one.

    Raises:
        InputMissing: It is not there, not yet, or was skipped and is not optional.
        ContextError: The context does not say which partition it is about, or there is no ledger.
        WorkflowError: There is no such step, or its partitions do not fit.
        NoLedger: There is no ledger at the URL.

    Example:
        ::

            @dg.asset(partitions_def=days, deps=[asset_key(nav, "value")])
            def report(context: dg.AssetExecutionContext) -> None:
                navs = read_input(workflow_context(context), nav.output("value"))     # of every fund of this date
    """
    found = ledger_to_read(ledger)
    op = dg.OpExecutionContext.get()
    return read_once(
        ctx,
        item,
        scheme=scheme,
        ledger=found,
        span=_span(op),
        store=artifact_store(found),
        unordered=lambda *read: unordered(None, op, ctx, *read),
    )


def _span(op: dg.OpExecutionContext) -> timedelta | None:
    """Return how long the window of the run's partition is, where Dagster's own definition says so."""
    keys = run_keys(op)
    if len(keys) != 1:
        return None
    found = time_dimension(keys[0], op.get_step_execution_context().run_partitions_def)
    if found is None:
        return None
    window = window_of(*found)
    return window.end - window.start
