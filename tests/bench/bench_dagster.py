"""What a step asset costs on Dagster beside a plain asset with the filesystem IO manager: running, and loading."""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

from report import compare, show

#: Assets in a run, and how many runs are timed.
SIZES = {10: 9, 50: 5, 200: 2}
LOADED = 1000
PAYLOAD = {"rows": ["x" * 100] * 20}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def plain(count: int) -> list[Any]:
    """A chain of daily assets, each loading the one before."""
    import dagster as dg

    days = dg.DailyPartitionsDefinition("2012-10-01")

    def asset(number: int) -> Any:
        ins = {"before": dg.AssetIn(["plain", f"step_{number - 1}"])} if number else {}

        @dg.asset(key=["plain", f"step_{number}"], ins=ins, partitions_def=days)
        def work(**before: Any) -> dict[str, Any]:
            return dict(PAYLOAD)

        return work

    return [asset(number) for number in range(count)]


def ours(count: int) -> list[Any]:
    """The same chain as a workflow."""
    from flowctx import Daily, PartitionScheme, Workflow
    from flowctx.dagster import workflow_assets

    flow = Workflow("flow", partitions=PartitionScheme(date=Daily(start="2012-10-01")))
    for number in range(count):
        flow.step(name=f"step_{number}")(_work)
    return workflow_assets(flow)


def _work(ctx: Any) -> dict[str, Any]:
    return dict(PAYLOAD)


KINDS = {"plain @asset": plain, "flowctx steps": ours}


def main() -> None:
    """Print the time per asset in one run of 10, 50 and 200, and the time to load 1,000."""
    import dagster as dg

    from flowctx.dagster import WorkflowIOManager

    for count, rounds in SIZES.items():
        with dg.DagsterInstance.ephemeral() as instance, tempfile.TemporaryDirectory(prefix="flowctx-bench-") as folder:
            resources = {
                "io_manager": dg.FilesystemIOManager(base_dir=folder),
                "workflow_io_manager": WorkflowIOManager(base_path=folder),
            }
            made = {name: make(count) for name, make in KINDS.items()}
            samples = {name: [_materialized(assets, instance, resources)] for name, assets in made.items()}
            for _ in range(rounds):  # in turns, so that drift hits both alike; the first run of each only warms up
                for name, assets in made.items():
                    samples[name].append(_materialized(assets, instance, resources))
        seconds = {name: statistics.median(times[1:]) / count for name, times in samples.items()}
        show(f"one run of {count} assets in a chain", seconds, budget="5 ms more", unit="an asset")
    loads = {name: lambda make=make: _loaded(make(LOADED)) for name, make in KINDS.items()}
    compare(f"load definitions of {LOADED} assets", loads, rounds=1)


def _materialized(assets: list[Any], instance: Any, resources: dict[str, Any]) -> float:
    import dagster as dg

    about = {"partition_key": "2012-10-26", "instance": instance, "run_config": QUIET}
    start = time.perf_counter()
    assert dg.materialize(assets, resources=resources, **about).success
    return time.perf_counter() - start


def _loaded(assets: list[Any]) -> None:
    import dagster as dg

    resources = {"workflow_io_manager": dg.mem_io_manager}
    dg.Definitions.validate_loadable(dg.Definitions(assets=assets, resources=resources))
