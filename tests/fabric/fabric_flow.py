"""A workflow whose steps hand on a table and note in which worker they ended."""

import os
import time
from pathlib import Path

import pyarrow as pa

from flowctx import Daily, PartitionScheme, Workflow

ROWS = 20_000
SESSIONS = Daily(start="2012-10-15", end="2012-10-24", calendar="XNYS", timezone="America/New_York")
fabric = Workflow("fabric", partitions=PartitionScheme(date=SESSIONS, fund=["A", "B"]))


def note(ctx, step):
    """Write down that a step has ended, and where."""
    with Path(os.environ["FABRIC_CALLS"], f"{ctx.batch_id} {ctx.partition} {step}").open("a") as calls:
        calls.write(f"{os.environ.get('FABRIC_WORKER', 'none')}\n")


@fabric.step()
def load(ctx):
    """Hand on a table that is too large for a database."""
    time.sleep(0.5)
    day = ctx.as_of_date.toordinal()
    rows = pa.table({"n": range(day, day + ROWS), "s": [f"{ctx.partition.fund}-{n}" for n in range(ROWS)]})
    note(ctx, "load")
    return {"rows": rows}


@fabric.step()
def total(ctx):
    """Add up what the step before has handed on, wherever that ran."""
    time.sleep(0.5)
    found = sum(ctx.get_output("load", "rows").to_arrow(["n"])["n"].to_pylist())
    note(ctx, "total")
    return {"total": found}
