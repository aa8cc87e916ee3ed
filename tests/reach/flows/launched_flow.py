"""A workflow of which one tier fails unless a parameter says otherwise; a DAG file, too."""

from flowctx import Daily, PartitionScheme, StepResult, Workflow

SESSIONS = Daily(start="2012-10-15", end="2012-11-13", calendar="XNYS", timezone="America/New_York")
launched = Workflow("launched", partitions=PartitionScheme(date=SESSIONS, tier=["T1", "T2"]), params={"mended": False})


@launched.step(retries=1)
def load(ctx):
    if ctx.partition.tier == "T2" and not ctx.params["mended"]:
        return StepResult.fail("the source is wrong", category="DATA_QUALITY")
    return {"day": ctx.as_of_date}


@launched.step()
def use(ctx):
    return {"day": ctx.get_output("load", "day")}
