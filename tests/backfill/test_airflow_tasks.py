"""What task instances say of a run of Airflow's."""

from __future__ import annotations

from typing import Any

import pytest

from flowctx.backfill.airflow_tasks import failed_without_task, never_ran, state_of_run, tasks_by_id, to_run
from flowctx.core.batches.records import PartitionState

CHAIN = tasks_by_id(
    [
        {"task_id": "one", "downstream_task_ids": ["two"]},
        {"task_id": "two", "downstream_task_ids": ["three"]},
        {"task_id": "three", "downstream_task_ids": []},
    ]
)


RUN = {"state": "success", "start_date": "2026-01-09T12:00:00+00:00"}
BEFORE, SINCE = "2026-01-09T11:00:00+00:00", "2026-01-09T12:30:00+00:00"


def instances(*states: tuple[str, int]) -> list[dict[str, Any]]:
    names = ("one", "two", "three")
    common = {"operator_name": "StepOperator", "map_index": -1, "end_date": None}
    return [
        {"task_id": name, "state": state, "try_number": tries, **common}
        for name, (state, tries) in zip(names, states, strict=True)
    ]


@pytest.mark.parametrize(
    ("run", "tasks", "unrun", "state"),
    [
        ("ok", [("success", 1), ("success", 1), ("success", 1)], set(), "ok"),
        ("ok", [("skipped", 1), ("skipped", 0), ("skipped", 0)], set(), "skipped"),
        ("ok", [("success", 1), ("skipped", 1), ("skipped", 0)], set(), "ok"),
        ("failed", [("failed", 1), ("upstream_failed", 0), ("upstream_failed", 0)], set(), "failed"),
        ("failed", [("failed", 1), ("skipped", 0), ("skipped", 0)], {"two", "three"}, "canceled"),
        ("failed", [("skipped", 0), ("skipped", 0), ("skipped", 0)], {"one", "two", "three"}, "canceled"),
        ("ok", [("skipped", 0), ("skipped", 0), ("skipped", 0)], {"one", "two", "three"}, "canceled"),
        ("ok", [("success", 2), ("skipped", 0), ("skipped", 0)], {"two", "three"}, "partial"),
        ("ok", [("success", 0), ("success", 1), ("success", 1)], {"one"}, "partial"),
        ("ok", [("failed", 1), ("success", 1), ("success", 1)], set(), "failed"),
        ("ok", [("skipped", 1), ("failed", 1), ("skipped", 0)], {"three"}, "failed"),
        ("ok", [("upstream_failed", 0), ("success", 1), ("success", 1)], set(), "failed"),
    ],
)
def test_a_colour_is_no_word(run: str, tasks: list[tuple[str, int]], unrun: set[str], state: str) -> None:
    """A task that Airflow skipped or somebody marked has not run, unless a step's own skip led to it."""
    found = instances(*tasks)
    assert never_ran(RUN, found, CHAIN, lambda task: None) == unrun
    assert str(state_of_run(PartitionState(run), found, unrun, lambda instance: False)) == state


@pytest.mark.parametrize(("state", "is_whole"), [("success", False), ("failed", True)])
def test_a_run_without_tasks_has_done_nothing(state: str, is_whole: bool) -> None:
    """Airflow calls it a success where a logical date lies outside of the DAG's dates."""
    unrun = never_ran({**RUN, "state": state}, [], CHAIN, lambda task: None)
    assert unrun == (set() if is_whole else {"one", "two", "three"})
    of_airflow = PartitionState.FAILED if is_whole else PartitionState.OK
    found = state_of_run(of_airflow, [], unrun, lambda instance: False)
    assert found is (PartitionState.FAILED if is_whole else PartitionState.CANCELED)


def test_a_step_that_says_that_it_failed_was_not_stopped() -> None:
    """The rest is skipped where a DAG fails fast, as where somebody marks the run: the step's own word tells."""
    found = instances(("success", 1), ("failed", 1), ("skipped", 0))
    unrun = never_ran(RUN, found, CHAIN, lambda task: None)
    asked = []
    states = [
        state_of_run(PartitionState.FAILED, found, unrun, lambda instance, word=word: asked.append(instance) or word)
        for word in (True, False)
    ]
    assert [*map(str, states), *(instance["task_id"] for instance in asked)] == ["failed", "canceled", "two", "two"]


