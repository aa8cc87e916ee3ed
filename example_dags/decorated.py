"""Steps among ordinary tasks, in TaskFlow style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import dag, task

from flowctx import RetryPolicy, StepResult, WorkflowContext


@dag(schedule=None, params={"symbol": "IBM"})
def decorated() -> None:
    """An ordinary task feeds a step; the step after it gates; an ordinary task reads what it found."""

    @task
    def quotes() -> list[float]:
        return [193.0, 193.27, 190.1]

    @task.step(retries=RetryPolicy(retries=2))
    def fetch(ctx: WorkflowContext, config: Mapping[str, Any]) -> StepResult:
        return StepResult.ok({"symbol": ctx.params["symbol"], "quotes": config["quotes"]})

    @task.step(config={"max_move": 0.25})
    def validate(ctx: WorkflowContext, config: Mapping[str, Any]) -> StepResult:
        first, *_, last = ctx.get_output("fetch", "quotes")
        move = last / first - 1
        if abs(move) > config["max_move"]:
            return StepResult.fail(f"{move:.0%} in a day", category="DATA_QUALITY")
        return StepResult.ok({"move": move}, context_updates={"validated": True})

    @task
    def tell(validated: dict[str, Any]) -> str:
        return f"moved by {validated['output']['move']:.1%}"

    tell(validate(fetch(config={"quotes": quotes()})))


decorated()
