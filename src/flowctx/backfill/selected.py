"""What is selected for a batch that is there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from flowctx.core.batches.records import BatchRecord
from flowctx.core.errors import BatchError
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection
from flowctx.core.printable import amount, brief
from flowctx.core.workflow.definition import Workflow


def selections_again(
    known: BatchRecord, workflows: Sequence[Workflow], until: date | str | None, *, extend: bool
) -> list[Selection | None]:
    """Return what a batch that is there has of each of its workflows, for whoever selects nothing.

    Args:
        known: The batch.
        workflows: Some of its workflows.
        until: The last as-of date.
        extend: Whether what is asked for is added to the batch.

    Raises:
        BatchError: The last date leaves out some of what the batch has, or would add to it, which it cannot.
    """
    found: list[Selection | None] = []
    dated: list[tuple[PartitionScheme, Selection]] = []
    for workflow in workflows:
        record, scheme = known.of(workflow.name), scheme_of(workflow)
        takes_until = len(workflows) == 1 or scheme.cadence is not None  # of several, some have no dates
        if record is None or record.selection is None:
            found.append(None if until is None or not takes_until else scheme.select(None, until=until))
            continue
        found.append(some := scheme.select(record.selection))
        if takes_until:
            dated.append((scheme, some))
    if until is not None and dated:
        _refuse_until(known.batch_id, dated, until, extend=extend)
    return found


def _refuse_until(
    batch_id: str, own: Sequence[tuple[PartitionScheme, Selection]], until: date | str, *, extend: bool
) -> None:
    for _, some in own:
        if left_out := len(some) - len(some.up_to(until)):
            raise BatchError(
                f"batch {batch_id!r} has {amount(len(some), 'partition')} ({brief(str(some), 80)}), of which "
                f"until={str(until)!r} leaves out {left_out:,}; run it without until= (--until), or take "
                "another id"
            )
    last = max(filter(None, (some.last_date() for _, some in own)))
    due = [scheme.due_keys(datetime.now(UTC)).up_to(until) for scheme, _ in own]
    if extend or any(some - some.up_to(last) for some in due):
        has = brief("; ".join(str(some) for _, some in own), 80)
        add = "select what to add (--select)" + ("" if extend else " and say extend=True (--extend)")
        raise BatchError(
            f"until={str(until)!r} only leaves dates out, and adds none to batch {batch_id!r}, which has {has}; run it "
            f"without until= (--until), or {add}"
        )


def scheme_of(workflow: Workflow) -> PartitionScheme:
    """Return the partitions of a workflow; one without has nothing to fill."""
    if workflow.partitions is None:
        raise BatchError(
            f"workflow {workflow.name!r} has no partitions to fill; declare them: Workflow(..., partitions=...)"
        )
    return workflow.partitions
