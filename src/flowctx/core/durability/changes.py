"""What has changed about the complete steps of a run: it does not go on in silence with other code."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from flowctx.core.durability.records import RunRecord, StepRecord
from flowctx.core.errors import WorkflowChanged
from flowctx.core.workflow.cascade import RunIf
from flowctx.core.workflow.definition import Workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One complete step that is not what it was."""

    #: What has changed, for people.
    text: str
    #: The step as it is recorded.
    step: str
    #: What it is called now; ``None`` if it is gone.
    now: str | None


def changes_since(workflow: Workflow, records: Iterable[StepRecord]) -> Iterator[Change]:
    """Yield what has changed about the complete steps of a run.

    Args:
        workflow: The workflow as it is now.
        records: Its recorded steps.
    """
    found = {record.step: record for record in records}
    new = [step for step in workflow.steps.values() if step.name not in found and step.version is None]
    fresh = {step.code_version: step.name for step in new}
    for name, record in found.items():
        if not record.complete:
            continue
        step = workflow.steps.get(name)
        if step is None:
            renamed = fresh.get(record.version) if record.version else None
            text = f"step {name!r} was renamed to {renamed!r}" if renamed else f"step {name!r} was removed"
            yield Change(text=text, step=name, now=renamed)
        elif record.version and step.code_version and record.version != step.code_version:
            text = f"the code of step {name!r} changed: it ran as {record.version} and is {step.code_version} now"
            yield Change(text=text, step=name, now=name)
        elif step.run_if is RunIf.OK and set(record.after) != set(step.after):  # others look through what has not run
            before, now = (" and ".join(after) or "no step" for after in (record.after, step.after))
            yield Change(text=f"step {name!r} followed {before} when it ran and follows {now} now", step=name, now=name)


def refuse_changes(workflow: Workflow, run: RunRecord, records: Iterable[StepRecord], again: Collection[str]) -> None:
    """Refuse to resume a run of which a complete step is not what it was, unless that runs again.

    Args:
        workflow: The workflow as it is now.
        run: The run as it is remembered.
        records: Its recorded steps.
        again: The steps that run again although they are complete, by their names now.

    Raises:
        WorkflowChanged: All changes, and two ways to go on.
    """
    changes = [change for change in changes_since(workflow, records) if change.now not in again]
    if changes:
        first = next((change.now for change in changes if change.now is not None), None)
        remedy = f"from_step={first!r} runs it and what follows it again; " if first else ""
        raise WorkflowChanged(
            f"{_what(workflow, run, changes)}\n"
            f"{remedy}accept_changes=True (--accept-changes) keeps what the complete steps recorded"
        )


def _what(workflow: Workflow, run: RunRecord, changes: Iterable[Change]) -> str:
    listed = "".join(f"\n  - {change.text}" for change in changes)
    return f"workflow {workflow.name!r} has changed since run {run.run_id} ran:{listed}"
