"""A partition of a workflow on the engine that is installed, with a ledger: ``one_run.py airflow``, ``... dagster``."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import tempfile
from datetime import date
from typing import Any

from flowctx import Daily, PartitionScheme, Workflow
from flowctx.ledger import open_ledger

flow = Workflow("lowest", partitions=PartitionScheme(date=Daily(start="2026-01-05", calendar="WEEKDAYS"), tier=["T1"]))


@flow.step()
def load(ctx):
    return {"day": ctx.as_of_date}


@flow.step()
def use(ctx):
    return {"day": ctx.get_output("load", "day")}


def on_airflow() -> Any:
    """Run it as a DAG."""
    from flowctx.airflow import workflow_dag
    from flowctx.testing import run_dag

    return run_dag(workflow_dag(flow), partition="2026-01-05|T1")


def on_dagster() -> Any:
    """Run it as assets."""
    from flowctx.testing import run_assets

    return run_assets(flow, partition="2026-01-05|T1")


def main(engine: str) -> None:
    """Import all of the adapter, run the workflow, and look into the ledger."""
    with tempfile.TemporaryDirectory(prefix="flowctx-lowest-") as folder:
        os.environ["FLOWCTX_LEDGER_URL"] = url = f"sqlite:///{folder}/ledger.db"
        adapter = importlib.import_module(f"flowctx.{engine}")
        for module in pkgutil.iter_modules(adapter.__path__, f"flowctx.{engine}."):
            if not module.name.endswith(".plugin"):  # which Airflow imports itself
                importlib.import_module(module.name)
        result = {"airflow": on_airflow, "dagster": on_dagster}[engine]().raise_for_failure()
        ledger = open_ledger(url)
        (run,) = ledger.list_runs()
        outputs = [record.output["day"] for record in ledger.steps(run.key)]
        assert (run.run_id, str(run.status), outputs) == (result.run_id, "ok", [date(2026, 1, 5)] * 2), run
        ledger.close()
    found = importlib.import_module(f"flowctx.{engine}._versions")
    print(f"{getattr(found, engine.upper()).name} {getattr(found, engine.upper()).found}: ok")


if __name__ == "__main__":
    main(sys.argv[1])
