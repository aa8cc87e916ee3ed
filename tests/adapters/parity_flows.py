"""Workflows that behave otherwise on one engine, or each time: what a comparison of engines has to find."""

from __future__ import annotations

import functools
import operator
import time
from datetime import timedelta
from typing import Any

import pyarrow as pa

from flowctx import RetryPolicy, StepResult, Workflow, WorkflowContext


def planted(name: str) -> Workflow:
    """Return a workflow of four steps, of which the second does what ``name`` says on one engine."""
    flow = Workflow(name)

    @flow.step()
    def fetch(ctx: WorkflowContext) -> dict[str, Any]:
        return {"values": [0.1, 0.2, 0.3], "rows": pa.table({"a": [1.0, 2.0]})}

    flow.step("odd", retries=RetryPolicy(retries=1, delay=timedelta(0)))(globals()[name])

    @flow.step()
    def after(ctx: WorkflowContext) -> dict[str, Any]:
        return {"seen": str(ctx.get_output("odd"))}

    return flow


def engine_of(ctx: WorkflowContext) -> str:
    """Return the name of the engine that runs a step."""
    return str(ctx.metadata["engine"]["name"])


def engines_name(ctx: WorkflowContext) -> dict[str, Any]:
    """Read the engine's name."""
    return {"engine": engine_of(ctx), "rows": 2}


def clock(ctx: WorkflowContext) -> dict[str, Any]:
    """Read the clock."""
    return {"at": time.perf_counter_ns(), "rows": 2}


def key_order(ctx: WorkflowContext) -> dict[str, Any]:
    """Depend on the order of a dict that is another one on Dagster."""
    found = {"bid": 1, "ask": 2}
    return {"quote": dict(reversed(found.items())) if engine_of(ctx) == "dagster" else found}


def float_sum(ctx: WorkflowContext) -> dict[str, Any]:
    """Add floats in another order on Airflow; sum() does so exactly since Python 3.12."""
    values = list(ctx.get_output("fetch", "values"))
    return {"total": functools.reduce(operator.add, reversed(values) if engine_of(ctx) == "airflow" else values)}


def dates(ctx: WorkflowContext) -> dict[str, Any]:
    """Write a table with times in another unit, and NaN for null, on Dagster."""
    there = engine_of(ctx) == "dagster"
    times = pa.array([1, 2], pa.timestamp("ms")).cast(pa.timestamp("ns" if there else "ms"))
    return {"rows": pa.table({"at": times, "x": pa.array([0.5, float("nan") if there else None])})}


def layouts(ctx: WorkflowContext) -> dict[str, Any]:
    """Write tables with an index, with other numbers, and with the columns in another order, on Dagster."""
    there = engine_of(ctx) == "dagster"
    plain = {"a": pa.array([1, 2]), "b": pa.array(["x", "y"])}
    index = {"__index_level_0__": pa.array([4, 7])} if there else {}
    return {
        "indexed": pa.table({**plain, **index}),
        "numbers": pa.table({"a": pa.array([1, 2], pa.float64() if there else pa.int64())}),
        "turned": pa.table(dict(reversed(plain.items())) if there else plain),
    }


def set_order(ctx: WorkflowContext) -> dict[str, Any]:
    """Depend on the order of a set, which is another one in each process."""
    return {"symbols": list({f"symbol {number}" for number in range(50)}), "rows": 50}


def failing(ctx: WorkflowContext) -> StepResult:
    """Fail on Airflow."""
    return StepResult.fail("no line", category="CONFIGURATION") if engine_of(ctx) == "airflow" else StepResult.ok({})


def retried(ctx: WorkflowContext) -> dict[str, Any]:
    """Need a second try on Dagster."""
    if engine_of(ctx) == "dagster" and ctx.metadata["engine"]["retry_number"] == 0:
        raise ConnectionError("the line is down")
    return {}


def skipped(ctx: WorkflowContext) -> StepResult:
    """Find nothing to do on Dagster."""
    return StepResult.skip("no trades") if engine_of(ctx) == "dagster" else StepResult.ok({"rows": 1})


#: For processes, which import a workflow by its name.
ordered_set = planted("set_order")
