"""What Dagster calls over is over in the ledger too: a sensor that looks for runs that cannot say so themselves."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

import logging
from functools import cache, lru_cache, partial

import dagster as dg

from flowctx.core.durability.endings import end_run
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.hashing import sha256
from flowctx.core.masking import mask_text
from flowctx.core.printable import amount, brief
from flowctx.core.workflow.definition import Workflow, check_workflow
from flowctx.core.workflow.run_request import read_text
from flowctx.dagster._compat import SharedSensor
from flowctx.dagster.recording import end_in
from flowctx.dagster.storage import ledger_at

logger = logging.getLogger("flowctx")

_WORDS = {RunStatus.FAILED: "Dagster calls it failed", RunStatus.CANCELED: "it was canceled in Dagster"}
_DELETED = "it was deleted in Dagster"
#: So many runs are looked at in one tick, and so many are asked for at a time.
_MOST, _PAGE = 10_000, 500
#: So much is told of what Dagster says of a failure; it may show the end of a log.
_LONGEST = 500


def endings_sensor(
    workflow: Workflow | None = None, *, ledger_url: str | None = None, name: str | None = None
) -> dg.SensorDefinition:
    """Return a sensor that ends runs in the ledger which Dagster calls over: their process died, or was stopped.

    :func:`workflow_definitions` has it already where a ledger is named: one for all workflows of a code location. It is
    on from the start; every 30 seconds it asks the ledger for what runs, and Dagster for how that stands.

    Args:
        workflow: The workflow whose runs it looks after; all of the ledger's that this Dagster knows by default.
        ledger_url: The ledger, where ``FLOWCTX_LEDGER_URL`` names none.
        name: The sensor's name; ``<workflow name>_endings`` or, for all, ``flowctx_endings`` by default.

    Raises:
        WorkflowError: It is no workflow, or has no steps.

    Example:
        ::

            defs = dg.Definitions(assets=workflow_assets(prices), sensors=[endings_sensor()], ...)
    """
    return _sensor(dg.SensorDefinition, None if workflow is None else check_workflow(workflow).name, ledger_url, name)


@lru_cache(maxsize=32)
def shared_sensor(ledger_url: str | None) -> dg.SensorDefinition:
    """Return the sensor for all workflows of a ledger, the same object each time: Dagster refuses two of one name."""
    own = "" if ledger_url is None else f"_{sha256(ledger_url)[:8]}"
    return _sensor(SharedSensor, None, ledger_url, f"flowctx_endings{own}")


def _sensor(
    kind: type[dg.SensorDefinition], flow: str | None, ledger_url: str | None, name: str | None
) -> dg.SensorDefinition:
    read_text(ledger_url, "ledger_url")

    def endings(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ledger = ledger_at(ledger_url)
        if ledger is None:
            return dg.SkipReason("no ledger is named; set FLOWCTX_LEDGER_URL")
        count = end_runs(ledger, context.instance, flow)
        return dg.SkipReason(f"ended in the ledger: {amount(count, 'run')}" if count else "no run was over")

    whose = "" if flow is None else f" of workflow {flow}"
    return kind(
        name=name or f"{flow or 'flowctx'}_endings",
        evaluation_fn=endings,
        description=f"Ends runs{whose} in flowctx's ledger that Dagster calls over.",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
    )


def end_runs(ledger: Ledger, instance: dg.DagsterInstance, workflow: str | None = None) -> int:
    """End the runs in the ledger that an instance of Dagster calls over or has deleted, and return how many.

    Args:
        ledger: Where they are recorded.
        instance: The instance; runs of others are left alone.
        workflow: The workflow's name; ``None``: of all workflows.
    """
    running: dict[str, list[RunRecord]] = {}
    found_running = ledger.list_runs(workflow=workflow, status=RunStatus.RUNNING, limit=_MOST)
    if len(found_running) == _MOST:
        logger.warning(
            "the ledger takes %s runs and more for running, of which only the latest were looked at: see flowctx runs "
            "--status running, or let each workflow have an endings_sensor(workflow) of its own",
            f"{_MOST:,}",
        )
    for run in found_running:
        if run.engine == "dagster":
            running.setdefault(run.run_id, []).append(run)
    ids, count = list(running), 0
    why_over = cache(partial(_why, instance))  # a run may be of many partitions
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        known = {found.run_id: found for found in instance.get_runs(dg.RunsFilter(run_ids=page))}
        for run in (run for run_id in page for run in running[run_id]):
            found = known.get(run.run_id)
            status = end_in(instance, run, found)
            if status is not None:
                why = _DELETED if found is None else why_over(run.run_id, status)
                count += end_run(ledger, run, status, why) is not None
    return count


def _why(instance: dg.DagsterInstance, run_id: str, status: RunStatus) -> str | None:
    """Return what Dagster calls a run that is over, and why, where it says so.

    It does of a run that took too long, or whose process is gone; the first word counts, since the process may have
    another one as it ends.
    """
    word = _WORDS.get(status)
    if word is None:
        return None
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    text = next((why for event in events if event.dagster_event and (why := event.dagster_event.message)), None)
    return word if text is None else f"{word}: {brief(mask_text(' '.join(text.split()).removesuffix('.')), _LONGEST)}"
