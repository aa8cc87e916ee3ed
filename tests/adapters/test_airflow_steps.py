"""Steps as tasks: operators, the decorator, and ordinary tasks among them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest
from airflow.sdk import DAG, TaskGroup, get_current_context, task

from adapters.airflow_names import DagSerialization
from flowctx import PartitionScheme, RetryPolicy, StepResult, StepStatus, Workflow, WorkflowError
from flowctx.airflow import StepOperator, workflow_dag
from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.steps import retry_arguments
from flowctx.core.engine_versions import Ability
from flowctx.testing import run_dag


def output(result, step: str) -> object:
    """Return a step's output from a run that did not fail."""
    return result.raise_for_failure().context.get_output(step)


def test_the_decorator_chains_steps_like_any_task() -> None:
    """@task.step functions are called in a DAG with the tasks they come after."""
    with DAG("decorated") as dag:

        @task.step(config={"symbol": "IBM"})
        def fetch(ctx, config) -> dict:
            return {"symbol": config["symbol"], "rows": 3}

        @task.step
        def count(ctx):
            return StepResult.ok({"n": ctx.get_output("fetch", "rows")}, {"counted": True})

        count(fetch())
    result = run_dag(dag)
    assert output(result, "count") == {"n": 3}
    assert result.context.params == {"counted": True}
    assert count.function is not None


def test_config_takes_xcoms_and_templates() -> None:
    """A step's config may hold an ordinary task's XCom and Jinja; the config of the call is on top."""
    with DAG("configured", params={"who": "world"}) as dag:

        @task
        def rows():
            return [1, 2, 3]

        @task.step(config={"greeting": "hello {{ params.who }}", "n": 1})
        def use(ctx, config):
            return dict(config)

        use(config={"rows": rows(), "n": 2})
    assert output(run_dag(dag), "use") == {"greeting": "hello world", "n": 2, "rows": [1, 2, 3]}


def test_a_workflow_steps_own_config_is_not_templated() -> None:
    """What is Jinja to Airflow is just text in a step that runs on every engine."""
    flow = Workflow("text")

    @flow.step(config={"pattern": "{{ x }}"})
    def keep(ctx, config):
        return dict(config)

    with DAG("not_templated") as dag:
        StepOperator(step=flow["keep"], workflow=flow, config={"run": "{{ run_id }}"})
    assert output(run_dag(dag, run_id="manual__r"), "keep") == {"pattern": "{{ x }}", "run": "manual__r"}


def test_an_ordinary_task_reads_plain_data() -> None:
    """xcom_pull of a step gives built-ins, with the output as it was returned."""
    with DAG("mixed") as dag:

        @task.step
        def fetch(ctx):
            return {"rows": [1, 2], "day": date(2026, 1, 9)}

        @task
        def read():
            pulled = get_current_context()["ti"].xcom_pull(task_ids="fetch")
            assert type(pulled) is dict
            return pulled["output"]

        @task.step
        def use(ctx, config):
            return {"read": config["read"], "far": ctx.get_output("fetch", "rows")}

        done = read()
        fetch() >> done
        use(config={"read": done})
    result = run_dag(dag)
    assert output(result, "use") == {"read": {"rows": [1, 2], "day": {"$date": "2026-01-09"}}, "far": [1, 2]}
    assert {step.name for step in result.steps} == {"fetch", "read", "use"}


def test_ancestors_are_found_through_tasks_and_groups() -> None:
    """A step sees the steps before it through ordinary tasks and task groups, under their own names."""
    with DAG("grouped") as dag:

        @task.step
        def load(ctx, config):
            return {"from": config["name"]}

        @task
        def pause():
            return None

        with TaskGroup("left"):
            first = load.override(task_id="load_left")(config={"name": "l"})
        with TaskGroup("right"):
            second = load.override(task_id="load_right")(config={"name": "r"})

        @task.step
        def join(ctx):
            return {name: ctx.get_output(name, "from") for name in ctx.step_outputs}

        @task.step
        def later(ctx):
            return {"far": ctx.get_output("load_left", "from")}

        waited = pause()
        [first, second] >> waited >> (joined := join()) >> later()
        assert joined.operator.task_id == "join"
    result = run_dag(dag)
    assert output(result, "join") == {"load_left": "l", "load_right": "r"}
    assert output(result, "later") == {"far": "l"}


