"""Which of what carries a batch's id are partitions of the batch: the workflow, which would know, need not be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.records import BatchRecord, PartitionRun, run_ids_begin
from flowctx.core.errors import BatchError
from flowctx.core.partitions.selection_reading import SelectionText
from flowctx.core.workflow.definition import Workflow, expect_workflow
from flowctx.core.workflow.import_path import import_path_of

#: So many outcomes are asked for at a time.
_PAGE = 500


@dataclass(frozen=True)
class Apart:
    """What carries a batch's id, and may be none of its partitions; the texts of keys, empty of runs without one."""

    #: What the batch has not selected.
    outside: frozenset[str] = frozenset()
    #: What it may have selected or not.
    unclear: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Tally:
    """How many partitions of a batch stand how."""

    #: Those that it has selected, by how they stand.
    counts: dict[str, int]
    #: What carries its id and is none of them, by how it stands.
    outside: dict[str, int] = field(default_factory=dict)
    #: How many of the first it may not have selected, at least.
    unclear: int = 0


def told_apart(batches: BatchStore, batch: BatchRecord) -> Apart:
    """Tell what a batch of one workflow has not selected, by the text of its selection.

    What its launches have run was selected: the ids of the runs say so, where the engine lets a launch choose them. A
    batch that nobody planned has all partitions that carry its id; runs without one beside them, as of ``reduce=``,
    are none of them.

    Args:
        batches: Where batches are remembered.
        batch: The batch, as it is for one workflow.
    """
    if batch.selection is None:
        texts = batches.iter_partitions(batch.batch_id, batch.workflow)
        return Apart(frozenset({""}) if next(texts, None) == "" and any(texts) else frozenset())
    text = SelectionText(batch.selection)
    others = batches.iter_partitions(batch.batch_id, batch.workflow, besides=run_ids_begin(batch.batch_id))
    doubtful = frozenset(text.doubtful(others))
    outside = frozenset(one for one in doubtful if text.holds(one) is False)
    return Apart(outside, doubtful - outside)


def batch_asked_of(batch: BatchRecord, workflow: Workflow) -> BatchRecord:
    """Return a batch as it is for a workflow; one that nobody planned is of the workflow that whoever asks names.

    Args:
        batch: The batch.
        workflow: The workflow.

    Raises:
        WorkflowError: It is no workflow.
        BatchError: The batch was planned, and not for this workflow.
    """
    name = expect_workflow(workflow).name
    if batch.selection is None and not batch.others:
        return replace(batch, workflow=name, import_path=import_path_of(workflow) or batch.import_path)
    found = batch.of(name)
    if found is None:
        names = " and ".join(batch.workflows)
        raise BatchError(
            f"batch {batch.batch_id!r} was planned for workflow {names}, not for {name}; "
            "name one that it was planned for, or another batch"
        )
    return found


def tally(batches: BatchStore, batch: BatchRecord) -> Tally:
    """Count how the partitions of a batch of one workflow stand, without a look at each run.

    Args:
        batches: Where batches are remembered.
        batch: The batch, as it is for one workflow.
    """
    counts = Counter(batches.count_outcomes(batch.batch_id, batch.workflow))
    apart = told_apart(batches, batch)
    outside: Counter[str] = Counter(str(run.state) for run in outcomes_of(batches, batch, apart.outside))
    left = {state: count - outside[state] for state, count in counts.items() if count > outside[state]}
    return Tally(left, dict(outside), surely_unclear(batch, sum(left.values()), apart))


def surely_unclear(batch: BatchRecord, known: int, apart: Apart) -> int:
    """Return of how many partitions it is unclear at least whether they are selected: no batch has more than its total.

    Args:
        batch: The batch, as it is for one workflow.
        known: How many partitions count as its own.
        apart: What was told apart.
    """
    return max(len(apart.unclear), known - batch.total if batch.total is not None else 0)


def outcomes_of(batches: BatchStore, batch: BatchRecord, partitions: Collection[str]) -> Iterator[PartitionRun]:
    """Yield what became of some partitions of a batch of one workflow, by their texts, so many at a time."""
    texts, wanted = sorted(partitions), frozenset(partitions)
    if "" in wanted:  # runs without a partition are found among all
        runs = batches.iter_outcomes(batch.batch_id, workflow=batch.workflow)
        yield from (run for run in runs if run.partition in wanted)
        return
    for at in range(0, len(texts), _PAGE):
        yield from batches.iter_outcomes(batch.batch_id, texts[at : at + _PAGE], workflow=batch.workflow)
