"""What Airflow says of the other tasks of a run, and what that means for their steps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flowctx.airflow.outputs import instance_key, instance_states, step_name
from flowctx.core.durability.recorder import Recorder

#: In what a context says of the engine: the tasks of the run's steps, by step, that are not named as those.
TASK_IDS = "task_ids"
#: States of a task that ended as it was to.
_DONE = ("success", "skipped", "removed")
#: States of a task of which nothing more is to come.
_ENDED = (*_DONE, "failed", "upstream_failed")
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


def asked_at(task_instance: object) -> datetime:
    """Return when a task instance was last told to run, at first or by a clear or retry: it has a new UUIDv7 then."""
    return datetime.fromtimestamp((UUID(str(task_instance)).int >> 80) / 1000, UTC)


def is_outdated(context: Any, tasks: Mapping[str, Any], recorder: Recorder) -> bool:
    """Return whether what is recorded of the step of another of some tasks, of which some were cleared, may be older.

    It is yet to run, or to record what it does. Whether one that failed, or could not run, was cleared before that, the
    scheduler alone can tell.
    """
    ti = context["ti"]
    found = instance_states(ti, list(tasks))
    others = {at: key for at in tasks if at != ti.task_id and (key := instance_key(ti, at)) in found}
    states = {step_name(tasks[at]): found[key] for at, key in others.items()}
    if any(state in _NOT_BEGUN for state in states.values()):
        return True
    names = [name for name, state in states.items() if state not in _DONE]
    # A clear while the run is under way leaves its beginning as it is; what is cleared with this task has its time.
    since = max(context["dag_run"].start_date, asked_at(ti.id))
    for record in recorder.ledger.steps(recorder.run.key, names) if names else ():
        before = record.started_at + timedelta(seconds=record.seconds) < since
        if before or states[record.step] in UNRECORDED:
            return True
    return False
