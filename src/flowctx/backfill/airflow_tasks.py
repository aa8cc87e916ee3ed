"""What the task instances of a DAG run say of it: Airflow's colour of a task does not tell who skipped it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from flowctx.core.batches.records import PartitionState

Instance = Mapping[str, Any]
#: A task, or one of the instances of a mapped task: of that, the others stay as they are.
Marker = str | tuple[str, int]

#: Operators whose tasks run a step: one that is successful and was never tried was marked so.
_STEP_OPERATORS: Final = ("StepOperator", "@task.step")
#: Trigger rules by which a task runs although those before it were skipped.
_UNTOUCHED_BY_SKIPS: Final = ("none_failed", "all_done", "always")
#: Trigger rules by which a task is skipped where all of those before it are.
_SKIPPED_WITH_ALL: Final = ("one_success", "none_failed_min_one_success", "all_done_min_one_success")
#: What counts of a choice that nobody but a worker can read.
_NONE_CHOSEN: Final[Mapping[str, Sequence[str]]] = {"followed": ()}
#: States of a task that failed, or did not run for a failure before it; that of one that may fail is a success.
_FAILED: Final = ("failed", "upstream_failed")


class Task(NamedTuple):
    """A task of a DAG."""

    #: The tasks that it directly follows.
    after: set[str]
    #: When it runs, by what became of those.
    trigger_rule: str
    #: Whether it has as many instances as there are values.
    is_mapped: bool


def tasks_by_id(tasks: Iterable[Mapping[str, Any]]) -> dict[str, Task]:
    """Return the tasks of a DAG, from what Airflow tells of each and of those that follow it."""
    tasks = list(tasks)
    found = {
        task["task_id"]: Task(set(), task.get("trigger_rule") or "all_success", bool(task.get("is_mapped")))
        for task in tasks
    }
    for task in tasks:
        for after in task.get("downstream_task_ids") or ():
            found[after].after.add(task["task_id"])
    return found


def never_ran(
    run: Mapping[str, Any],
    instances: Sequence[Instance],
    tasks: Mapping[str, Task],
    choice_of: Callable[[str], Mapping[str, Sequence[str]] | str | None],
    failed_itself: Callable[[Instance], bool] = lambda instance: False,
) -> set[str]:
    """Return the ids of tasks that Airflow calls skipped or successful although nothing of theirs has run.

    Airflow sets tasks that have not begun to ``skipped`` when somebody marks their run. A skip counts if the instance
    said so itself, if its trigger rule says so, or if one before it was skipped by such a word. It calls a run
    successful for which it makes no task: none has run then.

    Args:
        run: The run.
        instances: Its task instances.
        tasks: The tasks of the DAG.
        choice_of: Returns what a task that chooses which others run has said, as Airflow keeps it: those after it that
            are ``followed``, or all that are ``skipped``. If an XCom backend keeps it elsewhere, it is the place, and
            all that directly follow count as left out.
        failed_itself: Whether the last word of an instance is that it failed: it was skipped while it waited for its
            next try.
    """
    if not instances:
        return set(tasks) if run["state"] == "success" else set()
    skipped = [instance for instance in instances if instance["state"] == "skipped"]
    tried = [instance for instance in skipped if instance.get("try_number", 1)]
    own_word = {_place(instance) for instance in tried if not (may_wait(instance) and failed_itself(instance))}
    unsaid = {_place(instance) for instance in skipped} - own_word
    over_none = {instance["task_id"] for instance in skipped if _over_no_values(run, instances, instance)}
    known = {task_id: tasks[task_id] for task_id, _ in unsaid if task_id in tasks}
    by_rule = {at for at, task in known.items() if _skipped_by_rule(at, task, instances, over_none)}
    begun = {instance["task_id"] for instance in instances if _has_begun(instance)}
    justified = own_word | {place for place in unsaid if place[0] in by_rule}
    follow_skips = {at: task for at, task in known.items() if task.trigger_rule not in _UNTOUCHED_BY_SKIPS}
    justified |= _skipped_after(justified, unsaid, follow_skips, begun)
    left = unsaid - justified
    before: set[str] = set().union(*(known[task_id].after for task_id, _ in left if task_id in known))
    chosen = {task_id: choice for task_id in before if (choice := choice_of(task_id)) is not None}
    choices = {task_id: choice if isinstance(choice, Mapping) else _NONE_CHOSEN for task_id, choice in chosen.items()}
    not_chosen = {place for place in left if place[0] in known and _is_left_out(place[0], known[place[0]], choices)}
    not_chosen |= _skipped_after(not_chosen | justified, left, follow_skips, begun)
    return {task_id for task_id, _ in left - not_chosen} | {one["task_id"] for one in instances if _is_marked(one)}


def _is_left_out(task_id: str, task: Task, choices: Mapping[str, Mapping[str, Sequence[str]]]) -> bool:
    """Return whether a task that chooses has said that another one does not run."""
    if any(task_id in choice.get("skipped", ()) for choice in choices.values()):
        return True
    return any(task_id not in choices[name].get("followed", (task_id,)) for name in task.after & choices.keys())


def _is_marked(instance: Instance) -> bool:
    """Return whether a step is successful and has never begun."""
    done = instance["state"] == "success" and not instance.get("try_number", 1)
    return bool(done and instance.get("operator_name") in _STEP_OPERATORS)


def may_wait(instance: Instance) -> bool:
    """Return whether a skipped step may have waited for another try when somebody marked its run."""
    tries_left = 0 < instance.get("try_number", 1) <= instance.get("max_tries", 0)
    return bool(tries_left and instance["state"] == "skipped" and instance.get("operator_name") in _STEP_OPERATORS)


def _place(instance: Instance) -> tuple[str, int]:
    return instance["task_id"], instance.get("map_index", -1)


def _has_begun(instance: Instance) -> bool:
    return bool(instance["state"] in ("success", "failed", "skipped") and instance.get("try_number", 1))


def _skipped_after(
    skipped: Collection[tuple[str, int]],
    unsaid: Collection[tuple[str, int]],
    tasks: Mapping[str, Task],
    begun: Collection[str],
) -> set[tuple[str, int]]:
    """Return the instances that Airflow skips since others are, one after the other.

    A skip is for all instances of the tasks after it. In a mapped task group it is for the same instance alone: that
    is so where others have begun.
    """
    found: set[tuple[str, int]] = set()
    while True:
        before: dict[str, set[int]] = {}
        for task_id, index in {*skipped, *found}:
            before.setdefault(task_id, set()).add(index)
        more = set()
        for task_id, index in {*unsaid} - found:
            after = tasks[task_id].after if task_id in tasks else set()
            if task_id in tasks and tasks[task_id].trigger_rule in _SKIPPED_WITH_ALL and after - before.keys():
                continue
            indexes = set().union(*(before.get(name, set()) for name in after))
            if index in indexes or (indexes and task_id not in begun):
                more.add((task_id, index))
        if not more - {*skipped}:
            return found
        found |= more


def _skipped_by_rule(task_id: str, task: Task, instances: Sequence[Instance], over_none: Collection[str]) -> bool:
    """Return whether Airflow skips a task where those before it ended so, none of which was skipped."""
    before = {instance["state"] for instance in instances if instance["task_id"] in task.after}
    match task.trigger_rule:
        case "one_failed":
            return before == {"success"}
        case "all_failed":
            return "success" in before
        case "all_skipped":
            return bool(before & {"success", "failed", "upstream_failed"})
    return task.is_mapped and task_id in over_none and before <= {"success"}


def _over_no_values(run: Mapping[str, Any], instances: Sequence[Instance], instance: Instance) -> bool:
    """Return whether a mapped task was skipped because there are no values, rather than by who or what ended its run.

    Airflow says no end of a task that it skips for that; one that was cleared keeps the end that it had before.
    """
    if instance["map_index"] != -1:
        return False
    if run["state"] == "failed" and not any(one["state"] == "failed" for one in instances):
        return False  # as a run is that took too long
    started, ended = run["start_date"], instance["end_date"]
    return ended is None or (started is not None and datetime.fromisoformat(ended) < datetime.fromisoformat(started))


def state_of_run(
    state: PartitionState,
    instances: Sequence[Instance],
    unrun: Collection[str],
    failed_itself: Callable[[Instance], bool],
) -> PartitionState:
    """Return how a run ended, by what its tasks did rather than by its own colour.

    One of which a step failed did, or could not run for a failure before it, whatever Airflow has skipped or run
    after it.

    Args:
        state: What Airflow calls the run: ok or failed.
        instances: Its task instances.
        unrun: The tasks of which nothing has run; see :func:`never_ran`.
        failed_itself: Whether an instance that failed did so by its own word: of others the run may have been marked.
    """
    failed = [one for one in instances if one["state"] in _FAILED and one.get("operator_name") in _STEP_OPERATORS]
    if state is PartitionState.OK and failed:
        return PartitionState.FAILED
    if unrun:
        # A DAG with fail_fast=True skips the rest, as a mark does.
        if any(one["state"] == "failed" and failed_itself(one) for one in failed):
            return PartitionState.FAILED
        ended = ("success", "failed")
        began = any(instance["state"] in ended and instance.get("try_number", 1) for instance in instances)
        return PartitionState.PARTIAL if state is PartitionState.OK and began else PartitionState.CANCELED
    if state is PartitionState.OK and instances and all(instance["state"] == "skipped" for instance in instances):
        return PartitionState.SKIPPED
    return state


def to_run(instances: Iterable[Instance], unrun: Collection[str]) -> list[Marker]:
    """Return what a run needs again to be whole: what failed, and the tasks that never ran."""
    rest = {marker_of(instance) for instance in instances if instance["state"] not in ("success", "skipped")}
    return markers(rest | set(unrun))


def marker_of(instance: Instance) -> Marker:
    """Return how Airflow is told of an instance: a task, or of a mapped one also which of its instances it is."""
    task_id, map_index = _place(instance)
    return task_id if map_index < 0 else (task_id, map_index)


def markers(some: Collection[Marker]) -> list[Marker]:
    """Return tasks, and instances of others, in order.

    Example:
        >>> markers({"load", ("load", 1), ("check", 2)})
        ['load', ('check', 2)]
    """
    tasks = sorted(one for one in some if isinstance(one, str))
    return [*tasks, *sorted(one for one in some if not isinstance(one, str) and one[0] not in tasks)]


def ids_of_steps(tasks: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the tasks that are named as steps are, by name, also in task groups; of several that may be it, none.

    Args:
        tasks: Tasks, or task instances, as Airflow tells of them.

    Example:
        >>> ids_of_steps({"task_id": task_id} for task_id in ("eod.load", "check", "archive.check", "a.end", "b.end"))
        {'load': 'eod.load', 'check': 'check'}
    """
    found: dict[str, dict[str, bool]] = {}
    for task in tasks:
        name = task["task_id"].rpartition(".")[-1]
        found.setdefault(name, {})[task["task_id"]] = task.get("operator_name") in _STEP_OPERATORS
    ids: dict[str, str] = {}
    for name, named in found.items():
        some = [task_id for task_id, is_step in named.items() if is_step] or [*named]
        if len(some) == 1 or name in some:
            ids[name] = some[0] if len(some) == 1 else name
    return ids


def failed_without_task(instances: Iterable[Mapping[str, Any]]) -> str:
    """Return why a run failed of which no task did.

    Example:
        >>> failed_without_task([{"task_id": "load", "start_date": None}])
        'the run failed in Airflow before any of its tasks'
    """
    instances = list(instances)
    if waiting := sorted({task["task_id"] for task in instances if task.get("state") == "upstream_failed"}):
        return f"{', '.join(waiting)} did not run: what went before had failed"
    begun = [task for task in instances if task.get("start_date")]
    cut = sorted({task["task_id"] for task in begun if not task.get("end_date")})
    if not begun:
        return "the run failed in Airflow before any of its tasks"
    when = f"while {', '.join(cut)} ran" if cut else "before all of its tasks had run"
    return f"the run failed in Airflow {when}, although no task did: see its dagrun_timeout"
