"""A workflow that is due some minutes after the daemon has started, at ``TICK``; one tier fails until ``MENDED``."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

from flowctx import Daily, PartitionScheme, StepResult, Workflow

TICK = datetime.fromisoformat(os.environ["TICK"])
daily = Workflow(
    "daily",
    partitions=PartitionScheme(
        date=Daily(start=TICK.date() - timedelta(days=10), due=f"{TICK:%H:%M}", timezone="UTC"),
        tier=["T1", "T2"],
        venue=["NYSE", "N|Y"],
    ),
)


@daily.step()
def load(ctx):
    """Fail in the launched batch, unless it is mended."""
    if ctx.batch_id == "launched" and ctx.partition.tier == "T2" and not Path(os.environ["MENDED"]).exists():
        return StepResult.fail("the source is wrong", category="DATA_QUALITY")
    return {"day": ctx.as_of_date}


@daily.step()
def note(ctx):
    """Write the context down."""
    file = Path(os.environ["SEEN"], f"daily {ctx.run_id}.json")
    file.write_text(json.dumps({**ctx.to_dict(), "key": str(ctx.partition), "day": str(ctx.as_of_date)}))
    return {"day": ctx.get_output("load", "day")}
