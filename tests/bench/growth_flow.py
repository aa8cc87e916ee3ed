"""The workflow of a ledger of many runs: three steps that return a little, of 400 days and 100 symbols."""

from __future__ import annotations

import os
import time
from typing import Any

from flowctx import Daily, PartitionScheme, Workflow, WorkflowContext

growth = Workflow(
    "growth",
    partitions=PartitionScheme(
        date=Daily(start="2024-01-01", end="2025-02-03"), symbol=[f"S{number:03}" for number in range(100)]
    ),
    params={"limit": 3, "note": "a few words"},
)


@growth.step()
def fetch(ctx: WorkflowContext) -> dict[str, Any]:
    """Return some rows; say when the first partition has begun, in the file that is named for it."""
    if "FLOWCTX_BENCH_FIRST" in os.environ:
        try:
            with open(os.environ["FLOWCTX_BENCH_FIRST"], "x") as file:
                file.write(str(time.time()))
        except FileExistsError:
            pass
    return {"rows": 3, "close": 1.5, "note": "x" * 40}


@growth.step()
def check(ctx: WorkflowContext) -> dict[str, Any]:
    """Return what was looked at."""
    return {"rows": ctx.get_output("fetch", "rows")}


@growth.step()
def load(ctx: WorkflowContext) -> dict[str, Any]:
    """Return what was written."""
    return {"rows": ctx.get_output("fetch", "rows")}