@pytest.mark.parametrize(("failed", "unrun"), [(True, {"two", "three"}), (False, set())])
def test_a_step_that_was_to_be_tried_again_has_not_skipped_itself(failed: bool, unrun: set[str]) -> None:
    """Whoever marks its run skips it as it waits: its last word is that it failed."""
    found = instances(("success", 1), ("skipped", 1), ("skipped", 0))
    found[1] = {**found[1], "max_tries": 1}
    assert never_ran(RUN, found, CHAIN, lambda task: None, lambda instance: failed) == unrun


def instance_of(task_id: str, map_index: int, state: str, try_number: int) -> dict[str, Any]:
    common = {"operator_name": "StepOperator", "end_date": None}
    return {"task_id": task_id, "map_index": map_index, "state": state, "try_number": try_number, **common}


def test_each_mapped_instance_has_its_own_word() -> None:
    """One instance that skipped itself does not speak for those that had not begun when the run was marked."""
    fetch = [("success", 1), ("skipped", 1), ("skipped", 0), ("skipped", 0)]
    found = [instance_of("fetch", n, *how) for n, how in enumerate(fetch)]
    found += [instance_of("check", -1, "failed", 1), instance_of("publish", -1, "skipped", 0)]
    before = [{"task_id": name, "downstream_task_ids": ["publish"]} for name in ("fetch", "check")]
    tasks = tasks_by_id([*before, {"task_id": "publish", "trigger_rule": "none_failed"}])
    unrun = never_ran(RUN, found, tasks, lambda task: None)
    assert (unrun, to_run(found, unrun)) == ({"fetch", "publish"}, ["check", "fetch", "publish"])


@pytest.mark.parametrize(
    ("loaded", "unrun"),
    [
        ([("skipped", 0), ("success", 1), ("skipped", 0)], {"load"}),  # in a mapped group: the last one never ran
        ([("skipped", 0), ("success", 1), ("success", 1)], set()),
        ([("skipped", 0), ("skipped", 0), ("skipped", 0)], set()),  # after all instances: the skip is for each
    ],
)
def test_a_skip_in_a_mapped_group_is_for_its_own_instance(loaded: list[tuple[str, int]], unrun: set[str]) -> None:
    """Where instances have begun, a skip before another one has not skipped what follows for all."""
    found = [instance_of("fetch", n, "success" if n else "skipped", 1) for n in range(3)]
    found += [instance_of("load", n, *how) for n, how in enumerate(loaded)]
    tasks = tasks_by_id([{"task_id": "fetch", "downstream_task_ids": ["load"]}, {"task_id": "load"}])
    assert never_ran(RUN, found, tasks, lambda task: None) == unrun


@pytest.mark.parametrize(
    ("rule", "unrun"), [("all_success", set()), ("none_failed", {"three"}), ("all_done", {"three"})]
)
def test_what_runs_after_skips_was_left(rule: str, unrun: set[str]) -> None:
    """A step whose rule lets it run after a skip was skipped by a mark, unless a branch did not choose it."""
    found = instances(("skipped", 1), ("success", 1), ("skipped", 0))
    before = [{"task_id": name, "downstream_task_ids": ["three"]} for name in ("one", "two")]
    tasks = tasks_by_id([*before, {"task_id": "three", "trigger_rule": rule}])
    assert never_ran(RUN, found, tasks, lambda task: None) == unrun
    assert never_ran(RUN, found, tasks, {"two": {"skipped": ["three"]}}.get) == set()


def test_a_branch_may_skip() -> None:
    """What a branching task did not choose was skipped by a word."""
    found = instances(("success", 1), ("skipped", 0), ("skipped", 0))
    assert never_ran(RUN, found, CHAIN, {"one": {"followed": []}}.get) == set()


@pytest.mark.parametrize(
    ("choice", "rule", "unrun"),
    [
        ({"followed": ["two"]}, "all_success", {"two"}),
        ({"followed": ["two"]}, "none_failed", {"two", "join"}),
        ({"followed": ["two"]}, "none_failed_min_one_success", {"two", "join"}),
        ({"followed": []}, "none_failed_min_one_success", set()),
        ({"skipped": ["three"]}, "one_success", {"two", "join"}),
        ({"skipped": ["two", "three", "join"]}, "all_done", set()),
        (None, "all_success", {"two", "three", "join"}),
        ("s3://xcom/skipmixin_key", "all_success", set()),
    ],
)
def test_what_a_branch_chose_was_left(choice: dict[str, list[str]] | str | None, rule: str, unrun: set[str]) -> None:
    """Of the tasks after one that chooses, a run that was stopped has left those that were chosen, and their joins.

    Where an XCom backend keeps what it chose elsewhere, none counts as chosen.
    """
    after = [("one", ["two", "three"]), ("two", ["join"]), ("three", ["join"])]
    tasks = [{"task_id": name, "downstream_task_ids": to} for name, to in after]
    found = instances(("success", 1), ("skipped", 0), ("skipped", 0))
    found.append({**found[2], "task_id": "join"})
    join = {"task_id": "join", "trigger_rule": rule}
    assert never_ran(RUN, found, tasks_by_id([*tasks, join]), {"one": choice}.get) == unrun


