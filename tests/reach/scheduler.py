"""A real scheduler of the Airflow that is installed: a scheme by schedule and by backfill, and a launched batch."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import airflow  # noqa: E402
from launched_flow import launched  # noqa: E402

from e2e.airflow_stack import AirflowStack, airflow_stack  # noqa: E402
from flowctx import Backfill, Daily, PartitionScheme, WorkflowContext, resume  # noqa: E402
from flowctx.backfill.airflow import AirflowLauncher  # noqa: E402
from flowctx.ledger import open_ledger  # noqa: E402
from postgres import postgres_database, postgres_server  # noqa: E402

SESSIONS = PartitionScheme(
    date=Daily(start="2012-10-15", end="2012-11-13", calendar="XNYS", timezone="America/New_York"),
    tier=["T1", "T2"],
    venue=["XNYS", "dark/..p|ol"],
)
SCHEDULED = [SESSIONS.text(key) for key in SESSIONS.select("date=first:10")]
BACKFILLED = [SESSIONS.text(key) for key in SESSIONS.select("date=last:10")]


def contexts(stack: AirflowStack, count: int) -> list[WorkflowContext]:
    """Wait until so many runs are over, and return what their tasks saw."""

    def over() -> bool:
        states = Counter(run["state"] for run in stack.runs("sessions"))
        return states["success"] + states["failed"] >= count and not states["queued"] + states["running"]

    stack.wait_until(over, f"{count} runs", seconds=600)
    assert {run["state"] for run in stack.runs("sessions")} == {"success"}
    files = Path(stack.home, "contexts", "sessions").glob("*.json")
    return [WorkflowContext.from_dict(json.loads(file.read_text())) for file in files]


def try_schedule_and_backfill(stack: AirflowStack) -> None:
    """Each key runs once, by catch-up or by Airflow's own backfill, about its own date."""
    assert Counter(SESSIONS.text(ctx.partition) for ctx in contexts(stack, len(SCHEDULED))) == Counter(SCHEDULED)
    body = {
        "dag_id": "sessions",
        "from_date": "2012-10-31T00:00:00Z",
        "to_date": "2012-11-14T00:00:00Z",  # before 3.2 it bounds logical dates
        "dag_run_conf": {"batch_id": "sandy"},
        "reprocess_behavior": "none",
        "max_active_runs": 16,
    }
    status, answer = stack.request("POST", "/backfills", body)
    assert status == 200, answer
    seen = contexts(stack, len(SCHEDULED) + len(BACKFILLED))
    assert Counter(SESSIONS.text(ctx.partition) for ctx in seen) == Counter(SCHEDULED + BACKFILLED)
    assert all(ctx.as_of_date == SESSIONS.as_of_date(ctx.partition) for ctx in seen)
    batches = {SESSIONS.text(ctx.partition): ctx.batch_id for ctx in seen}
    assert batches == dict.fromkeys(SCHEDULED) | dict.fromkeys(BACKFILLED, "sandy")


def try_launched_batch(stack: AirflowStack, ledger_url: str) -> None:
    """A batch is launched, what failed is tried again, and a failed run goes on here."""
    ledger = open_ledger(ledger_url)
    batch = Backfill(launched, "date=2012-10-25..2012-10-31", "launched", ledger=ledger)
    assert batch.launch(AirflowLauncher(stack.url)).ended == {"ok": 3, "failed": 3}
    assert batch.launch(AirflowLauncher(stack.url), retry_failed=True).ended == {"failed": 3}
    failed = next(run for run in ledger.list_runs(batch_id="launched") if run.status == "failed")
    result = resume(
        failed.run_id,
        workflow=launched,
        ledger=ledger,
        partition=failed.context.partition,
        params={"mended": True},
    )
    assert result.raise_for_failure().context.get_output("use", "day") == failed.context.as_of_date


def main() -> None:
    """Start an Airflow, and try all of it."""
    with (
        tempfile.TemporaryDirectory(prefix="flowctx-reach-") as folder,
        postgres_server() as server,
        postgres_database(server) as database,
    ):
        if airflow.__version__ < "3.1":  # whose SQLAlchemy knows psycopg2 only
            database = database.replace("postgresql://", "postgresql+psycopg2://")
        ledger_url = f"sqlite:///{folder}/ledger.db"
        dags = Path(folder, "dags")
        dags.mkdir()
        # Before 3.2 the end of a DAG bounds logical dates, which are some hours later.
        schemes = (HERE.parent / "e2e/airflow_files/schemes.py").read_text()
        Path(dags, "schemes.py").write_text(schemes.replace("datetime(2012, 10, 26)", "datetime(2012, 10, 27)"))
        env = {"PYTHONPATH": str(HERE), "FLOWCTX_LEDGER_URL": ledger_url}
        files = [dags / "schemes.py", HERE / "launched_dag.py"]
        with airflow_stack(Path(folder, "airflow"), database, files, env=env) as stack:
            try_schedule_and_backfill(stack)
            try_launched_batch(stack, ledger_url)
    print(f"Airflow {airflow.__version__}: {len(SCHEDULED + BACKFILLED)} keys once each; a batch, a retry, a resume")


if __name__ == "__main__":
    main()