def test_two_steps_of_one_name_are_not_mixed_up() -> None:
    """At a join, two tasks that are the same step are an error that names both."""

    def load(ctx):
        return {}

    with DAG("ambiguous") as dag:
        with TaskGroup("a"):
            one = StepOperator(step=load, task_id="load")
        with TaskGroup("b"):
            other = StepOperator(step=load, task_id="load")
        [one, other] >> StepOperator(step=lambda ctx: {}, task_id="join")
    failed = run_dag(dag)["join"]
    assert failed.attempts == 1
    assert "'a.load' and 'b.load' are both step 'load'" in str(failed.error)


def test_a_join_after_a_branch_sees_what_ran() -> None:
    """The branch not taken has no output; what is before it is seen through the one that was."""
    with DAG("branched") as dag:

        @task.step
        def fetch(ctx):
            return {"x": 1}

        @task.branch
        def choose():
            return "short"

        @task.step
        def short(ctx):
            return {"y": ctx.get_output("fetch", "x")}

        @task.step
        def long(ctx):
            return {}

        @task.step(trigger_rule="none_failed_min_one_success")
        def join(ctx):
            return {"seen": list(ctx.step_outputs), "x": ctx.get_output("fetch", "x")}

        fetch() >> choose() >> [a := short(), b := long()] >> join()
        assert a.operator.task_id != b.operator.task_id
    result = run_dag(dag)
    assert output(result, "join") == {"seen": ["fetch", "short"], "x": 1}
    assert result["long"].status is StepStatus.SKIPPED


def test_a_skip_hands_on_what_was_before_it() -> None:
    """A task with another trigger rule runs after a skipped step, sees its reason and the steps before it."""
    with DAG("after_skip") as dag:

        @task.step
        def fetch(ctx):
            return StepResult.ok({"x": 1}, {"mode": "fast"})

        @task.step
        def enrich(ctx):
            return StepResult.skip("nothing to enrich")

        @task.step(trigger_rule="none_failed")
        def report(ctx):
            return {"x": ctx.get_output("fetch", "x"), "enriched": ctx.get_output("enrich"), "mode": ctx.params["mode"]}

        @task(trigger_rule="none_failed")
        def why():
            return get_current_context()["ti"].xcom_pull(task_ids="enrich")["error"]

        skipped = enrich(fetch())
        skipped >> [report(), why()]
    result = run_dag(dag)
    assert output(result, "report") == {"x": 1, "enriched": None, "mode": "fast"}
    assert (result["enrich"].error, result["why"].status) == ("nothing to enrich", StepStatus.OK)


@pytest.mark.needs("airflow", "retry policies")
def test_retries_are_the_steps_own_or_the_authors() -> None:
    """A flowctx policy becomes the task's; an int and Airflow's own arguments are Airflow's."""
    with DAG("retrying", default_args={"retries": 4}):
        policy = RetryPolicy(retries=2, delay=timedelta(seconds=7))

        @task.step(retries=policy)
        def own(ctx): ...

        @task.step(retries=3)
        def plain(ctx): ...

        @task.step
        def default(ctx): ...

        own, plain, default = (step().operator for step in (own, plain, default))
    assert (own.retries, own.retry_policy.policy) == (2, policy)
    assert (plain.retries, plain.retry_policy) == (3, None)
    assert (default.retries, default.retry_policy) == (4, None)


