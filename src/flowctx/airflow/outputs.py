"""What steps hand to each other in XCom: one envelope per task, found through the structure of the DAG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from flowctx.airflow._compat import RETURN_VALUE, MappedOperator, conf
from flowctx.airflow.json_columns import for_column, from_column
from flowctx.core.data.encoding import escape_key, to_json
from flowctx.core.data.plain import FrozenDict, freeze
from flowctx.core.data.previews import previews_of
from flowctx.core.durability.run_ledgers import LEDGER_MARK
from flowctx.core.durability.step_attempt import StepInput
from flowctx.core.errors import ContextError, InputMissing, PayloadError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import Envelope, load_output
from flowctx.core.execution.upstream import Upstream, merge_upstream
from flowctx.core.partitions.key import escape_value
from flowctx.core.workflow.cascade import RunIf
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import StepStatus

_T = TypeVar("_T")
#: Returns what counts of a step, by its task and what that handed on here.
Counted: TypeAlias = Callable[[Any, Envelope | None], Envelope | None]
#: Returns what counts of the instances of a mapped task whose runs have gone on elsewhere since, by their labels.
CountedInstances: TypeAlias = Callable[[Any], Mapping[str, Envelope]]
#: The state in which Airflow leaves a task that wrote an envelope of this status.
_STATES = {
    StepStatus.OK: "success",
    StepStatus.FAILED: "failed",
    StepStatus.SKIPPED: "skipped",
    StepStatus.TOLERATED: "success",
}
#: When a step runs, in Airflow's words.
TRIGGER_RULES = {RunIf.OK: "all_success", RunIf.NOT_FAILED: "none_failed", RunIf.ALWAYS: "all_done"}


def is_step(task: Any) -> bool:
    """Whether a task of a DAG, mapped or not, hands on an envelope."""
    operator = task.operator_class if isinstance(task, MappedOperator) else task
    return getattr(operator, "hands_on_envelope", False)


def waits_for_all(task: Any) -> bool:
    """Whether a task waits for all before it, and then skips itself if one was: Airflow would skip it at once.

    What fails later would be hidden by the skip, also from the steps that run after skips.
    """
    return bool(getattr(task, "skips_itself", False))


def step_name(task: Any) -> str:
    """Return the name of the step that a task of a DAG runs."""
    operator = task.partial_kwargs.get("step") if isinstance(task, MappedOperator) else task.step
    return str(getattr(operator, "name", task.label))


def map_index(ti: Any) -> int:
    """Return which instance of a mapped task one is; -1 of a task that is not mapped."""
    return -1 if ti.map_index is None else int(ti.map_index)


def instance_key(ti: Any, task_id: str) -> str:
    """Return Airflow's key for a task's state in the same instance as another task's."""
    return task_id if map_index(ti) < 0 else f"{task_id}_{ti.map_index}"


def label_of(map_values: Mapping[str, str]) -> str:
    """Return the name of an instance among the outputs of all: its value, or the text of its values."""
    values = list(map_values.values())
    return values[0] if len(values) == 1 else "|".join(escape_value(value) for value in values)


def to_payload(
    envelope: Envelope, ti: Any, map_values: Mapping[str, str] | None, *, had_ledger: bool
) -> dict[str, Any]:
    """Return what a task pushes: also whether it had a ledger; an instance of a mapped task says which one it is."""
    payload = for_column(envelope.to_payload())
    if had_ledger:
        payload[LEDGER_MARK] = True
    tables = {escape_key(name): _in_small(small) for name, small in previews_of(envelope.output)}
    if tables:  # for people who look at the rendered XCom; nothing reads it
        payload["tables"] = tables
    if map_index(ti) >= 0:
        label = label_of(map_values) if map_values else str(ti.map_index)
        payload["instance"] = {"map_index": ti.map_index, "label": label}
    return payload


def _in_small(small: dict[str, Any]) -> Any:
    """Return a preview with its columns as a list: a database may sort the keys of an object."""
    columns = [f"{name} {kind}" for name, kind in small["columns"].items()]
    return to_json(freeze({**small, "columns": columns}))


def from_payload(payload: object) -> Envelope:
    """Return the envelope that a task pushed; see :meth:`~flowctx.core.execution.envelope.Envelope.from_payload`."""
    return Envelope.from_payload(from_column(payload))


