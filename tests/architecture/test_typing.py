"""The types of the public names are promises: right uses pass mypy strict, wrong ones do not."""

from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[2]

RIGHT = """
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from flowctx import Daily, PartitionKey, PartitionScheme, RunResult, StepResult, Table, Workflow, WorkflowContext, run

scheme = PartitionScheme(date=Daily(start="2026-01-02", calendar="XNYS"), fund=["A", "B"])
flow = Workflow("flow", partitions=scheme, params={"limit": 3})

@flow.step(retries=2, config={"factor": 2})
def fetch(ctx: WorkflowContext, config: Mapping[str, Any]) -> StepResult:
    day: date | None = ctx.as_of_date
    fund: str = ctx.partition.fund if ctx.partition else ""
    return StepResult.ok({"day": day, "fund": fund})

@flow.step(after=[fetch])
def use(ctx: WorkflowContext) -> dict[str, Any]:
    return {"n": ctx.get_output("fetch", "n", 0)}

@flow.step(after=[use])
def batches(ctx: WorkflowContext) -> Iterator[Table]:
    yield ctx.get_output("fetch", "table")

result: RunResult = run(flow, partition="2026-01-02|A").raise_for_failure()
key: PartitionKey = scheme[0]
"""
WRONG = {
    "StepResult.ok(output=5)": "arg-type",
    "StepResult.fail(5)": "arg-type",
    "WorkflowContext(run_id=3)": "arg-type",
    "WorkflowContext.new().run_id = 'x'": "misc",
    "Workflow('x', partitions=['a'])": "arg-type",
    "run('flow')": "arg-type",
    "Daily('2026-01-02')": "call-arg|misc",
    "flow.step(retries='2')": "arg-type",
}


def check(tmp_path, code):
    (tmp_path / "uses.py").write_text(code)
    # With the settings of `make lint`, which are strict, and its cache.
    settings = [f"--config-file={ROOT}/pyproject.toml", f"--cache-dir={ROOT}/.mypy_cache"]
    return api.run([str(tmp_path / "uses.py"), *settings, "--show-error-codes"])


@pytest.mark.types
def test_right_uses_pass_and_wrong_ones_do_not(tmp_path):
    """A reader who follows the types is not told off, and each wrong use is, on its own line."""
    lines = RIGHT.strip().splitlines()
    first = len(lines) + 1
    out, err, _ = check(tmp_path, "\n".join([*lines, *WRONG]) + "\n")
    assert not err
    found = {int(line.split(":")[1]): line for line in out.splitlines() if ": error:" in line}
    assert set(found) == set(range(first, first + len(WRONG))), out
    for number, codes in enumerate(WRONG.values(), first):
        assert any(f"[{code}]" in found[number] for code in codes.split("|")), found[number]
