"""Workflows that the contract of an engine runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from flowctx import Daily, PartitionScheme, QualityMetrics, RetryPolicy, StepResult, Workflow, WorkflowContext

SCHEME = PartitionScheme(
    symbol=["FB", "IBM", "A|B"], date=Daily(start="2012-10-01", end="2012-10-31", calendar="WEEKDAYS")
)
KEY = {"date": "2012-10-26", "symbol": "IBM"}
PARAMS = {"limit": 3, "rate": Decimal("0.10"), "since": None}


def ordinary() -> Workflow:
    """Plain data of every kind, updates, two branches and a join; FB is skipped."""
    flow = Workflow("ordinary", partitions=SCHEME, params=PARAMS, extra_params=True)

    @flow.step()
    def fetch(ctx: WorkflowContext) -> StepResult:
        if ctx.partition is not None and ctx.partition.symbol == "FB":
            return StepResult.skip("FB did not trade")
        rows = {"rows": [1.5, None, "é", "\0"], "day": ctx.as_of_date, "rate": ctx.params["rate"], "$odd": b"\0"}
        return StepResult.ok({**rows, "nan": float("nan"), "took": timedelta(seconds=1), "big": 2**80})

    @flow.step(config={"factor": 2})
    def left(ctx: WorkflowContext, config: dict[str, Any]) -> StepResult:
        return StepResult.ok({"n": len(ctx.get_output("fetch", "rows")) * config["factor"]}, {"left": True})

    @flow.step(after=[fetch])
    def right(ctx: WorkflowContext) -> StepResult:
        return StepResult.ok(quality=QualityMetrics(counts={"rows": 3}), context_updates={"since": ctx.as_of_date})

    @flow.step(after=[left, right])
    def join(ctx: WorkflowContext) -> dict[str, Any]:
        return {"params": ctx.params, "seen": list(ctx.step_outputs), "far": ctx.get_output("fetch", "rate")}

    return flow


def flaky() -> Workflow:
    """A step that fails twice and is then well."""
    flow, tries = Workflow("flaky"), []

    @flow.step(retries=RetryPolicy(retries=3, delay=timedelta(milliseconds=10)))
    def fetch(ctx: WorkflowContext) -> dict[str, Any]:
        tries.append(ctx.run_id)
        if tries.count(ctx.run_id) < 3:
            raise ConnectionError("the line is down")
        return {"rows": 1}

    @flow.step()
    def use(ctx: WorkflowContext) -> dict[str, Any]:
        return {"n": ctx.get_output("fetch", "rows")}

    return flow


def failing() -> Workflow:
    """A gate that says no; what comes after it is not run, what stands beside it is."""
    flow = Workflow("failing")

    @flow.step(retries=3)
    def gate(ctx: WorkflowContext) -> StepResult:
        quality = QualityMetrics(passed=False, reasons=("40% in a day",))
        return StepResult.fail("40% in a day", category="DATA_QUALITY", output={"move": 0.4}, quality=quality)

    @flow.step()
    def later(ctx: WorkflowContext) -> None:
        return None

    @flow.step(after=[])
    def beside(ctx: WorkflowContext) -> dict[str, Any]:
        return {"x": 1}

    return flow


def raising(name: str, function: Callable[[WorkflowContext], Any], retries: int) -> Workflow:
    """One step that does not end well."""
    flow = Workflow(name)
    flow.step("broken", retries=retries)(function)
    return flow


def no_answer(ctx: WorkflowContext) -> None:
    """Take too long, each time."""
    raise TimeoutError("no answer in 30 s")


def bug(ctx: WorkflowContext) -> Any:
    """Have a bug."""
    rows: dict[str, Any] = {}
    return rows["missing"]


def a_set(ctx: WorkflowContext) -> Any:
    """Return what is no plain data."""
    return {"symbols": {"IBM"}}


def conflict() -> Workflow:
    """Two branches that write one parameter differently."""
    flow = Workflow("conflict")

    @flow.step(after=[])
    def one(ctx: WorkflowContext) -> StepResult:
        return StepResult.ok(context_updates={"mode": "a"})

    @flow.step(after=[])
    def other(ctx: WorkflowContext) -> StepResult:
        return StepResult.ok(context_updates={"mode": "b"})

    @flow.step(after=[one, other], retries=2)
    def join(ctx: WorkflowContext) -> dict[str, Any]:
        return {"mode": ctx.params["mode"]}

    return flow


def conditional() -> Workflow:
    """A step whose condition may not hold, and a join after it."""
    flow = Workflow("conditional", params={"full": False})

    @flow.step()
    def fetch(ctx: WorkflowContext) -> dict[str, Any]:
        return {"x": 1}

    @flow.step(when=lambda ctx: bool(ctx.params["full"]))
    def enrich(ctx: WorkflowContext) -> dict[str, Any]:
        return {"y": 2}

    @flow.step(after=[fetch])
    def report(ctx: WorkflowContext) -> dict[str, Any]:
        return {"x": ctx.get_output("fetch", "x")}

    @flow.step(after=[enrich, report])
    def join(ctx: WorkflowContext) -> dict[str, Any]:
        return {"all": sorted(ctx.step_outputs)}

    return flow


def notified() -> Workflow:
    """A step that may be left out, one that runs all the same, a notification that may fail, and one after that."""
    flow = Workflow("notified", params={"full": False, "records": 3})

    @flow.step()
    def fetch(ctx: WorkflowContext) -> StepResult:
        records = ctx.get_param("records", 0)
        if not records:
            return StepResult.fail("No records", category="DATA_QUALITY")
        return StepResult.ok({"record_count": records}, {"fetched": True})

    @flow.step(when=lambda ctx: bool(ctx.params["full"]))
    def enrich(ctx: WorkflowContext) -> dict[str, Any]:
        return {"enriched": ctx.get_output("fetch", "record_count", 0)}

    @flow.step()
    def rank(ctx: WorkflowContext) -> dict[str, Any]:
        return {"first": 1}

    @flow.step(run_if="not_failed")
    def store(ctx: WorkflowContext) -> dict[str, Any]:
        found = [ctx.get_output("fetch", "record_count", 0), ctx.get_output("enrich", "enriched", 0)]
        return {"stored": found, "seen": sorted(ctx.step_outputs), "fetched": ctx.params["fetched"]}

    @flow.step(optional=True, retries=RetryPolicy(retries=1, delay=timedelta(milliseconds=10)))
    def notify(ctx: WorkflowContext) -> StepResult:
        raise ConnectionError("the mail server does not answer")

    @flow.step()
    def report(ctx: WorkflowContext) -> dict[str, Any]:
        return {"sent": ctx.get_output("notify", "sent", False), "stored": ctx.get_output("store", "stored")}

    return flow


def hidden() -> Workflow:
    """A step that is skipped at once beside one that fails later, a join, and a step that runs after skips."""
    flow = Workflow("hidden", params={"broken": True})
    flow.step("news", after=[])(lambda ctx: StepResult.skip("nothing new"))
    flow.step("fetch", after=[])(lambda ctx: {"n": 1})

    @flow.step(after=["fetch"])
    def check(ctx: WorkflowContext) -> StepResult:
        return StepResult.fail("wrong", "DATA_QUALITY") if ctx.params["broken"] else StepResult.ok({"n": 2})

    flow.step("join", after=["news", check])(lambda ctx: None)
    flow.step("publish", run_if="not_failed")(lambda ctx: {"seen": sorted(ctx.step_outputs)})
    return flow
