"""Code that is deployed while a step runs: the step is recorded with the code that ran, on each engine."""

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
import importlib
import json
import subprocess
import sys

import pytest

from flowctx import run
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.dagster.running import run_assets

#: Its step deploys other code into the file that it was imported from.
SOURCE = """
from pathlib import Path

from flowctx import Daily, PartitionScheme, Workflow

flow = Workflow("deployed_meanwhile", partitions=PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-05")))


@flow.step()
def fetch(ctx):
    file = Path(__file__)
    file.write_text(file.read_text().replace("'price': 1", "'price': 100"))
    return {'price': 1}
"""

ENGINES = {
    "airflow": lambda flow, **how: run_dag(workflow_dag(flow), **how),
    "dagster": run_assets,
    "local": run,
}


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A module of the source, which other processes find in this folder, too."""
    (tmp_path / "deployed_flow.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("deployed_flow")
    del sys.modules["deployed_flow"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_is_recorded_with_the_code_that_ran(ledger, imported, tmp_path, engine):
    """And another process, which has the new code, finds it stale."""
    done = ENGINES[engine](imported.flow, partition="2026-01-05", batch_id="first")
    assert done.context.get_output("fetch") == {"price": 1}
    [record] = ledger.steps(ledger.get_run(done.run_id).key)
    assert record.version == "cb02655dce8d"
    command = [sys.executable, "-m", "flowctx", "stale", "deployed_flow:flow", "--code", "--json"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [partition["code"] for partition in json.loads(shown.stdout)] == [["fetch"]]
