"""One way to hand a frame from one step to the next, in a process of its own: ``table_case.py NAME ROWS FOLDER``.

Says ``ready``, then makes one call for each line that it reads, and prints JSON: seconds of wall clock and of CPU, the
memory at the peak beyond what was there before, and, after the first call, bytes on disk. So others can take turns.
"""

from __future__ import annotations

import json
import os
import sys
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


def write(frame: pd.DataFrame, file: str) -> None:
    """Write a frame as everybody does."""
    frame.to_parquet(file, compression="zstd")


def parquet(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Pandas' own way."""
    file = str(folder / "x.parquet")

    def call() -> None:
        write(frame, file)
        assert len(pd.read_parquet(file)) == len(frame)

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


def airflow_parquet(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two plain tasks, which write and read a file by hand."""

    def load() -> str:
        write(frame, file := str(folder / "x.parquet"))
        return file

    return _plain_tasks(load, lambda file: len(pd.read_parquet(file)))


def airflow_xcom(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two plain tasks, whose frames Airflow's own backend writes to files."""
    # Airflow looks once for the place: the warm-up is to find the same.
    files = (folder.parent if folder.name == "warm" else folder) / "files"
    os.environ["AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH"] = files.as_uri()
    return _plain_tasks(lambda: frame, len)


def _plain_tasks(first: Callable[[], Any], second: Callable[[Any], int]) -> Callable[[], None]:
    from airflow.sdk import DAG, task

    from flowctx.testing import run_dag

    with DAG("plain_frames") as dag:
        task(task_id="use")(lambda found: second(found))(task(task_id="load")(lambda: first())())
    return lambda: run_dag(dag).raise_for_failure()


def dagster(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two step assets."""
    import dagster as dg

    from flowctx.dagster import WorkflowIOManager, workflow_assets

    assets, outputs = workflow_assets(flow_of(frame)), WorkflowIOManager(base_path=str(folder))
    return lambda: _materialize(dg, assets, {"workflow_io_manager": outputs})


def dagster_parquet(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two plain assets, which write and read a file by hand."""
    import dagster as dg

    file = str(folder / "x.parquet")

    @dg.asset
    def load() -> None:
        write(frame, file)

    @dg.asset(deps=[load])
    def use() -> None:
        assert len(pd.read_parquet(file)) == len(frame)

    return lambda: _materialize(dg, [load, use], {})


def dagster_fs(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two plain assets with Dagster's filesystem IO manager, which pickles."""
    import dagster as dg

    return _plain_assets(frame, dg.FilesystemIOManager(base_dir=str(folder)))


def dagster_duckdb(frame: pd.DataFrame, folder: Path) -> Callable[[], None]:
    """Two plain assets with the IO manager of dagster-duckdb-pandas."""
    from dagster_duckdb_pandas import DuckDBPandasIOManager

    return _plain_assets(frame, DuckDBPandasIOManager(database=str(folder / "frames.duckdb")))


def _plain_assets(frame: pd.DataFrame, manager: Any) -> Callable[[], None]:
    import dagster as dg

    @dg.asset
    def load() -> pd.DataFrame:
        return frame

    @dg.asset
    def use(load: pd.DataFrame) -> None:
        assert len(load) == len(frame)

    # What the second hands on is nothing, and nobody's to keep.
    return lambda: _materialize(dg, [load, use], {"io_manager": manager})


def _materialize(dg: Any, assets: Any, resources: dict[str, Any]) -> None:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert dg.materialize(assets, resources=resources, run_config=quiet).success


CASES = {
    call.__name__: call
    for call in (
        parquet,
        here,
        airflow_parquet,
        airflow,
        airflow_xcom,
        dagster_parquet,
        dagster,
        dagster_fs,
        dagster_duckdb,
    )
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


def memory(name: str) -> int:
    """Return a figure of this process's memory in bytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024


def size_of(folder: Path) -> int:
    """Return the bytes on disk, but for what an engine keeps of its runs."""
    apart = {"warm", "warm-airflow"}
    files = [path for path in folder.rglob("*") if path.is_file() and not apart & set(path.parts)]
    return sum(path.stat().st_size for path in files if not path.name.startswith("ledger.db"))


def measured(call: Callable[[], None]) -> dict[str, float]:
    """Make one call and return what it took."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the former peak
    before, cpu, started = memory("VmRSS"), time.process_time(), time.perf_counter()
    call()
    wall, used = time.perf_counter() - started, time.process_time() - cpu
    return {"wall": wall, "cpu": used, "peak": memory("VmHWM") - before}


def main(name: str, rows: int, folder: Path) -> None:
    """Warm up, then make a call for each line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what engines print is no answer
    warm = folder / "warm"
    warm.mkdir(parents=True)
    if name.startswith("airflow"):
        set_up_airflow(folder / "warm-airflow")
    CASES[name](frame_of(100), warm)()
    call = CASES[name](frame_of(rows), folder)
    print("ready", file=answers)
    for number, _ in enumerate(sys.stdin):
        found = measured(call)
        print(json.dumps({**found, "bytes": size_of(folder)} if not number else found), file=answers)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
