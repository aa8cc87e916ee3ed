"""``make demo``: one workflow, written once, gives the same answers on three engines, on real prices."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from flowctx import Backfill, BatchStatus, PartitionKey, RunResult, StepStatus, WorkflowContext, outputs, run
from flowctx.backfill import JointBackfill, LaunchListener, LaunchProgress, LocalLauncher
from flowctx.backfill.selecting import selections_of
from flowctx.examples.prices import prices
from flowctx.examples.rollups import market, month, risk
from flowctx.ledger import open_ledger
from flowctx.parity.processes import without_airflow
from flowctx.parity.running import leave_places

PARTITION = PartitionKey(date="2012-10-26", symbol="IBM")
MONTH, MONTH_NAME, BATCH = "date=2012-05", "May 2012", "demo-2012-05"


def on_airflow(partition: PartitionKey, batch_id: str) -> RunResult:
    """Run the workflow in Airflow, as ``dag.test()`` does."""
    from flowctx.airflow import workflow_dag
    from flowctx.airflow.running import run_dag

    return run_dag(workflow_dag(prices), partition=partition, batch_id=batch_id)


def on_dagster(partition: PartitionKey, batch_id: str) -> RunResult:
    """Run the workflow in Dagster, as ``materialize()`` does."""
    from flowctx.dagster.running import run_assets

    return run_assets(prices, partition=partition, batch_id=batch_id)


def locally(partition: PartitionKey, batch_id: str) -> RunResult:
    """Run the workflow in this process."""
    return run(prices, partition=partition, batch_id=batch_id)


ENGINES: dict[str, Callable[[PartitionKey, str], RunResult]] = {
    "local": locally,
    "Airflow": on_airflow,
    "Dagster": on_dagster,
}


def leave_all_places() -> None:
    """Let nothing in this process, and in those that it begins, lead to an Airflow or another place of the user's."""
    leave_places()
    for name in set(os.environ) - set(without_airflow(os.environ)):
        del os.environ[name]


def print_to(log: str) -> None:
    """Send what this process prints to a file, as engines log as they like."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)


def on_all_engines(console: Console) -> dict[str, RunResult] | None:
    """Run one partition on each engine, each in a process of its own, since engines set up logging for all of it."""
    spawn = multiprocessing.get_context("spawn")
    results: dict[str, RunResult] = {}
    with tempfile.TemporaryDirectory() as folder, console.status(f"Running {PARTITION} on {', '.join(ENGINES)} ..."):
        logs = {name: str(Path(folder, name)) for name in ENGINES}
        pools = {name: ProcessPoolExecutor(1, spawn, print_to, (log,)) for name, log in logs.items()}
        futures: dict[str, Future[RunResult]] = {
            name: pool.submit(ENGINES[name], PARTITION, "demo") for name, pool in pools.items()
        }
        for name, future in futures.items():
            error = future.exception()
            if error is None:
                results[name] = future.result()
            else:
                console.print(Path(logs[name]).read_text(), markup=False, highlight=False)
                console.print(f"[red]{name}: {type(error).__name__}:[/red]", str(error), markup=True)
        for pool in pools.values():
            pool.shutdown()
    return results if len(results) == len(ENGINES) else None


def compare(console: Console) -> bool:
    """Run one partition on each engine, print what came out, and say whether it is the same."""
    results = on_all_engines(console)
    if results is None:
        return False
    console.print(_facts(results))
    console.print(_times(results))
    failed = [name for name, result in results.items() if result.status is not StepStatus.OK]
    for name in failed:
        console.print(f"[red]{name}: {next((s.error for s in results[name].steps if s.error), 'no step ran')}[/red]")
    same = not failed and len({result.outputs_digest for result in results.values()}) == 1
    verdict = (
        "[green]The outputs are equal, byte for byte, and the tables row for row.[/green]"
        if same
        else "[red]The outputs differ.[/red]"
    )
    console.print(verdict)
    return same


def _facts(results: dict[str, RunResult]) -> Table:
    table = Table(
        title=f"Workflow {prices.name} on three engines", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1)
    )
    table.add_column("", no_wrap=True)
    for name in results:
        table.add_column(name, overflow="fold", min_width=19)
    contexts = [result.context for result in results.values()]
    table.add_row("run", *(ctx.run_id for ctx in contexts))
    table.add_row("as-of date", *(str(ctx.as_of_date) for ctx in contexts))
    table.add_row("partition", *(_text(ctx) for ctx in contexts))
    table.add_row("batch", *(str(ctx.batch_id) for ctx in contexts))
    table.add_row("capture", *(str(ctx.capture_id) for ctx in contexts))
    windows = [ctx.get_output("volatility", "window") for ctx in contexts]
    table.add_row("table", *(f"{window.rows} rows, {window.digest[:16]}" if window else "" for window in windows))
    table.add_row("outputs", *(result.outputs_digest[:16] for result in results.values()))
    return table


def _text(ctx: WorkflowContext) -> str:
    """The partition in the scheme's order: short enough for a column."""
    if prices.partitions is None or ctx.partition is None:
        return str(ctx.partition)
    return prices.partitions.text(ctx.partition)


