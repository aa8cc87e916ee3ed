"""What a step costs on Airflow beside a plain task: running it, and parsing its DAG."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from report import compare, show

TASKS = 20
PAYLOAD = {"rows": ["x" * 100] * 20}


def plain(dag_id: str, tasks: int) -> Any:
    """A chain of ``@task`` functions, each returning its own output."""
    from airflow.sdk import DAG, task

    @task
    def work(before: Any = None) -> dict[str, Any]:
        return dict(PAYLOAD)

    with DAG(dag_id) as dag:
        done = None
        for number in range(tasks):
            done = work.override(task_id=f"step_{number}")(done)
    return dag


def dict_passing(dag_id: str, tasks: int) -> Any:
    """A chain of ``@task`` functions that hand the whole context on as a dict, as people write it by hand."""
    from airflow.sdk import DAG, task

    @task(multiple_outputs=False)
    def work(ctx: dict[str, Any], name: str) -> dict[str, Any]:
        return {**ctx, "step_outputs": {**ctx["step_outputs"], name: dict(PAYLOAD)}}

    with DAG(dag_id) as dag:
        ctx: Any = {"params": {}, "step_outputs": {}}
        for number in range(tasks):
            ctx = work.override(task_id=f"step_{number}")(ctx, f"step_{number}")
    return dag


def ours(dag_id: str, tasks: int) -> Any:
    """The same chain as a workflow."""
    from flowctx import Workflow
    from flowctx.airflow import workflow_dag

    flow = Workflow(dag_id)
    for number in range(tasks):
        flow.step(name=f"step_{number}")(_work)
    return workflow_dag(flow)


def _work(ctx: Any) -> dict[str, Any]:
    return dict(PAYLOAD)


KINDS = {"plain @task": plain, "dict-passing by hand": dict_passing, "flowctx steps": ours}


def main() -> None:
    """Print the time to parse a DAG, flowctx's own time in a step, and the time per task in ``dag.test()``."""
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-") as home:
        os.environ.update(
            AIRFLOW_HOME=home, AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR"
        )
        _parse_time()
        _own_time()
        _task_time()


def _parse_time() -> None:
    compare(
        "Parsing a DAG of 10 tasks",
        {name: lambda make=make, name=name: make(_dag_id(name), 10) for name, make in KINDS.items()},
        rounds=15,
        repeat=3,
        budget="flowctx at most 1.3× the plain DAG",
    )


def _task_time() -> None:
    from flowctx.testing import run_dag

    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    dags = {name: make(_dag_id(name), TASKS) for name, make in KINDS.items()}
    for dag in dags.values():
        run_dag(dag).raise_for_failure()  # makes the database, and has the DAG in it, as dag.test() wants it
    for _ in range(3):
        for name, dag in dags.items():
            started = time.perf_counter()
            state = dag.test().state
            assert state == "success", f"{name} ended {state}"
            seconds[name].append((time.perf_counter() - started) / TASKS)
    best = {name: min(times) for name, times in seconds.items()}
    show(f"Running a chain of {TASKS} tasks", best, unit="a task", budget="flowctx's own time 5 ms a step")


def _own_time() -> None:
    """Print what a step with one predecessor and 2 KB of output takes, where Airflow's own calls take no time."""
    from types import SimpleNamespace

    dag = ours("bench_own", 2)
    run = SimpleNamespace(run_id="r", conf={}, partition_key=None, partition_date=None, logical_date=None)
    run.data_interval_start = run.data_interval_end = run.start_date = None
    run.run_type, run.clear_number = "manual", 0
    ti = SimpleNamespace(task_id="step_1", try_number=1, map_index=-1, context_carrier=None)
    context = {"dag": dag, "dag_run": run, "ti": ti, "params": {}, "task": dag.get_task("step_0")}
    context["ti"].xcom_pull = lambda **_: pushed
    pushed: Any = None
    pushed = dag.get_task("step_0").execute.__wrapped__(dag.get_task("step_0"), context)
    task = context["task"] = dag.get_task("step_1")
    execute = type(task).execute.__wrapped__
    compare(
        "A step, without Airflow's calls",
        {"flowctx's own time": lambda: execute(task, context), "the function alone": lambda: _work(None)},
        rounds=15,
        repeat=100,
        budget="5 ms",
    )


def _dag_id(name: str) -> str:
    return "bench_" + "".join(c for c in name if c.isalpha())


if __name__ == "__main__":
    main()
