"""What a local batch costs beside calling its steps in a loop, and how soon a large one begins."""

from __future__ import annotations

import os
import resource
import tempfile
import time
import tracemalloc
from datetime import date
from pathlib import Path

from bench_ledger import postgres_url
from report import compare, console, show

from flowctx import Backfill, Daily, PartitionScheme, Workflow, WorkflowContext, run
from flowctx.backfill import LocalLauncher
from flowctx.backfill.again import RunsAgain
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepResult
from flowctx.examples.prices import prices
from flowctx.ledger import open_ledger

SOME = "date=2011-01-03..2011-12-30,symbol=AAPL|IBM"
#: So many that it hardly counts that workers take a second to start.
MANY = "date=2006-01-03..2012-12-28,symbol=AAPL|IBM"
#: Where two workers should be, by the kind of ledger, in partitions a second.
BUDGETS = {"SQLite on disk": 1_000, "PostgreSQL": 800}
#: What the steps of the example, called in a loop, made on the machine for which the budgets are.
STEPS_ALONE = 6_980


def directly(key: PartitionKey, workflow: Workflow = prices) -> None:
    """Call the steps of one partition, one after the other, as a script would that knows that none of them fails.

    Each gets a context with the outputs and parameters of those before it, as in a run. What a run does beside that is
    left out: it checks the key, its date and its due time against the scheme, says the window, derives the ids, follows
    branches, skips and retries, takes the time of each step, and looks which tables are to be stored.
    """
    ctx = WorkflowContext.new(workflow.params, "bench", None, key, date.fromisoformat(key.date))
    for step in workflow.steps.values():
        result = step.call(ctx, step.config)
        result = result if isinstance(result, StepResult) else StepResult.ok(result)
        ctx = ctx.with_step_output(step.name, result.output).with_updates(result.context_updates)


def main() -> None:
    """Print partitions per second, by way of running them, and what a million partitions cost before the first."""
    keys = list(prices.partitions.select(SOME) if prices.partitions else [])
    compare(
        "The steps of the example for 20 partitions, one by one, and run() without a ledger; CPU time",
        {
            "the steps called in a loop": lambda: [directly(key) for key in keys[:20]],
            "flowctx.run in a loop": lambda: [_run(key) for key in keys[:20]],
        },
        rounds=25,
        budget="run() in 1.3 times the steps",
        clock=time.process_time,
    )
    seconds: dict[str, float] = {}
    for name, call in {"the steps called in a loop": directly, "flowctx.run in a loop": _run}.items():
        started = time.perf_counter()
        for key in keys:
            call(key)
        seconds[name] = (time.perf_counter() - started) / len(keys)
    batches = _batches(os.cpu_count() or 2)
    title = "Partitions of the example, 5 steps each, one of which makes a table"
    show(title, seconds | batches, unit="a partition", budget=budget(*BUDGETS))
    for name, value in (seconds | batches).items():
        share = seconds["the steps called in a loop"] / value
        console.print(f"  {1 / value:8,.0f} partitions/s, {share:5.1%} of what the steps make in a loop  {name}")
    for kind in BUDGETS:
        one, more = (value for name, value in batches.items() if kind in name and "durability group" in name)
        console.print(f"  {one / more:8.2f} times as many with {os.cpu_count()} workers as with one, {kind}")
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    console.print(f"  {megabytes:8.0f} MB at most a worker, or the server of PostgreSQL")
    _large()


def budget(*kinds: str) -> str:
    """Say how many partitions a second two workers should make, and as a share of what the steps make in a loop."""
    each = [f"{BUDGETS[kind]:,}/s on {kind} ({BUDGETS[kind] / STEPS_ALONE:.0%})" for kind in kinds]
    return f"two workers make {', '.join(each)}, where the steps in a loop make {STEPS_ALONE:,}/s; more than one worker"


def _batches(most: int) -> dict[str, float]:
    """Return the seconds a partition of batches: one worker and as many as processors, in each durability."""
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a server run by root is another user's
        os.environ["FLOWCTX_ARTIFACTS_URL"] = str(folder / "artifacts")
        with postgres_url(folder) as postgres:
            for number, (workers, durability) in enumerate(((1, "group"), (most, "group"), (most, "step"))):
                for kind, url in (("SQLite on disk", f"sqlite:///{folder / f'{number}.db'}"), ("PostgreSQL", postgres)):
                    ledger = open_ledger(url)
                    backfill = Backfill(prices, MANY, f"bench-{number}", ledger=ledger)
                    tally = backfill.launch(LocalLauncher(ledger, workers, durability=durability))
                    seconds[f"a batch, {workers} workers, {kind}, durability {durability}"] = 1 / tally.rate
                    ledger.close()
    return seconds


def _run(key: PartitionKey) -> None:
    run(prices, partition=key, batch_id="bench")


def _large() -> None:
    scheme = PartitionScheme(date=Daily(start="2000-01-01", end="2010-12-31"), n=[f"{n:03}" for n in range(250)])
    tracemalloc.start()
    started = time.perf_counter()
    iter_work = Backfill(Workflow("large", partitions=scheme), None, "large", ledger="memory://").iter_work(
        "local", RunsAgain()
    )
    next(iter_work)
    first = time.perf_counter() - started
    for _ in range(50_000):
        next(iter_work)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    console.print(
        f"  {first * 1000:8.1f} ms to the first of {len(scheme):,} jobs; {peak:.1f} MB at most after 50,000 "
        "(budget: a second, and flat)"
    )


if __name__ == "__main__":
    main()