def _times(results: dict[str, RunResult]) -> Table:
    table = Table(title="Time per step", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("step")
    for name in results:
        table.add_column(name, justify="right")
    for step in prices.steps:
        entries = [result[step] for result in results.values()]
        table.add_row(step, *(f"{entry.duration.total_seconds() * 1000:.1f} ms" for entry in entries))
    return table


class _Track(LaunchListener):
    """Shows how far the batch has come."""

    def __init__(self, bar: Progress) -> None:
        self.bar, self.task = bar, bar.add_task(f"Batch {BATCH}", total=None)

    def tick(self, progress: LaunchProgress) -> None:
        self.bar.update(self.task, total=progress.total, completed=progress.passed)


def one_month(console: Console) -> bool:
    """Run a month of four workflows here, under one batch id, each after what it reads, and print a summary."""
    flows = [prices, risk, market, month]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=console, transient=True) as bar:
        ledger = open_ledger(f"sqlite:///{folder}/ledger.db")
        selections = selections_of(flows, MONTH, now=datetime.now(UTC))
        plans = [Backfill(flow, some, BATCH, ledger=ledger) for flow, some in zip(flows, selections, strict=True)]
        progress = JointBackfill(plans).launch(LocalLauncher(ledger), listener=_Track(bar))
        status = BatchStatus.of(ledger, BATCH)
        found = outputs(month, "report", ledger=ledger)
        report = found[next(iter(found))] if len(found) else {}
        ledger.close()
    seconds = time.perf_counter() - started
    table = Table(title=f"Batch {BATCH}, here: {MONTH}", title_justify="left", box=SIMPLE_HEAD)
    states = ("ok", "skipped", "failed", "waiting")
    for column in ("workflow", *states):
        table.add_column(column, justify="left" if column == "workflow" else "right")
    for one in status.by_workflow:
        table.add_row(one.batch.workflow, *(str(one.counts.get(state, 0)) for state in states))
    console.print(table)
    console.print(
        f"{progress.total} partitions in {seconds:.1f} s: a stock's risk after its prices of that date and before, the "
        "market of a date after all stocks, the month after all dates.\n"
        f"{MONTH_NAME}: {report.get('sessions')} sessions, of which the mean rose on {report.get('rose')}; "
        f"return {report.get('return', 0):.2%}.\n"
        "FB was first traded on 2012-05-18; before that it is skipped."
    )
    return progress.complete


def main() -> int:
    """Run the demo; 0 if all is as it should be."""
    leave_all_places()
    console = Console()
    same = compare(console)
    return 0 if one_month(console) and same else 1


if __name__ == "__main__":
    sys.exit(main())
