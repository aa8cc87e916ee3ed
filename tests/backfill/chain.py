"""Net asset values, each from the one before: a workflow that batches run in processes of their own."""

from __future__ import annotations

import math
import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowctx import Daily, PartitionKey, PartitionScheme, StepResult, Workflow, WorkflowContext

SYMBOLS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]

chain = Workflow(
    "chain",
    partitions=PartitionScheme(
        symbol=SYMBOLS, date=Daily(start="2012-01-03", end="2014-12-31", calendar="XNYS", timezone="America/New_York")
    ),
    params={"scale": 1.0, "fail": "", "kills": ""},
)


def daily_return(key: PartitionKey, scale: float) -> float:
    """Return the return of a symbol on a date, the same each time."""
    return scale * math.sin(hash_of(key)) / 100


def hash_of(key: PartitionKey) -> int:
    """Return a number that depends on the key alone."""
    return int.from_bytes(str(key).encode(), "big") % 10_007


@chain.step(inputs={"yesterday": chain.output("value").previous()})
def value(ctx: WorkflowContext, *, yesterday: Mapping[str, Any] | None) -> StepResult | dict[str, Any]:
    """Multiply the value of the date before, unless the parameters say otherwise."""
    key = ctx.key
    broken = Path(ctx.params["fail"]) if ctx.params["fail"] else None
    if broken is not None and broken.exists() and str(key) in broken.read_text().splitlines():
        return StepResult.fail("no price", category="DATA_QUALITY")
    if ctx.params["kills"] and random.random() < 0.02 and _one_of(Path(ctx.params["kills"])):
        os.kill(os.getpid(), signal.SIGKILL)
    before = 100.0 if yesterday is None else yesterday["nav"]
    return {"nav": before * (1 + daily_return(key, ctx.params["scale"])), "batch": ctx.batch_id}


def _one_of(folder: Path) -> bool:
    """Take one of the kills that are left."""
    for file in folder.iterdir():
        try:
            file.unlink()
        except FileNotFoundError:
            continue
        return True
    return False
