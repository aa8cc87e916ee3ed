"""The batch that a command is about: as it was typed, and where nothing was, as the ledger remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowctx.backfill import Backfill
from flowctx.backfill.plan import ParamsOf
from flowctx.cli.options import CommandError
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError
from flowctx.core.masking import MASK
from flowctx.core.workflow.definition import Workflow


def plan_of(
    workflow: Workflow,
    batch_id: str,
    selection: str | None,
    params: Mapping[str, Any] | ParamsOf,
    *,
    until: str | None,
    extend: bool,
    ledger: Ledger,
) -> Backfill:
    """Return a batch; what is not typed again is as the batch has it.

    Args:
        workflow: The workflow.
        batch_id: The batch.
        selection: Which partitions; ``None``: those of the batch, or all of a new one.
        params: Parameters, or what makes them; if there are none, those of the batch.
        until: The last as-of date.
        extend: Whether this is added to the batch.
        ledger: Where batches are remembered.

    Raises:
        CommandError: The batch cannot be.
    """
    known = ledger.find_batch(batch_id)
    if known is not None and known.workflow == workflow.name:
        selection = selection if selection or until else known.selection
        params = params or _kept_params(known)
    try:
        plan = Backfill(workflow, selection, batch_id, params=params, until=until, ledger=ledger)
        plan.reconcile(extend=extend)
    except BatchError as exc:  # later on, it may be one that somebody else is launching
        raise CommandError(str(exc)) from exc
    return plan


def _kept_params(batch: BatchRecord) -> Mapping[str, Any]:
    """Return a batch's parameters, unless some of them were secrets, which no ledger keeps."""
    lost = [name for name, value in batch.params.items() if MASK in repr(value)]
    if lost:
        raise CommandError(
            f"batch {batch.batch_id!r} had secrets in {', '.join(lost)}, which are not kept; pass all again: -p"
        )
    return batch.params
