"""One way to hand a frame from one step to the next, in a process of its own: ``table_case.py NAME ROWS FOLDER``.

Prints JSON: seconds, memory at its peak beyond what was there before, and bytes on disk.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def frame_of(rows: int) -> pd.DataFrame:
    """Return ten columns: seven floats, an integer, a text, a time."""
    rng = np.random.default_rng(1)
    numbers = {f"f{i}": rng.normal(size=rows) for i in range(7)}
    names = [f"name{n}" for n in rng.integers(0, 5000, rows)]
    times = pd.date_range("2020", periods=rows, freq="s")
    return pd.DataFrame({**numbers, "i": rng.integers(0, 1000, rows), "s": names, "t": times})


def parquet(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Pandas' own way."""

    def call() -> None:
        frame.to_parquet(folder / "x.parquet", compression="zstd")
        assert len(pd.read_parquet(folder / "x.parquet")) == len(frame)

    return call


def flow_of(frame: pd.DataFrame) -> Any:
    """A workflow of two steps."""
    from flowctx import Workflow

    flow = Workflow("tables")
    flow.step(name="load")(lambda ctx: frame)
    flow.step(name="use")(lambda ctx: {"rows": len(ctx.get_output("load", "table").to_pandas())})
    return flow


def here(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two steps in a run here, with a ledger."""
    from flowctx import run
    from flowctx.ledger import open_ledger

    flow, ledger = flow_of(frame), open_ledger(f"sqlite:///{folder}/ledger.db")

    def call() -> None:
        frame.iat[0, 7] += 1  # or it would share the file of the run before
        run(flow, ledger=ledger).raise_for_failure()

    return call


def airflow(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two steps as tasks, which run in this process."""
    from flowctx.airflow import workflow_dag
    from flowctx.testing import run_dag

    dag = workflow_dag(flow_of(frame))

    def call() -> None:
        os.environ["FLOWCTX_ARTIFACTS_URL"] = str(folder / "files")
        run_dag(dag).raise_for_failure()

    return call


def airflow_xcom(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two plain tasks, whose frames Airflow's own backend writes to files."""
    from airflow.sdk import DAG, task

    from flowctx.testing import run_dag

    # Airflow looks once for the place: the warm-up is to find the same.
    files = (folder.parent if folder.name == "warm" else folder) / "files"

    @task
    def load() -> pd.DataFrame:
        return frame

    @task
    def use(frame: pd.DataFrame) -> int:
        return len(frame)

    with DAG("plain_frames") as dag:
        use(load())

    def call() -> None:
        os.environ["AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH"] = files.as_uri()
        run_dag(dag).raise_for_failure()

    return call


def dagster(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two step assets."""
    import dagster as dg

    from flowctx.dagster import WorkflowIOManager, workflow_assets

    assets, outputs = workflow_assets(flow_of(frame)), WorkflowIOManager(base_path=str(folder))
    return lambda: _materialize(dg, assets, {"workflow_io_manager": outputs})


def dagster_fs(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two plain assets with Dagster's filesystem IO manager, which pickles."""
    import dagster as dg

    @dg.asset
    def load() -> pd.DataFrame:
        return frame

    @dg.asset
    def use(load: pd.DataFrame) -> int:
        return len(load)

    return lambda: _materialize(dg, [load, use], {"io_manager": dg.FilesystemIOManager(base_dir=str(folder))})


def _materialize(dg: Any, assets: Any, resources: dict[str, Any]) -> None:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert dg.materialize(assets, resources=resources, run_config=quiet).success


CASES = {
    "parquet": parquet,
    "here": here,
    "dagster": dagster,
    "dagster_fs": dagster_fs,
    "airflow": airflow,
    "airflow_xcom": airflow_xcom,
}


def set_up_airflow(home: Path) -> None:
    """Give Airflow a home of its own, before anything imports it."""
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__XCOM_BACKEND="airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD="10000",
        AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
    )


def memory() -> int:
    """Return the resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main(name: str, rows: int, folder: Path) -> None:
    """Warm up, then take the best time of three and the highest memory."""
    if name.startswith("airflow"):
        set_up_airflow(folder / "warm-airflow")
    call = CASES[name](frame_of(rows), folder)
    CASES[name](frame_of(100), folder / "warm")() if (folder / "warm").mkdir() is None else None
    before, peak, done = memory(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], memory())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    done.set()
    files = [p for p in folder.rglob("*") if p.is_file() and not {"warm", "warm-airflow"} & set(p.parts)]
    data = [p for p in files if "ledger.db" not in p.name and p.stat().st_size > 100]
    runs = 3 if name in ("here", "dagster", "airflow", "airflow_xcom") else 1
    size = sum(p.stat().st_size for p in data) / runs
    print(json.dumps({"seconds": min(times), "peak": peak[0] - before, "bytes": size}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