def read_upstream(
    ctx: WorkflowContext,
    task: Any,
    ti: Any,
    store: ArtifactStore | None,
    counted: Counted = lambda task, handed_on: handed_on,
    instances: CountedInstances = lambda task: {},
) -> StepInput:
    """Return the context with what the steps before ``task`` handed on, and what is to be handed on in turn.

    Of a step that is mapped while ``task`` is not (or not with it) the output is a dict of those of its instances, by
    their labels, with ``None`` for an instance that handed nothing on.

    Args:
        ctx: The run's context.
        task: The task that is about to run.
        ti: Its task instance.
        store: Where outputs that became artifacts are.
        counted: Returns what counts of a step, given what it handed on here: it may have run elsewhere since.
        instances: Returns the same of a mapped task, for those instances that have.

    Raises:
        ContextConflict: Two steps before it wrote one parameter with different values.
        ContextError: Two tasks before it are steps of the same name.
        PayloadError: What was handed on cannot be read.
        InputMissing: What was handed on does not count any more.
    """
    reader = _Reader(task, ti, store, counted, instances)
    found, mapped = reader.nearest(waits_for_all(task) or task.trigger_rule == "all_success")
    envelopes = list(found.values())
    if mapped:
        # Their outputs are gathered when looked at, so they are announced as if another step had handed them on.
        prior = {name: None if name == task_id else task_id for task_id, name in mapped.items()}
        envelopes.append(Envelope(step=task.task_id, status=StepStatus.SKIPPED, prior=prior))
    places = _places([*((e.step, at) for at, e in found.items()), *(p for e in envelopes for p in e.prior.items())])
    ctx, inherited = merge_upstream(ctx, envelopes, reader.fetch, store=store)
    prior = {name: None if places[name] == name else places[name] for name in inherited.prior}
    after = (*(e.step for e in found.values()), *mapped.values())
    return StepInput(ctx=ctx, inherited=Upstream(inherited.updates, prior), after=after)


def skipped_before(task: Any, ti: Any) -> str | None:
    """Return why a task that waits for all before it is skipped: the word of the first step before it that was."""
    if not waits_for_all(task):
        return None
    return _Reader(task, ti, None, lambda task, handed_on: handed_on, lambda task: {}).skipped_before(task)


