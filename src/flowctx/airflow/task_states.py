"""What Airflow says of the other tasks of a run, and what that means for their steps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flowctx.airflow.outputs import instance_key, instance_states, step_name
from flowctx.core.durability.recorder import Recorder

#: States of a task of which nothing more is to come.
_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
#: States of a task that is to begin; that of none is ``None``.
_NOT_BEGUN = ("None", "scheduled", "queued")
#: What there is to say of a step that has recorded nothing, by the state of its task.
UNRECORDED = {
    "failed": "its task failed and has recorded nothing: its process died, or its engine was told so",
    "upstream_failed": "it did not run, because a task before it failed",
}


def failed_when_over(ti: Any, tasks: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the steps that failed without a record, and why, if Airflow has no more to do for it, else ``None``."""
    found = instance_states(ti, list(tasks))
    states = {at: found.get(instance_key(ti, at)) for at in tasks if at != ti.task_id}
    if not all(state in _ENDED for state in states.values()):
        return None
    whys = [(why, at) for state, why in UNRECORDED.items() for at in tasks if states.get(at) == state]
    return {step_name(tasks[at]): why for why, at in whys}


def is_to_begin(ti: Any, tasks: Mapping[str, Any], recorder: Recorder) -> bool:
    """Return whether another of some tasks, as one cleared with this one, is yet to run and to record what it does."""
    found = instance_states(ti, list(tasks))
    states = {at: found[key] for at in tasks if at != ti.task_id and (key := instance_key(ti, at)) in found}
    if any(state in _NOT_BEGUN for state in states.values()):
        return True
    names = [step_name(tasks[at]) for at, state in states.items() if state not in _ENDED]
    records = recorder.ledger.steps(recorder.run.key, names) if names else ()
    return any(one.started_at + timedelta(seconds=one.seconds) < ti.start_date for one in records)
