"""What ``--select`` means, as it was typed."""

from __future__ import annotations

from flowctx.cli.output import echo
from flowctx.core.partitions.due_selection import selected
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow


def selection_typed(workflow: Workflow, text: str | None, until: str | None = None) -> Selection | str | None:
    """Return what was typed; where it counts from the latest date that is due, say which partitions that means.

    Args:
        workflow: The workflow; without partitions, the text is left to whoever refuses it.
        text: What was typed for ``--select``.
        until: The last as-of date.

    Raises:
        PartitionError: The text selects nothing.
        NotDue: It counts from the latest date that is due, and none is.
    """
    if text is None or workflow.partitions is None or "last:" not in text:
        return text
    found = selected(workflow.partitions, text, until)
    echo(f"{text} is {found}", err=True)
    return found
