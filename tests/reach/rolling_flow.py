"""A workflow of which one step waits for a file; each call of a step leaves a line: ``rolling_flow.py URL KIND``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from flowctx import Backfill, FlowctxError, PartitionScheme, Workflow, run
from flowctx.backfill.local import LocalLauncher
from flowctx.ledger import open_ledger

rolling = Workflow("rolling", partitions=PartitionScheme(number=["1", "2", "3", "4"]))
FOLDER = Path(os.environ["ROLLING"])


def line(ctx, step: str) -> None:
    """Say that a step was called."""
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{ctx.batch_id} {ctx.partition} {step}\n")


@rolling.step()
def load(ctx):
    line(ctx, "load")
    return {"n": int(ctx.partition.number)}


@rolling.step()
def wait(ctx):
    line(ctx, "wait")
    (FOLDER / f"waiting-{ctx.batch_id}").touch()
    while not (FOLDER / "upgraded").exists():
        time.sleep(0.05)
    return {}


@rolling.step()
def use(ctx):
    line(ctx, "use")
    return {"n": ctx.get_output("load", "n")}


def main(url: str, kind: str) -> str:
    """Do some work, and say how it went."""
    ledger = open_ledger(url)
    try:
        if kind == "run":
            return str(run(rolling, partition="1", batch_id="run", run_id="run", ledger=ledger).status)
        if kind == "late":
            return str(run(rolling, partition="2", batch_id="late", run_id="late", ledger=ledger).status)
        batch = Backfill(rolling, "number=1|2|3|4", "batch", ledger=ledger).launch(
            LocalLauncher(ledger, workers=1), retry_failed=True
        )
        return str(dict(batch.ended))
    except FlowctxError as exc:
        return f"{type(exc).__name__}: {exc}"


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