@pytest.mark.needs("airflow", "retry policies")
def test_the_wait_starts_anew_when_a_task_is_cleared() -> None:
    """The first retry after a clear waits as long as the first retry ever."""
    with DAG("cleared"):

        @task.step(retries=RetryPolicy(retries=2, delay=timedelta(seconds=10)))
        def fetch(ctx): ...

        policy = fetch().operator.retry_policy
    first, second = (policy.evaluate(exception=OSError(), try_number=n, max_tries=2).retry_delay for n in (1, 2))
    cleared = policy.evaluate(exception=OSError(), try_number=4, max_tries=5).retry_delay
    assert (first.seconds, second.seconds, cleared.seconds) == (10, 20, 10)


def test_where_airflow_has_no_retry_policies_its_own_growth_is_taken(monkeypatch) -> None:
    """Number, first wait and longest wait are the policy's; whether they grow is told in Airflow's own words."""
    old = replace(AIRFLOW, abilities={"retry policies": Ability("99.0", "")})
    monkeypatch.setattr("flowctx.airflow.steps.AIRFLOW", old)
    growing = RetryPolicy(retries=2, delay=timedelta(seconds=7), max_delay=timedelta(seconds=60))
    first = {"retries": 2, "retry_delay": timedelta(seconds=7)}
    grown = {"retry_exponential_backoff": True, "max_retry_delay": timedelta(seconds=60)}
    assert retry_arguments(growing, {}, own=True) == first | grown
    assert retry_arguments(replace(growing, backoff=1), {}, own=True) == first
    capped = replace(growing, backoff=1, delay=timedelta(hours=2))
    assert retry_arguments(capped, {}, own=True)["retry_delay"] == timedelta(seconds=60)


def test_conditions_skip() -> None:
    """@task.step(when=...) skips, with all that follows."""
    with DAG("conditional", params={"full": False}) as dag:

        @task.step(when=lambda ctx: ctx.params["full"])
        def enrich(ctx):
            return {}

        @task.step
        def use(ctx):
            return {}

        use(enrich())
    assert {step.status for step in run_dag(dag).steps} == {StepStatus.SKIPPED}
    assert {step.status for step in run_dag(dag, params={"full": True}).steps} == {StepStatus.OK}


def test_mapped_steps_are_gathered() -> None:
    """expand() makes an instance per config; a step after it sees all of them by map index, holes included."""
    with DAG("expanded") as dag:

        @task.step(config={"factor": 10})
        def load(ctx, config):
            return StepResult.skip("nothing") if config["n"] == 1 else {"n": config["n"] * config["factor"]}

        @task.step(trigger_rule="none_failed")
        def total(ctx):
            return {"seen": ctx.get_output("load")}

        load.expand(config=[{"n": 0}, {"n": 1}, {"n": 2}]) >> total()
    done = run_dag(dag)
    assert output(done, "total") == {"seen": {"0": {"n": 0}, "2": {"n": 20}}}
    assert done.context.get_output("load") == {"0": {"n": 0}, "2": {"n": 20}}


def test_classic_operators_are_mapped_too() -> None:
    """StepOperator.partial().expand() runs one instance per config."""

    def load(ctx, config):
        return {"n": config["n"]}

    with DAG("partial") as dag:
        StepOperator.partial(task_id="load", step=load).expand(config=[{"n": 0}, {"n": 1}])
    assert [(s.name, s.status) for s in run_dag(dag).steps] == [("load[0]", "ok"), ("load[1]", "ok")]


def test_the_stored_dag_is_the_same_at_each_parse() -> None:
    """Nothing of what is stored depends on the process that parsed the file, or Airflow would see a new version."""
    flow = Workflow("stored", partitions=PartitionScheme(symbol=["IBM"]))
    flow.step(retries=RetryPolicy(retries=1), when=bool)(one_symbol)

    def stored() -> str:
        with DAG("stored_too") as dag:
            decorated = task.step(one_symbol, when=lambda ctx: True, retries=RetryPolicy(retries=1))
            decorated() >> decorated.override(task_id="many").expand(config=[{"n": 1}])
            StepOperator.partial(task_id="classic", step=one_symbol).expand(config=[{"n": 1}])
        dags = dag, workflow_dag(flow), workflow_dag(flow, map_over=["symbol"])
        return json.dumps([DagSerialization.serialize_dag(dag) for dag in dags], sort_keys=True)

    first = stored()
    assert first == stored()
    assert "0x" not in first


