"""What the ledger holds of steps, for whoever finds nothing of theirs where its engine keeps outputs."""

from __future__ import annotations

from flowctx.core.data.handles import bind
from flowctx.core.data.plain import FrozenDict
from flowctx.core.durability.completeness import steps_of_other_runs
from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.records import COMPLETE, RunKey, RunRecord, StepRecord
from flowctx.core.durability.resumption import envelopes
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import Envelope, whole_output
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepStatus


def load_record(record: StepRecord, store: ArtifactStore | None) -> FrozenDict:
    """Return the output of a recorded step, from the store if it was put there; tables of its updates are there, too.

    Raises:
        ArtifactError: The artifact is gone or damaged.
        PayloadError: There is no store to ask.
    """
    bind(record.updates, store)
    return whole_output(record.step, record.output, store)


def recorded_envelope(
    ledger: RunLedger | None, run: RunRecord, step: str, *, of_others: bool = True
) -> Envelope | None:
    """Return what a complete step handed on, in a run or in another one of the same capture.

    A run that was continued elsewhere has steps whose outputs its engine does not have.

    Args:
        ledger: Where it is recorded, if it is.
        run: The run.
        step: The step's name.
        of_others: Whether another run of the capture may have done it.
    """
    if ledger is None:
        return None
    records = _step_and_before(ledger, run, step, of_others=of_others)
    record: StepRecord | None = records.get(step)
    if record is None:
        return None
    found = envelopes(run.context, records.values()).get(step)
    if found is None and record.status is StepStatus.SKIPPED:
        return Envelope(step=step, status=StepStatus.SKIPPED, error=record.error)
    return found


def _step_and_before(ledger: RunLedger, run: RunRecord, step: str, *, of_others: bool) -> dict[str, StepRecord]:
    """Return the complete records of a step and of all before it: what else is recorded may be damaged."""
    own = {name for name, status in ledger.statuses(run.key).items() if status in COMPLETE}
    elsewhere = set(run.steps) - own if of_others and step not in own else set[str]()
    records: dict[str, StepRecord] = {}
    wanted = {step}
    while wanted:
        found = {record.step: record for record in ledger.steps(run.key, wanted & own)}
        if made_elsewhere := wanted & elsewhere:
            found |= {record.step: record for record in steps_of_other_runs(ledger, run, made_elsewhere)}
        records |= found
        wanted = {name for record in found.values() for name in record.after} - records.keys()
    return records


def find_run(ledger: RunLedger, run_id: str, workflow: str, partition: PartitionKey | None) -> RunRecord | None:
    """Return what the ledger remembers of the run of just this partition, or ``None``.

    A run without a partition may have instances under its id, which have one.
    """
    digest = RunKey(workflow=workflow, run_id=run_id, partition=partition).digest
    return ledger.runs_of([digest]).get(digest)


def latest_continuation(ledger: RunLedger, run: RunRecord) -> RunRecord:
    """Return the run that goes on with a run now: itself, or the last of those that continued it."""
    seen = {run.key}
    while run.continued_by is not None:
        following = find_run(ledger, run.continued_by, run.workflow, run.context.partition)
        if following is None or following.key in seen:  # it was pruned, or they go round
            return run
        seen.add(following.key)
        run = following
    return run
