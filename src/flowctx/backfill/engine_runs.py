"""Take in what an engine knows of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.outcomes import winning_outcome
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState

#: How many notes are written at once.
NOTES = 200
#: What ends within this time of being stopped was stopped.
_STOP_TAKES = timedelta(seconds=10)


def import_engine_runs(
    batches: BatchStore, batch: BatchRecord, found: Iterator[PartitionRun], workflow: str | None = None
) -> int:
    """Note what an engine knows of a batch, and return how many runs that were.

    Args:
        batches: Where batches are remembered.
        batch: The batch.
        found: What the engine knows of one workflow of it.
        workflow: That workflow's name; by default that of the batch.
    """
    workflow = workflow or batch.workflow
    count = 0
    chunk: list[PartitionRun] = []
    for run in found:
        count += 1
        chunk.append(replace(run, workflow=""))
        if len(chunk) >= NOTES:
            _record_chunk(batches, batch.batch_id, workflow, chunk)
            chunk = []
    _record_chunk(batches, batch.batch_id, workflow, chunk)
    return count


def _record_chunk(batches: BatchStore, batch_id: str, workflow: str, chunk: list[PartitionRun]) -> None:
    texts = {run.partition for run in chunk}
    known = {run.partition: run for run in batches.iter_outcomes(batch_id, texts, workflow=workflow)}
    best: dict[str, PartitionRun] = {}
    for run in chunk:
        before = best.get(run.partition, known.get(run.partition))
        if before is not None and before.run_id == run.run_id and (_stopped(before, run) or _was_done(before, run)):
            best[run.partition] = before
        elif before is not None and before.run_id == run.run_id and before.recorded:
            best[run.partition] = before if before.state.ended else run
        elif before is not None and before.run_id == run.run_id and not before.state.done:
            best[run.partition] = replace(run, last_seen_at=max(run.last_seen_at, before.last_seen_at))
        else:
            best[run.partition] = winning_outcome([run] if before is None else [run, before])
    news = [replace(run, workflow=workflow) for text, run in best.items() if run != known.get(text)]
    batches.record_outcomes(batch_id, news)


def _stopped(before: PartitionRun, run: PartitionRun) -> bool:
    """Whether we stopped the run, whatever its engine takes that for.

    Airflow 3.3 calls a run that is stopped failed, and now and then, when its scheduler comes in between, successful.
    """
    if before.state is not PartitionState.CANCELED or not run.state.ended:
        return False
    return run.ended_at is None or before.ended_at is None or run.ended_at <= before.ended_at + _STOP_TAKES


def _was_done(before: PartitionRun, run: PartitionRun) -> bool:
    """Whether a run was done, and has not run since: its engine may have lost by now what it went on with."""
    return before.state.done and run.state is PartitionState.PARTIAL and run.ended_at == before.ended_at
