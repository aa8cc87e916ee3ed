"""What the steps of a workflow hand on to others in a DAG, where their run has gone on elsewhere."""

from __future__ import annotations

import logging
from typing import Any

from flowctx.airflow.outputs import label_of, step_name
from flowctx.airflow.own_steps import run_name_of
from flowctx.core.durability.recorded import latest_continuation, recorded_envelope
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import COMPLETE, MOST_INSTANCES, RunRecord, RunStatus
from flowctx.core.errors import InputMissing, UnknownRun
from flowctx.core.execution.envelope import Envelope
from flowctx.core.workflow.result import StepStatus
from flowctx.ledger import strict_from_env

logger = logging.getLogger("flowctx")


def counted_envelope(recorder: Recorder, upstream: Any, handed_on: Envelope | None) -> Envelope | None:
    """Return what counts of the step of another task, given what it handed on here: it may have run elsewhere since.

    Raises:
        InputMissing: What it handed on is older than what its run goes on with.
    """
    run = _run_of(recorder, upstream)
    here = handed_on is not None and handed_on.status is not StepStatus.FAILED
    # The run may have gone on elsewhere since: what its steps are made of then is not what Airflow still has.
    if run is None or (here and run.attempt == 1):
        return handed_on
    found = recorded_envelope(recorder.ledger, run, step_name(upstream), of_others=not here)
    if found is None and here and run.key != recorder.run.key:
        status = recorder.ledger.statuses(run.key).get(step_name(upstream))
        if (why := _not_made(run, step_name(upstream), status)) is not None:
            raise InputMissing(why)
    return handed_on if found is None else found


def _run_of(recorder: Recorder, task: Any) -> RunRecord | None:
    """Return the run that the step of another task is recorded under, if it is; of another one, what it goes on as."""
    run, name = recorder.run, run_name_of(task)
    if name == run.workflow:
        return run
    try:  # a step without a partition may follow one that has
        found = recorder.ledger.get_run(run.run_id, workflow=name, partition=run.context.partition)
    except UnknownRun:
        return None
    return latest_continuation(recorder.ledger, found)


def instances_elsewhere(recorder: Recorder, mapped: Any) -> dict[str, Envelope]:
    """Return what is recorded of instances of a task in a mapped group whose runs have gone on elsewhere, by label.

    One that is not made there has failed.
    """
    dimensions = getattr(mapped, "mapped_over", ())
    if not dimensions:
        return {}
    found = recorder.ledger.list_runs(workflow=run_name_of(mapped), run_id=recorder.run.run_id, limit=MOST_INSTANCES)
    latest = [latest_continuation(recorder.ledger, run) for run in found]
    runs = {run.key.digest: run for run in latest if run.attempt > 1}
    step = step_name(mapped)
    outputs = recorder.ledger.step_outputs(step, runs) if runs else {}
    made: dict[str, Envelope] = {}
    for key, run in runs.items():
        if (partition := run.context.partition) is None:
            continue
        label, one = label_of({name: partition[name] for name in dimensions}), outputs.get(key)
        if one is not None and one.status in COMPLETE:
            made[label] = Envelope(step=step, status=one.status, output=one.output)
        elif (why := _not_made(run, step, one.status if one else None)) is not None:
            made[label] = Envelope(step=step, status=StepStatus.FAILED, error=why)
    return made


def _not_made(run: RunRecord, step: str, status: StepStatus | None) -> str | None:
    """Return why what a step handed on before does not count, in a run that has gone on elsewhere and has not made it.

    Where the ledger may be away, it may not have all that was made.
    """
    what = f"step {step!r} of run {run.run_id!r} of workflow {run.workflow!r}"
    if status is None and not strict_from_env():
        logger.warning("%s is not recorded since that went on: it may be older than what it follows", what)
        return None
    if status is None and run.status is RunStatus.RUNNING:
        return f"{what} is not made yet since that went on, and what it handed on before is older; try again when it is"
    how = "failed" if status is not None else "has not run"
    return f"{what} {how} since that went on, and what it handed on before is older; make it again"
