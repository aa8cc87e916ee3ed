"""Set-up that the tests of the Dagster adapter share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from flowctx import Workflow
from flowctx.dagster import WorkflowIOManager, workflow_assets

#: Run configuration under which Dagster says nothing on the console.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def persistent_instance(home: Path, overrides: Mapping[str, Any] | None = None) -> Iterator[dg.DagsterInstance]:
    """An instance on SQLite in a folder, without telemetry, with one file for the events of all runs.

    What steps print is not kept: for each run, Dagster would start four processes.
    """
    printed = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    events = {"module": "dagster._core.storage.event_log", "class": "ConsolidatedSqliteEventLogStorage"}
    home.mkdir(parents=True, exist_ok=True)
    settings = {
        "telemetry": {"enabled": False},
        "compute_logs": printed,
        "event_log_storage": {**events, "config": {"base_dir": str(home / "events")}},
        **(overrides or {}),
    }
    with dg.DagsterInstance.local_temp(str(home), overrides=settings) as instance:
        yield instance


class Bench:
    """A workflow's assets with an instance and a folder for outputs, to run parts of them again and again."""

    def __init__(self, workflow: Workflow, folder: Path, *others: Any, instance: Any = None, **asset_args: Any) -> None:
        self.outputs = WorkflowIOManager(base_path=str(folder))
        self.assets = [*workflow_assets(workflow, **asset_args), *others]
        self.instance = instance or dg.DagsterInstance.ephemeral()

    def run(
        self,
        key: str | Mapping[str, str] | None = None,
        *,
        span: tuple[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        selection: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Materialize assets for a key, or for a range of keys."""
        about = dict(tags or {})
        if span:
            about |= {"dagster/asset_partition_range_start": span[0], "dagster/asset_partition_range_end": span[1]}
        return dg.materialize(
            self.assets,
            resources={"workflow_io_manager": self.outputs},
            instance=self.instance,
            partition_key=dg.MultiPartitionKey(dict(key)) if isinstance(key, Mapping) else key,
            tags=about,
            run_config={**QUIET, **(config or {})},
            raise_on_error=False,
            selection=selection,
        )

    def events(self, result: dg.ExecuteInProcessResult, kind: dg.DagsterEventType) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in result.all_events if event.event_type is kind]

    def materializations(self, result: dg.ExecuteInProcessResult) -> dict[tuple[str, str | None], dict[str, Any]]:
        """Return the metadata of what was materialised, by step and partition."""
        return {
            (event.asset_key.path[-1], event.partition): {
                name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
            }
            for event in self.events(result, dg.DagsterEventType.ASSET_MATERIALIZATION)
        }


def counted(calls: list[Any], result: Any = None) -> Callable[..., Any]:
    """Return a step that notes the contexts that it sees."""

    def step(ctx: Any) -> Any:
        calls.append(ctx)
        return result(ctx) if callable(result) else result

    return step
