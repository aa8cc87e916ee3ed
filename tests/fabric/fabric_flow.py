"""A workflow whose steps hand on a table and note in which worker they begin and end."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from flowctx import Daily, PartitionScheme, Workflow, WorkflowContext

ROWS = 20_000
SESSIONS = Daily(start="2012-10-15", end="2012-10-24", calendar="XNYS", timezone="America/New_York")
fabric = Workflow("fabric", partitions=PartitionScheme(date=SESSIONS, fund=["A", "B"]))


@contextmanager
def noted(ctx: WorkflowContext, step: str) -> Iterator[None]:
    """Write down that a step has begun, and that it has ended, and where."""
    path = Path(os.environ["FABRIC_CALLS"], f"{ctx.batch_id} {ctx.partition} {step}")
    with path.open("a", buffering=1) as calls:
        calls.write(f"begins {os.environ['FABRIC_WORKER']}\n")
        yield
        calls.write(f"ends {os.environ['FABRIC_WORKER']}\n")


@fabric.step()
def load(ctx):
    """Hand on a table that is too large for a database."""
    with noted(ctx, "load"):
        time.sleep(0.5)
        day = ctx.as_of_date.toordinal()
        return {
            "rows": pa.table({"n": range(day, day + ROWS), "s": [f"{ctx.partition.fund}-{n}" for n in range(ROWS)]})
        }


@fabric.step()
def total(ctx):
    """Add up what the step before has handed on, wherever that ran."""
    with noted(ctx, "total"):
        time.sleep(0.5)
        return {"total": sum(ctx.get_output("load", "rows").to_arrow(["n"])["n"].to_pylist())}
