"""Which failures of a batch could not go on now, since their workflow has changed: before a launch is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from flowctx.backfill.again import RunsAgain
from flowctx.backfill.status import BatchStatus, refusals
from flowctx.core.batches.outcomes import CHANGED, says_only_params_changed
from flowctx.core.batches.records import BatchRecord, PartitionRun
from flowctx.core.data.secrets import without_digests
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunKey, RunRecord, StepRecord
from flowctx.core.durability.resumption import plan_resume
from flowctx.core.errors import FlowctxError, PartitionError, WorkflowChanged
from flowctx.core.masking import MASK
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow

if TYPE_CHECKING:  # a look at a batch needs no launcher
    from flowctx.backfill.joint import JointBackfill
    from flowctx.backfill.plan import Backfill

#: So many runs are read at a time.
_PAGE = 500


def refused_now(
    ledger: Ledger, batch: BatchRecord, workflows: Sequence[Workflow], failures: Sequence[PartitionRun]
) -> list[PartitionRun]:
    """Return failures that would be refused at the next launch, each with why.

    Args:
        ledger: Where their runs are remembered.
        batch: Their batch.
        workflows: Its workflows as they are now; of others, nothing is known.
        failures: The partitions that failed.
    """
    known = {workflow.name: workflow for workflow in workflows}
    found: list[PartitionRun] = []
    for one in batch.by_workflow():
        if (workflow := known.get(one.workflow)) is None:
            continue
        own = [run for run in failures if run.workflow in ("", one.workflow) and run.recorded]
        for at in range(0, len(own), _PAGE):
            found += _refused(ledger, one, workflow, own[at : at + _PAGE])
    return found


def refused_again(batch: Backfill | JointBackfill, workflows: Sequence[Workflow], again: RunsAgain) -> Counter[str]:
    """Return why failures of a batch that would run again could not go on, and how many for each reason.

    Args:
        batch: The batch.
        workflows: Its workflows.
        again: What of it would run again; from a step on, what has changed may be what runs.
    """
    known = batch.ledger.find_batch(batch.batch_id)
    if known is None or not again.retry_failed or again.accept_changes or again.from_step is not None:
        return Counter()
    record = batch.reconcile(extend=True)  # with the parameters that it is to have
    failures = BatchStatus.of(batch.ledger, batch.batch_id).failures
    return Counter(refusals(refused_now(batch.ledger, record, workflows, failures)))


def _refused(
    ledger: Ledger, batch: BatchRecord, workflow: Workflow, failures: Sequence[PartitionRun]
) -> Iterator[PartitionRun]:
    keys = {}
    for run in failures:
        with suppress(PartitionError):  # of what the ledger holds and is no key
            key = PartitionKey.parse(run.partition) if run.partition else None
            keys[RunKey(workflow=workflow.name, run_id=run.run_id, partition=key).digest] = run
    runs, steps = ledger.runs_of(keys), ledger.recorded_steps(keys)
    for digest, run in keys.items():
        if digest in runs and (why := _why(workflow, batch, runs[digest], steps.get(digest, []))) is not None:
            yield replace(run, refused=why)


def _why(workflow: Workflow, batch: BatchRecord, run: RunRecord, steps: Sequence[StepRecord]) -> str | None:
    """Return why a run could not go on with what the batch has, as a launch would say it."""
    params = {name: value for name, value in without_digests(batch.params).items() if MASK not in repr(value)}
    try:
        plan_resume(workflow, run, steps, params=params)
    except WorkflowChanged as exc:
        why = f"{CHANGED}{exc}"
        return None if batch.params_from is not None and says_only_params_changed(why) else why
    except FlowctxError:  # what else the launch says, it says of the whole batch
        return None
    return None
