"""What steps hand to each other in XCom: one envelope per task, found through the structure of the DAG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowctx.airflow._compat import RETURN_VALUE, MappedOperator
from flowctx.core.context import WorkflowContext
from flowctx.core.envelope import Envelope, Inherited, load_output, receive
from flowctx.core.errors import ContextError, PayloadError
from flowctx.core.ports import ArtifactStore
from flowctx.core.result import StepStatus

#: The state in which Airflow leaves a task that wrote an envelope of this status.
_STATES = {StepStatus.OK: "success", StepStatus.FAILED: "failed", StepStatus.SKIPPED: "skipped"}


def is_step(task: Any) -> bool:
    """Whether a task of a DAG, mapped or not, hands on an envelope."""
    operator = task.operator_class if isinstance(task, MappedOperator) else task
    return getattr(operator, "hands_on_envelope", False)


def take_over(
    ctx: WorkflowContext, task: Any, ti: Any, store: ArtifactStore | None
) -> tuple[WorkflowContext, Inherited]:
    """Return the context with what the nearest steps before ``task`` handed on, and what is to be handed on in turn.

    Args:
        ctx: The run's context.
        task: The task that is about to run.
        ti: Its task instance.
        store: Where outputs that became artifacts are.

    Raises:
        ContextConflict: Two steps before it wrote one parameter with different values.
        ContextError: Two tasks before it are steps of the same name.
        PayloadError: What was handed on cannot be read.
    """
    reader = _Reader(ti=ti, store=store)
    found = dict(reader.nearest(task))
    places = _places(found)
    ctx, inherited = receive(ctx, found.values(), reader.fetch, store=store)
    prior = {name: None if places[name] == name else places[name] for name in inherited.prior}
    return ctx, replace(inherited, prior=prior)


def _places(found: Mapping[str, Envelope]) -> dict[str, str]:
    """Return the task behind each step name.

    Raises:
        ContextError: A name stands for two tasks, of which one would silently hide the other.
    """
    places: dict[str, str] = {}
    for task_id, envelope in found.items():
        for name, at in (*envelope.prior.items(), (envelope.step, task_id)):
            place = places.setdefault(name, at or name)
            if place != (at or name):
                raise ContextError(
                    f"tasks {place!r} and {at or name!r} are both step {name!r}, and its output would be "
                    "ambiguous; give one of them another name="
                )
    return places


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads envelopes of one run."""

    ti: Any
    store: ArtifactStore | None
    states: dict[str, str | None] = field(default_factory=dict)

    def nearest(self, task: Any) -> Iterator[tuple[str, Envelope]]:
        """Yield, in the DAG's order, the nearest steps before a task that handed something on, with their task ids.

        Ordinary tasks, and steps that did not run (a branch not taken), are looked through.
        """
        seen: set[str] = set()
        found: dict[str, Envelope] = {}
        pending = [(task, True)]
        while pending:
            after, certain = pending.pop()
            # With any other rule a task may run though one before it did not; its XCom may then be an older attempt's.
            certain = certain and after.trigger_rule == "all_success"
            for upstream in after.upstream_list:
                if upstream.task_id in seen:
                    continue
                seen.add(upstream.task_id)
                envelope = self.read(upstream.task_id, certain) if is_step(upstream) else None
                if envelope is None:
                    pending.append((upstream, certain))
                else:
                    found[upstream.task_id] = envelope
        order = {task_id: place for place, task_id in enumerate(task.dag.task_ids)}
        yield from sorted(found.items(), key=lambda item: order[item[0]])

    def read(self, task_id: str, certain: bool) -> Envelope | None:
        payload = self.pull(task_id)
        if payload is None:
            return None
        envelope = Envelope.from_payload(payload)
        if not certain and self.state(task_id) != _STATES[envelope.status]:
            return None
        return envelope

    def fetch(self, name: str, at: str | None) -> Mapping[str, Any]:
        payload = self.pull(at or name)
        if payload is None:
            raise PayloadError(
                f"the output of step {name!r} (task {at or name!r}) is no longer in XCom; "
                "clear that task to run it again"
            )
        return load_output(Envelope.from_payload(payload), self.store)

    def pull(self, task_id: str) -> Any:
        return self.ti.xcom_pull(task_ids=task_id, key=RETURN_VALUE, map_indexes=None)

    def state(self, task_id: str) -> str | None:
        found = self.ti.get_task_states(dag_id=self.ti.dag_id, task_ids=[task_id], run_ids=[self.ti.run_id])
        state = found.get(self.ti.run_id, {}).get(task_id)
        return None if state is None else str(getattr(state, "value", state))