def _places(pairs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Return the task behind each step name.

    Raises:
        ContextError: A name stands for two tasks, of which one would silently hide the other.
    """
    places: dict[str, str] = {}
    for name, at in pairs:
        task_id = at or name
        if places.setdefault(name, task_id) != task_id:
            raise ContextError(
                f"tasks {places[name]!r} and {task_id!r} are both step {name!r}, and its output would be ambiguous; "
                "give one of them another task_id="
            )
    return places


def instance_states(ti: Any, task_ids: list[str]) -> dict[str, str]:
    """Return the states of the instances of tasks in a run, under Airflow's keys for them."""
    found = ti.get_task_states(dag_id=ti.dag_id, task_ids=task_ids, run_ids=[ti.run_id])
    return {key: str(getattr(state, "value", state)) for key, state in found.get(ti.run_id, {}).items()}


class _Reader:
    """Reads, for one task instance, what others in its run handed on."""

    def __init__(
        self, task: Any, ti: Any, store: ArtifactStore | None, counted: Counted, instances: CountedInstances
    ) -> None:
        self.task, self.ti, self.store, self.counted, self.instances = task, ti, store, counted, instances
        self.group = task.get_closest_mapped_task_group()

    def skipped_before(self, task: Any) -> str | None:
        """Return why one of the tasks directly before one was skipped, if it was."""
        order = self.task.dag.task_ids
        found = sorted(task.upstream_list, key=lambda before: order.index(before.task_id))
        near = instance_states(self.ti, [before.task_id for before in found if not self.is_spread(before)])
        for before in found:
            at, spread = before.task_id, self.is_spread(before)
            if "skipped" in (self.states(at).values() if spread else [near.get(self.key(at))]):
                envelope = self.read(at, must_have_run=False) if is_step(before) and not spread else None
                reason = envelope.error if envelope is not None else self.skipped_before(before)
                return reason or f"{f'step {step_name(before)!r}' if is_step(before) else f'task {at!r}'} was skipped"
        return None

    def nearest(self, all_ran: bool) -> tuple[dict[str, Envelope], dict[str, str]]:
        """Return the nearest steps that handed something on, and the names of the mapped ones to be gathered.

        Both are by task id and in the DAG's order. Ordinary tasks, and steps that did not run (a branch not taken),
        are looked through.

        Args:
            all_ran: Whether all tasks directly before have run. Otherwise one may not have, and its XCom is an older
                attempt's.
        """
        seen: set[str] = set()
        found: dict[str, Envelope] = {}
        mapped: dict[str, str] = {}
        pending = [(self.task, all_ran)]
        while pending:
            after, must_have_run = pending.pop()
            for upstream in after.upstream_list:
                if upstream.task_id in seen:
                    continue
                seen.add(upstream.task_id)
                envelope = None
                if is_step(upstream) and self.is_spread(upstream):
                    mapped[upstream.task_id] = step_name(upstream)
                elif is_step(upstream):
                    envelope = self.read(upstream.task_id, must_have_run)
                if envelope is None:
                    pending.append((upstream, must_have_run and upstream.trigger_rule == "all_success"))
                else:
                    found[upstream.task_id] = envelope
        order = self.task.dag.task_ids
        return _sorted(found, order), _sorted(mapped, order)

    def is_spread(self, upstream: Any) -> bool:
        """Whether a task has instances of which not just one belongs to this one."""
        if isinstance(upstream, MappedOperator):
            return True
        group = upstream.get_closest_mapped_task_group()
        return group is not None and group is not self.group

    def read(self, task_id: str, must_have_run: bool) -> Envelope | None:
        state = None if must_have_run else self.states(task_id).get(self.key(task_id))
        if not must_have_run and state not in ("success", "skipped"):
            return None
        envelope = self.envelope_of(self.task.dag.get_task(task_id))
        if envelope is None or envelope.status is StepStatus.FAILED:
            return None
        return envelope if must_have_run or _STATES[envelope.status] == state else None

    def fetch(self, name: str, at: str | None) -> Mapping[str, Any]:
        task_id = at or name
        upstream = self.task.dag.get_task(task_id)
        if self.is_spread(upstream):
            return self.gather(upstream)
        envelope = self.envelope_of(upstream)
        if envelope is None:
            raise PayloadError(
                f"the output of step {name!r} (task {task_id!r}) is no longer in XCom; clear that task to run it again"
            )
        return load_output(envelope, self.store)

    def envelope_of(self, upstream: Any) -> Envelope | None:
        """Return what counts of a step, if there is anything."""
        payload = self.pull(upstream.task_id)
        return self.counted(upstream, from_payload(payload) if payload is not None else None)

    def gather(self, upstream: Any) -> FrozenDict:
        """Return the outputs of all instances of a mapped task, by label."""
        task_id = upstream.task_id
        payloads = self.ti.xcom_pull(task_ids=[task_id], key=RETURN_VALUE)
        outputs: dict[str, Any] = dict.fromkeys(getattr(upstream, "labels", ()))
        states = self.states(task_id)
        found: dict[str, Envelope] = {}
        for payload in payloads:
            if payload is None:
                continue
            instance = payload["instance"]
            if states.get(f"{task_id}_{instance['map_index']}") == "success":
                found[instance["label"]] = from_payload(payload)
        for label, envelope in {**found, **self.instances(upstream)}.items():
            if envelope.status is StepStatus.FAILED and label in found:
                raise InputMissing(str(envelope.error))
            if envelope.status is StepStatus.OK:
                outputs[label] = load_output(envelope, self.store)
        return FrozenDict(outputs)

    def pull(self, task_id: str) -> Any:
        group = self.task.dag.get_task(task_id).get_closest_mapped_task_group()
        index = self.ti.map_index if group is not None else None
        return self.ti.xcom_pull(task_ids=task_id, key=RETURN_VALUE, map_indexes=index)

    def key(self, task_id: str) -> str:
        group = self.task.dag.get_task(task_id).get_closest_mapped_task_group()
        return task_id if group is None else f"{task_id}_{self.ti.map_index}"

    def states(self, task_id: str) -> dict[str, str]:
        """Return the states of a task's instances, under Airflow's keys for them."""
        return instance_states(self.ti, [task_id])


def _sorted(by_task: dict[str, _T], order: list[str]) -> dict[str, _T]:
    places = {task_id: place for place, task_id in enumerate(order)}
    return dict(sorted(by_task.items(), key=lambda item: places[item[0]]))


def xcom_storage_path() -> object | None:
    """Return where the object-storage XCom backend keeps what is large, if it is configured; ours stands beside it."""
    url = conf.get("common.io", "xcom_objectstorage_path", fallback=None)
    if not url:
        return None
    path = f"{url.rstrip('/')}/flowctx"
    if "@" not in path.partition("://")[2].partition("/")[0]:
        return path
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(path)  # the part before the @ is a connection of Airflow's