@pytest.mark.parametrize(
    ("rule", "before", "map_index", "unrun"),
    [
        ("one_failed", [("success", 1), ("success", 1)], -1, False),
        ("one_failed", [("success", 1), ("skipped", 0)], -1, True),
        ("all_failed", [("success", 1), ("failed", 1)], -1, False),
        ("all_failed", [("failed", 1), ("failed", 1)], -1, True),
        ("all_skipped", [("success", 1), ("success", 1)], -1, False),
        ("all_done", [("success", 1), ("success", 1)], -1, True),
        ("mapped", [("success", 1), ("success", 1)], -1, False),
        ("mapped", [("success", 1), ("success", 1)], 0, True),
        ("mapped", [("success", 1), ("failed", 1)], -1, True),
    ],
)
def test_a_rule_may_skip(rule: str, before: list[tuple[str, int]], map_index: int, unrun: bool) -> None:
    """What Airflow skips by the task's own trigger rule, or as it is mapped over no values, was not left."""
    how = {"is_mapped": True} if rule == "mapped" else {"trigger_rule": rule}
    after = {"downstream_task_ids": ["three"]}
    tasks = tasks_by_id([{"task_id": "one", **after}, {"task_id": "two", **after}, {"task_id": "three", **how}])
    found = instances(*before, ("skipped", 0))
    found[2]["map_index"] = map_index
    assert ("three" in never_ran(RUN, found, tasks, lambda task: None)) is unrun


@pytest.mark.parametrize(
    ("run", "beside", "ended", "unrun"),
    [
        ("success", "success", None, set()),
        ("success", "success", SINCE, {"two", "three"}),  # somebody marked the run as successful
        ("success", "success", BEFORE, set()),  # somebody had stopped it, and cleared it since
        ("failed", "failed", None, set()),
        ("failed", "failed", SINCE, {"two", "three"}),  # somebody marked it as failed while a task ran
        ("failed", "success", None, {"two", "three"}),  # it took too long
    ],
)
def test_a_run_that_was_ended_has_mapped_nothing(run: str, beside: str, ended: str | None, unrun: set[str]) -> None:
    """A mapped task that had not been expanded when its run was ended never ran, nor what follows it."""
    after = [("one", "two"), ("two", "three")]
    tasks = [{"task_id": name, "is_mapped": name == "two", "downstream_task_ids": [to]} for name, to in after]
    tasks += [{"task_id": "three"}, {"task_id": "beside"}]
    found = [*instances(("success", 1), ("skipped", 0), ("skipped", 0)), {"task_id": "beside", "state": beside}]
    found[1]["end_date"] = ended
    assert never_ran({**RUN, "state": run}, found, tasks_by_id(tasks), lambda task: None) == unrun


def test_what_is_cleared_is_what_is_missing() -> None:
    """Failed tasks, those that waited for them, and those that never ran are to run again."""
    found = instances(("success", 2), ("failed", 1), ("skipped", 0))
    assert to_run(found, never_ran(RUN, found, CHAIN, lambda task: None)) == ["three", "two"]


def test_an_instance_that_failed_runs_again_alone() -> None:
    """Others of its mapped task stay as they are, unless that never ran as a whole."""
    found = [instance_of("fetch", n, state, 1) for n, state in enumerate(["success", "failed", "up_for_retry"])]
    found.append(instance_of("publish", -1, "upstream_failed", 0))
    assert to_run(found, ()) == ["publish", ("fetch", 1), ("fetch", 2)]
    assert to_run(found, ("fetch",)) == ["fetch", "publish"]


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ([("load", None, None)], "before any of its tasks"),
        ([("load", "12:00", "12:01"), ("check", "12:01", None)], "while check ran, although no task did: see its dag"),
        (
            [("load", "12:00", "12:01"), ("check", None, None)],
            "before all of its tasks had run, although no task did: ",
        ),
    ],
)
def test_a_run_that_ended_without_a_failed_task(tasks: list[tuple[str, str | None, str | None]], why: str) -> None:
    """As Airflow ends a run at its dagrun_timeout: what ran then has a start and no end."""
    names = ("task_id", "start_date", "end_date")
    assert why in failed_without_task([dict(zip(names, task, strict=True)) for task in tasks])
