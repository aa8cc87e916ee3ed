"""What has changed about the complete steps of a run: it does not go on in silence with other code."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from flowctx.core.durability.records import RunRecord, StepRecord
from flowctx.core.errors import WorkflowChanged
from flowctx.core.workflow.cascade import Order, RunIf, nearest_before
from flowctx.core.workflow.definition import Step, Workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One complete step that is not what it was."""

    #: What has changed, for people.
    text: str
    #: The step as it is recorded.
    step: str
    #: What it is called now; ``None`` if it is gone.
    now: str | None


def changes_since(
    workflow: Workflow, run: RunRecord, records: Iterable[StepRecord], order: Order | None = None
) -> Iterator[Change]:
    """Yield what has changed about the complete steps of a run.

    Args:
        workflow: The workflow as it is now.
        run: The run as it is remembered.
        records: Its recorded steps.
        order: The steps of a DAG of one's own and which of them each one follows, where it says so; there a step may
            have passed over those before it that did not run.
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
        elif _moved(step, record, workflow, run, found, order):
            before, now = (" and ".join(after) or "no step" for after in (record.after, step.after))
            yield Change(text=f"step {name!r} followed {before} when it ran and follows {now} now", step=name, now=name)


def _moved(
    step: Step,
    record: StepRecord,
    workflow: Workflow,
    run: RunRecord,
    found: Mapping[str, StepRecord],
    order: Order | None,
) -> bool:
    was, now = set(record.after), set(step.after)
    if step.run_if is not RunIf.OK or was == now:  # others look through what has not run
        return False
    if order is None and run.engine != "airflow":  # elsewhere a step follows what is declared, and nothing else
        return True
    if order is not None:
        now = set(order.get(step.name, now))
        if not was <= workflow.steps.keys():  # it followed a step of the DAG that is none of the workflow's
            return False
    # What has not run, as what somebody marked as done, was looked through.
    before = {**{one.name: one.after for one in workflow.steps.values()}, **(order or {})}
    passed = was - set(nearest_before(before, found, step.name))
    return bool(passed - now) or any(name in found or name not in run.steps for name in now - was)


def refuse_changes(
    workflow: Workflow,
    run: RunRecord,
    records: Iterable[StepRecord],
    again: Collection[str],
    of_params: Collection[str] = (),
) -> None:
    """Refuse to resume a run with other parameters, or of which a complete step is not what it was and runs not again.

    Args:
        workflow: The workflow as it is now.
        run: The run as it is remembered.
        records: Its recorded steps.
        again: The steps that run again although they are complete, by their names now.
        of_params: What has changed about its parameters, for people.

    Raises:
        WorkflowChanged: All changes, and two ways to go on.
    """
    changes = [change for change in changes_since(workflow, run, records) if change.now not in again]
    if changes or of_params:
        first = next((change.now for change in changes if change.now is not None), None)
        on = f" --on {run.engine}" if run.engine != "local" else ""
        keep = (
            f"resume with accept_changes=True (flowctx resume {run.run_id}{on} --accept-changes) "
            "keeps what the complete steps recorded"
        )
        redo = f"(--from-step {first}) runs it and what follows it again"
        if of_params:
            beside = f"; from_step={first!r} beside it {redo}" if first else ""
            remedy = f"{keep} and takes the parameters as they are declared now{beside}"
        else:
            remedy = f"from_step={first!r} {redo}; {keep}" if first else keep
        raise WorkflowChanged(f"{_what(workflow, run, [*(change.text for change in changes), *of_params])}\n{remedy}")


def _what(workflow: Workflow, run: RunRecord, texts: Iterable[str]) -> str:
    listed = "".join(f"\n  - {text};" for text in texts)  # it may be shown in one line
    return f"workflow {workflow.name!r} has changed since run {run.run_id} ran:{listed}"


def refuse_changes_on_engine(
    workflow: Workflow,
    run: RunRecord,
    changes: Collection[Change],
    again: Collection[str],
    redo: str,
    *,
    all_complete: bool = False,
) -> None:
    """Refuse a step of a run of an engine, of which a complete step is not what it was and is not to run again.

    Args:
        workflow: The workflow as it is now.
        run: The run as it is remembered.
        changes: What has changed since.
        again: The steps that the engine runs again.
        redo: What people do for an engine to run a step again, such as ``clear``.
        all_complete: Whether all steps of the run are recorded as complete: such a run goes on only from a step.

    Raises:
        WorkflowChanged: All changes, and the ways to go on.
    """
    changes = [change for change in changes if change.now != change.step or change.step not in again]
    if not changes:
        return
    same = [change.step for change in changes if change.now == change.step]
    some = f"{' and '.join(same)} and all that follows, or " if len(same) == len(changes) else ""
    first = next((change.now for change in changes if change.now is not None), None)
    from_step = f"--from-step {first} to run it and what follows it again, or with " if first else ""
    to_run = next((step for step in workflow.steps if step in again), None) if all_complete else None
    also = f" and --from-step {to_run}" if to_run else ""
    raise WorkflowChanged(
        f"{_what(workflow, run, [change.text for change in changes])}\n"
        f"{redo} {some}the whole run; or let another run go on with it: flowctx resume {run.run_id} --on {run.engine}, "
        f"with {from_step}--accept-changes{also} to keep what the complete steps recorded"
    )