def test_what_an_ordinary_task_raised_is_in_the_result() -> None:
    """The result has an entry for every task, with the error of those that failed."""
    with DAG("ordinary_failure") as dag:

        @task
        def broken():
            raise OSError("disk full")

        @task.step
        def use(ctx):
            return {}

        broken() >> use()
    result = run_dag(dag)
    assert (result.status, result["broken"].error) == (StepStatus.FAILED, "OSError: disk full")
    assert (result["use"].status, result["use"].error) == (StepStatus.NOT_RUN, "step 'broken' before it failed")


def one_symbol(ctx, config) -> dict:
    """Take a config."""
    return {}


def print_nothing() -> None:
    """Take no context."""


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: StepOperator(step="fetch", task_id="x"), "neither a step nor a function"),
        (lambda: StepOperator(step=lambda ctx: {}, task_id="x", do_xcom_push=False), "leave it on"),
        (lambda: task.step(lambda ctx: {}, task_id="x")(rows=[1]), "config={...}"),
        (lambda: StepOperator(step=one_symbol, config=3), "the config of step 'one_symbol' is 3; it must be a dict"),
        (lambda: task.step(config=3)(one_symbol)(), "the config of step 'one_symbol' is 3; it must be a dict"),
        (lambda: task.step()(one_symbol)(config=[1]), r"the config of step 'one_symbol' is \[1\]; it must be a dict"),
        (lambda: workflow_dag(one_symbol), "'one_symbol' is no workflow; pass what Workflow"),
        (lambda: StepOperator(step=print_nothing, task_id="x"), r"write it as \(ctx, config\)"),
    ],
)
def test_wrong_use_is_refused_when_the_dag_is_parsed(build, words: str) -> None:
    """What cannot work is an error of the DAG file, with what to write instead."""
    with DAG("wrong"), pytest.raises(WorkflowError, match=words):
        build()


def test_no_retries_are_none_whatever_airflow_has_for_other_tasks(monkeypatch):
    """``[core] default_task_retries`` is for other tasks; a DAG's default arguments hold where a step says nothing."""
    monkeypatch.setattr("airflow.sdk.bases.operator.DEFAULT_RETRIES", 2)
    flow = Workflow("quiet")
    for name, how in (("nothing", {}), ("never", {"retries": 0}), ("once", {"retries": 1})):
        flow.step(name, **how)(lambda ctx: None)
    for default_args, wanted in (({}, [0, 0, 1]), ({"retries": 3}, [3, 0, 1])):
        dag = workflow_dag(flow, default_args=default_args)
        stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))  # as the scheduler reads it
        assert [stored.get_task(step).retries for step in flow.steps] == wanted


@pytest.mark.parametrize(("default_args", "wanted"), [({"retries": 2}, [2, 2, 0]), ({}, [0, 0, 0])])
def test_a_function_with_a_workflow_has_the_retries_of_its_dag(monkeypatch, default_args, wanted) -> None:
    """However it is made a task; a policy that says none is the step's own."""
    monkeypatch.setattr("airflow.sdk.bases.operator.DEFAULT_RETRIES", 7)
    flow = Workflow("borrowed")

    def load(ctx): ...

    with DAG("borrows", default_args=default_args):
        plain = StepOperator(step=load, workflow=flow)
        made = task.step(workflow=flow)(load).override(task_id="made")().operator
        never = task.step(workflow=flow, retries=RetryPolicy())(load).override(task_id="never")().operator
    assert [task.retries for task in (plain, made, never)] == wanted
