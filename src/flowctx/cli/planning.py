"""The batch that a command is about: as it was typed, and where nothing was, as the ledger remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowctx.backfill import Backfill
from flowctx.backfill.plan import ParamsOf
from flowctx.cli.options import CommandError
from flowctx.cli.output import echo
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError
from flowctx.core.masking import MASK
from flowctx.core.workflow.definition import Workflow
from flowctx.versions import stale
from flowctx.versions.mending import ParamsAgain, selection_of, stale_before


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
        params = params or kept_params(known)
    try:
        plan = Backfill(workflow, selection, batch_id, params=params, until=until, ledger=ledger)
        if selection is not None and "last:" in selection:
            echo(f"{selection} is {plan.selection}", err=True)
        plan.reconcile(extend=extend)
    except BatchError as exc:  # later on, it may be one that somebody else is launching
        raise CommandError(str(exc)) from exc
    return plan


def stale_plan_of(
    workflow: Workflow,
    batch_id: str,
    selection: str | None,
    params: Mapping[str, Any] | ParamsOf,
    *,
    until: str | None,
    ledger: Ledger,
) -> Backfill | None:
    """Return a batch of the stale partitions, with the parameters that they had; ``None`` if there are none.

    Args:
        workflow: The workflow.
        batch_id: The batch; one that is there goes on with the partitions that it has.
        selection: Only stale ones of these.
        params: Parameters that win over those that the partitions had.
        until: The last as-of date.
        ledger: Where batches are remembered.

    Raises:
        CommandError: What they were built on is stale too, and is to be mended before; or the batch cannot be.
    """
    if callable(params):
        raise CommandError("--stale runs partitions with the parameters that they had; leave out --params-from")
    again = ParamsAgain(workflow, ledger, params)
    if ledger.find_batch(batch_id) is not None:
        return plan_of(workflow, batch_id, None, again, until=None, extend=False, ledger=ledger)
    found = stale(workflow, selection, until=until, ledger=ledger)
    if not found:
        return None
    first = stale_before(workflow, found)
    if first:
        batches = (f"{batch_id}-{place.rpartition(':')[2]}" for place in first)
        commands = "; ".join(f"flowctx backfill {p} --stale --batch {b}" for p, b in zip(first, batches, strict=True))
        raise CommandError(
            f"{len(found):,} partitions of {workflow.name} were built on what is stale itself; mend that before, in "
            f"this order: {commands}"
        )
    return plan_of(
        workflow, batch_id, str(selection_of(workflow, found)), again, until=None, extend=False, ledger=ledger
    )


def kept_params(batch: BatchRecord) -> Mapping[str, Any]:
    """Return a batch's parameters, unless some of them were secrets, which no ledger keeps."""
    lost = [name for name, value in batch.params.items() if MASK in repr(value)]
    if lost:
        raise CommandError(
            f"batch {batch.batch_id!r} had secrets in {', '.join(lost)}, which are not kept; pass all again: -p"
        )
    return batch.params
