"""Workflows that run in parts, day by day without partitions, and with skips; each call of a step is noted."""

from __future__ import annotations

import os
from pathlib import Path

from flowctx import Daily, PartitionScheme, QualityMetrics, StepResult, Workflow

parts = Workflow("parts", partitions=PartitionScheme(tier=["T1", "T2", "T3", "T4", "T5", "T6"]))


def act(ctx, step, quality=None):
    """Fail while the file that says what is broken in the batch names the step."""
    folder = Path(os.environ["DYING"])
    with (folder / f"calls-{ctx.batch_id}").open("a") as calls:
        calls.write(f"{step}\n")
    broken = folder / f"broken-{ctx.batch_id}"
    if broken.exists() and broken.read_text() == step:
        return StepResult.fail(f"{step} is broken", category="DATA_QUALITY")
    return StepResult.ok({"run": ctx.run_id}, quality=quality)


@parts.step()
def first(ctx):
    """Say who ran it."""
    return act(ctx, "first", quality=QualityMetrics(counts={"rows": 1}))


@parts.step()
def second(ctx):
    """Do the same."""
    return act(ctx, "second")


days = Workflow("days")


@days.step()
def load(ctx):
    """Have one bad day."""
    if str(ctx.as_of_date) == "2026-01-09":
        return StepResult.fail("a bad day", category="DATA_QUALITY")
    return {"day": ctx.as_of_date}


ticks = Workflow("ticks")


@ticks.step()
def tick(ctx):
    """Say what it is about."""
    return {"day": ctx.as_of_date, "capture": ctx.capture_id}


OCTOBER = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
holes = Workflow("holes", partitions=OCTOBER, params={"fails": "", "exits": ""})


@holes.step()
def fetch(ctx):
    """Find nothing on one day; fail on a day that a parameter names, or die on it without a word."""
    if str(ctx.as_of_date) == ctx.params["exits"]:
        os._exit(9)
    if str(ctx.as_of_date) == ctx.params["fails"]:
        return StepResult.fail("a bad day", category="DATA_QUALITY")
    return StepResult.skip("a holiday") if ctx.as_of_date.day == 25 else {"day": ctx.as_of_date.day}


@holes.step()
def close(ctx):
    """Read what was found."""
    return {"day": ctx.get_output("fetch", "day")}


symbols = Workflow("symbols", partitions=PartitionScheme(symbol=["AAPL", "IBM"]), params={"only": "none"})


@symbols.step()
def trade(ctx):
    """Trade in one symbol at most."""
    return {"rows": 1} if ctx.partition.symbol == ctx.params["only"] else StepResult.skip("did not trade")


def summary(ctx):
    """Say which symbols there are."""
    return {"traded": [name for name, output in ctx.get_output("trade").items() if output is not None]}
