"""The batch that a command is about: as it was typed, and where nothing was, as the ledger remembers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from flowctx.backfill import Backfill
from flowctx.backfill.belonging import outcomes_of
from flowctx.backfill.call import backfill_again, kept_params
from flowctx.backfill.joint import JointBackfill
from flowctx.backfill.plan import ParamsOf
from flowctx.backfill.same_batch import refuse_another_workflow
from flowctx.backfill.selected import scheme_of
from flowctx.cli.options import CommandError, batches_as_typed
from flowctx.cli.output import echo
from flowctx.cli.selections import selection_typed
from flowctx.core.batches.partition_params import has_params_again
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger
from flowctx.core.partitions.due_selection import selected
from flowctx.core.partitions.selection import Selection
from flowctx.core.printable import amount
from flowctx.core.workflow.definition import Workflow, workflows_read

if TYPE_CHECKING:
    from flowctx.versions.stale_links import StalePartition


@dataclass(frozen=True, kw_only=True)
class TypedBatch:
    """A batch as it was typed."""

    #: Its id.
    batch_id: str
    #: Which partitions; ``None``: those of the batch, or all of a new one.
    selection: str | None
    #: The last as-of date.
    until: str | None
    #: Whether this is added to the batch.
    extend: bool
    #: Whether it goes on although a workflow has changed since.
    accept_changes: bool
    #: Where batches are remembered.
    ledger: Ledger

    @property
    def how(self) -> dict[str, bool]:
        """How what is typed is taken for the batch that is there."""
        return {"extend": self.extend, "accept_changes": self.accept_changes}

    @property
    def known(self) -> BatchRecord | None:
        """What the ledger has of it, if it is there."""
        return self.ledger.find_batch(self.batch_id)


def plan_of(workflow: Workflow, typed: TypedBatch, params: Mapping[str, Any] | ParamsOf) -> Backfill:
    """Return a batch; what is not typed again is as the batch has it.

    Args:
        workflow: The workflow.
        typed: What was typed.
        params: Parameters, or what makes them; if there are none, those of the batch.

    Raises:
        CommandError: The batch cannot be.
    """
    with batches_as_typed():  # later on, it may be one that somebody else is launching
        chosen = selection_typed(workflow, typed.selection, typed.until)
        how: dict[str, Any] = {"until": typed.until, "ledger": typed.ledger, **typed.how}
        plan = backfill_again(workflow, chosen, typed.batch_id, params=params or None, **how)
        plan.reconcile(**typed.how)
    return plan


def stale_plan_of(
    workflow: Workflow, typed: TypedBatch, params: Mapping[str, Any] | ParamsOf
) -> Backfill | JointBackfill | None:
    """Return a batch of the stale partitions, with the parameters that they had; ``None`` if there are none.

    What they were built on and is stale itself runs before them, whichever workflow it is of.

    Args:
        workflow: The workflow.
        typed: What was typed: only stale partitions of the selection, or all of those that a batch that is there has,
            which goes on with them; with ``--extend`` what is stale now is added, with these parameters.
        params: Parameters that win over those that the partitions had; if there are none, those of the batch.

    Raises:
        CommandError: The batch cannot be.
    """
    from flowctx.versions.mending import ParamsAgain  # here: others need nothing of it

    if callable(params):
        raise CommandError("--stale runs partitions with the parameters that they had; leave out --params-from")
    batch_id, ledger, known, own = typed.batch_id, typed.ledger, typed.known, None
    with batches_as_typed():
        if known is not None:
            if (own := known.of(workflow.name)) is None:
                refuse_another_workflow(known, workflow.name)
            if not has_params_again(known.params_from):
                raise CommandError(f"batch {batch_id!r} was not made by --stale; take another id for what is stale")
            _refuse_source(workflow, known)
        chain = _chain_of(workflow, known, typed)
        if not chain:
            return None
        accept = typed.accept_changes
        asked = params or (kept_params(own, workflow, accept_changes=accept) if own is not None else {})
        again = {one: ParamsAgain(one, ledger, asked if one is workflow else {}) for one in chain}
        plans = [Backfill(one, some, batch_id, params=again[one], ledger=ledger) for one, some in chain.items()]
        plan = plans[0] if len(plans) == 1 else JointBackfill(plans, first=workflow)
        plan.reconcile(**typed.how)
        for one, some in chain.items():
            done = {run.partition for run in ledger.batches.iter_standings(batch_id, one.name) if run.state.done}
            again[one].check(key for key in some if str(key) not in done)
    return plan


def _refuse_source(workflow: Workflow, known: BatchRecord) -> None:
    """Refuse to go on with a batch of what was stale by a workflow of it that does not read all others of it.

    Raises:
        CommandError: It does not.
    """
    there = workflows_read(workflow)
    others = [name for name in known.workflows if name not in there]
    if others and workflow.name == known.workflow:
        raise CommandError(
            f"batch {known.batch_id!r} has partitions of {others[0]}, which {workflow.name} does not read; "
            "take another id for what is stale"
        )
    if others:
        raise CommandError(
            f"batch {known.batch_id!r} was made by --stale for {known.workflow}, and not for {workflow.name}; "
            f"name that workflow: {known.import_path or 'MODULE:NAME'}"
        )


def _chain_of(workflow: Workflow, known: BatchRecord | None, typed: TypedBatch) -> dict[Workflow, Selection]:
    """Return the partitions of a batch of what is stale: those that it has if it is there, and those to be added."""
    from flowctx.versions.mending import stale_chain
    from flowctx.versions.staleness import stale

    ledger, until, extend = typed.ledger, typed.until, typed.extend
    selection = selection_typed(workflow, typed.selection, until)
    found = stale(workflow, selection, until=until, ledger=ledger)
    chain = stale_chain(workflow, found, ledger) if found and (extend or known is None) else {}
    if known is not None:
        there = workflows_read(workflow)
        of_batch = {
            one: scheme_of(one).select(of.selection)
            for name, one in there.items()
            if (of := known.of(name)) is not None
        }
        if not extend:
            own = of_batch[workflow]
            every = selection is None and until is None
            last = own.last_date() or date.min
            left_out = None if every else own - selected(scheme_of(workflow), selection, until, lambda: last)
            _tell_apart(workflow, own, found, left_out, known.batch_id)
        for one, own in of_batch.items():
            again = found if one is workflow else stale(one, own, ledger=ledger)
            _tell_done(replace(known, workflow=one.name), own, again, ledger)
        chain = of_batch | {one: of_batch[one] | some if one in of_batch else some for one, some in chain.items()}
    return chain


def _tell_done(batch: BatchRecord, own: Selection, found: Sequence[StalePartition], ledger: Ledger) -> None:
    """Say how many partitions are stale that a batch of one workflow has made: it does not make them again."""
    texts = [str(one.partition) for one in found if one.partition in own]
    done = sum(run.state.done for run in outcomes_of(ledger.batches, batch, texts))
    if done:
        count = f"{amount(done, 'partition')} of {batch.workflow} {'is' if done == 1 else 'are'}"
        echo(f"{count} done in batch {batch.batch_id!r}, and stale again; take another id to mend that", err=True)


def _tell_apart(
    workflow: Workflow, own: Selection, found: Sequence[StalePartition], left_out: Selection | None, batch_id: str
) -> None:
    """Refuse a selection that leaves out partitions of a batch of what was stale; say what is stale and does not run.

    Raises:
        CommandError: It does.
    """
    if left_out:
        count = f"{len(left_out):,} {'is' if len(left_out) == 1 else 'are'}"
        raise CommandError(
            f"batch {batch_id!r} has {amount(len(own), 'partition')} of {workflow.name} that were stale, of which "
            f"{count} not selected; leave out --select and --until to go on with it, add what is stale now with "
            "--extend, or take another id"
        )
    others = sum(one.partition not in own for one in found)
    if others:
        echo(
            f"{amount(others, 'stale partition')} of {workflow.name} {'is' if others == 1 else 'are'} not of batch "
            f"{batch_id!r}; --extend adds what is stale now, or take another id",
            err=True,
        )
