"""A real daemon of the Dagster that is installed: a component's schedule, a backfill, a launched batch, its retry."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
FLOWS = HERE / "flows"
sys.path[:0] = [str(HERE), str(FLOWS), str(HERE.parent)]

from e2e.dagster_stack import DagsterStack, Location, contexts, dagster_stack  # noqa: E402

#: A project of ``dg``, whose one component is the workflow.
PROJECT = {
    "pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "daily_project"\n',
    "daily_project/__init__.py": "",
    "daily_project/definitions.py": "from pathlib import Path\n\nimport dagster as dg\n\n"
    "defs = dg.load_from_defs_folder(project_root=Path(__file__).parents[1])\n",
    "daily_project/defs/__init__.py": "",
    "daily_project/defs/daily/defs.yaml": "type: flowctx.dagster.component.WorkflowComponent\n"
    "attributes: {workflow: 'daily_flow:daily'}\n",
}
SCHEDULED = {"dagster/schedule_name": "daily_schedule"}


def write_project(folder: Path) -> None:
    """Write the files of the project."""
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def try_backfill(stack: DagsterStack) -> dict[str, str]:
    """Each key of Dagster's own backfill runs once, with its own date and the batch."""
    from daily_flow import daily

    from flowctx.dagster.partitions import to_dagster_key

    keys = list(daily.partitions.select("date=first:2"))
    batch = {"flowctx/batch_id": "native"}
    stack.launch_backfill(
        [to_dagster_key(key, daily.partitions) for key in keys], "daily/load", "daily/note", tags=batch
    )
    stack.wait_for_runs(len(keys), batch, seconds=600)
    seen = contexts(stack, "daily").values()
    native = [one for one in seen if one["batch_id"] == "native"]
    assert Counter(one["key"] for one in native) == Counter(map(str, keys))
    assert all(one["day"] == one["partition"]["date"] for one in native)
    return {"date × tier × venue by native backfill": f"{len(keys)} keys, each once"}


def try_launched_batch(stack: DagsterStack) -> dict[str, str]:
    """A batch is launched, a failed run goes on here, and what failed besides is tried again."""
    from daily_flow import daily

    from flowctx import Backfill, resume
    from flowctx.backfill.dagster import DagsterLauncher
    from flowctx.ledger import open_ledger

    ledger = open_ledger(os.environ["FLOWCTX_LEDGER_URL"])
    batch = Backfill(daily, "date=first:1", "launched", ledger=ledger)
    assert batch.launch(DagsterLauncher(stack.url)).ended == {"ok": 2, "failed": 2}
    Path(os.environ["MENDED"]).touch()
    failed = next(run for run in ledger.list_runs(batch_id="launched") if run.status == "failed")
    result = resume(failed.run_id, workflow=daily, ledger=ledger, partition=failed.context.partition)
    assert result.raise_for_failure().context.get_output("note", "day") == failed.context.as_of_date
    assert batch.launch(DagsterLauncher(stack.url), retry_failed=True).ended == {"ok": 1}
    return {"launched batch": "4 keys", "failed run resumed in the process": "yes", "its failed keys again": "1 key"}


def try_schedule(stack: DagsterStack) -> dict[str, str]:
    """At its tick, the schedule starts a run for each key of the day."""
    from daily_flow import TICK, daily

    keys = list(daily.partitions.select(f"date={TICK.date()}"))
    runs = stack.wait_for_runs(len(keys), SCHEDULED, seconds=600)
    found = contexts(stack, "daily")
    assert Counter((found[run["runId"]]["day"], found[run["runId"]]["key"]) for run in runs) == Counter(
        (str(TICK.date()), str(key)) for key in keys
    )
    return {"date × tier × venue by schedule": f"{len(runs)} keys, each once"}


def main() -> None:
    """Start a Dagster, and try all of it."""
    with tempfile.TemporaryDirectory(prefix="flowctx-reach-") as name:
        folder, tick = Path(name), datetime.now(UTC) + timedelta(minutes=3)
        write_project(folder / "project")
        (folder / "seen").mkdir()
        env = {
            "PYTHONPATH": f"{folder / 'project'}:{FLOWS}",
            "FLOWCTX_LEDGER_URL": f"sqlite:///{folder}/ledger.db",
            "MENDED": str(folder / "mended"),
            "SEEN": str(folder / "seen"),
            "TICK": tick.replace(second=0, microsecond=0).isoformat(),
        }
        os.environ.update(env)
        where = {"daily": Location(folder / "project/daily_project/definitions.py")}
        with dagster_stack(folder / "dagster", where, env=env) as stack:
            stack.start_schedule("daily_schedule", "daily")
            found = {**try_backfill(stack), **try_launched_batch(stack)}
            runs = {"definitions of a component": "yes", **try_schedule(stack), **found}
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
