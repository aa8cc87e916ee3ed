"""A real scheduler of the Airflow that is installed: every kind of run, a scheme, a launched batch, dates."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
FLOWS = HERE / "flows"
E2E = HERE.parent / "e2e"
sys.path[:0] = [str(HERE), str(FLOWS), str(HERE.parent)]

import airflow  # noqa: E402
from airflow_kinds import read, start_backfill, start_runs, try_dates, try_kinds, try_retry_and_clear  # noqa: E402
from launched_flow import launched  # noqa: E402

from e2e.airflow_stack import AirflowStack, airflow_stack  # noqa: E402
from flowctx import Backfill, Daily, PartitionScheme, WorkflowContext, resume  # noqa: E402
from flowctx.backfill.airflow import AirflowLauncher  # noqa: E402
from flowctx.ledger import open_ledger  # noqa: E402
from postgres import postgres_database, postgres_server  # noqa: E402

SESSIONS = PartitionScheme(
    date=Daily(start="2012-10-15", end="2012-10-31", calendar="XNYS", timezone="America/New_York"),
    tier=["T1", "T2"],
    venue=["XNYS", "dark/..p|ol"],
)
SCHEDULED = [SESSIONS.text(key) for key in SESSIONS.select("date=first:4")]
BACKFILLED = [SESSIONS.text(key) for key in SESSIONS.select("date=last:4")]


def sessions(stack: AirflowStack, count: int) -> list[WorkflowContext]:
    """Wait until so many runs of the scheme are over, and return what their tasks saw."""

    def over() -> bool:
        states = Counter(run["state"] for run in stack.runs("sessions"))
        return states["success"] + states["failed"] >= count and not states["queued"] + states["running"]

    stack.wait_until(over, f"{count} runs", seconds=900)
    assert {run["state"] for run in stack.runs("sessions")} == {"success"}
    return list(read(stack, "sessions").values())


def try_scheme(stack: AirflowStack) -> dict[str, str]:
    """Each key runs once, by catch-up or by Airflow's own backfill, with its own date."""
    seen = sessions(stack, len(SCHEDULED))
    assert Counter(SESSIONS.text(ctx.partition) for ctx in seen) == Counter(SCHEDULED)
    start_backfill(stack, "sessions", "2012-10-24", "2012-11-01", batch_id="sandy")
    seen = sessions(stack, len(SCHEDULED) + len(BACKFILLED))
    assert Counter(SESSIONS.text(ctx.partition) for ctx in seen) == Counter(SCHEDULED + BACKFILLED)
    assert all(ctx.as_of_date == SESSIONS.as_of_date(ctx.partition) for ctx in seen)
    batches = {SESSIONS.text(ctx.partition): ctx.batch_id for ctx in seen}
    assert batches == dict.fromkeys(SCHEDULED) | dict.fromkeys(BACKFILLED, "sandy")
    return {
        "date × tier × venue by schedule": f"{len(SCHEDULED)} keys, each once",
        "date × tier × venue by native backfill": f"{len(BACKFILLED)} keys, each once",
    }


def try_launched_batch(stack: AirflowStack, ledger_url: str) -> dict[str, str]:
    """A batch is launched, what failed is tried again, and a failed run goes on here."""
    ledger = open_ledger(ledger_url)
    batch = Backfill(launched, "date=2012-10-25..2012-10-26", "launched", ledger=ledger)
    assert batch.launch(AirflowLauncher(stack.url)).ended == {"ok": 2, "failed": 2}
    assert batch.launch(AirflowLauncher(stack.url), retry_failed=True).ended == {"failed": 2}
    failed = next(run for run in ledger.list_runs(batch_id="launched") if run.status == "failed")
    again = {"workflow": launched, "ledger": ledger, "partition": failed.context.partition}
    result = resume(failed.run_id, **again, params={"mended": True})
    assert result.raise_for_failure().context.get_output("use", "day") == failed.context.as_of_date
    return {"launched batch": "4 keys", "its failed keys again": "2 keys", "failed run resumed in the process": "yes"}


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
        home = Path(folder, "airflow")
        shutil.copytree(E2E / "airflow_plugins", home / "plugins")
        env = {"PYTHONPATH": str(FLOWS), "FLOWCTX_LEDGER_URL": ledger_url}
        files = [FLOWS / name for name in ("kinds_dag.py", "launched_dag.py", "nights_dag.py")]
        with airflow_stack(home, database, files, env=env) as stack:
            start_runs(stack)
            runs = {
                **try_scheme(stack),
                **try_launched_batch(stack, ledger_url),
                **try_kinds(stack),
                **try_retry_and_clear(stack),
                **try_dates(stack),
            }
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
