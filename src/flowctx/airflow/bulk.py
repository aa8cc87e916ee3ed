"""The bulk lane: a DAG that runs slices of a batch, many partitions in each task, for ``flowctx backfill --bulk``."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from airflow.sdk import DAG, Asset, BaseOperator, Context

from flowctx.airflow._compat import AirflowFailException
from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.outputs import instance_states
from flowctx.airflow.recording import ledger
from flowctx.bulk import SliceProcess, captured_since, check_bulk, not_done, slice_counts
from flowctx.core.batches.bulk import BULK, RUN_SLICE, BulkRequest, Slice, bulk_name
from flowctx.core.batches.records import PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import LedgerError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow

logger = logging.getLogger("flowctx")

#: The tasks of the DAG.
PLAN, TELL, RESULT = "plan", "tell", "result"
#: In XCom: until when assets are told of a slice, on the ledger's clock; of tasks after them, of each slice.
TOLD_UNTIL: Final = "told_until"
#: A task that was killed is tried again so often, and goes on from where it was.
_RETRIES, _RETRY_DELAY = 2, timedelta(seconds=10)
#: So long is a label in Airflow's own table at most.
_LABEL: Final = 200


def workflow_bulk_dag(workflow: Workflow, *, outlets: Sequence[Asset] = (), **dag_kwargs: Any) -> DAG:
    """Return a DAG that runs a workflow's batches in bulk: many partitions inside few tasks.

    ``flowctx backfill --on airflow --bulk`` starts its runs. A mapped task runs one slice of the batch as a batch runs
    on one machine, with the ledger as memory, so that a slice that is retried, cleared or killed goes on from where it
    was. How partitions stand is in the ledger (``flowctx status``); a last task fails the run if some have not ended
    well.

    Args:
        workflow: The workflow; it must be bound to a name in a module that tasks can import.
        outlets: Assets of which each partition that ends well makes an event, with its partition and batch; by default
            there are none. A slice that ends tells of its own; of what a slice captured that failed for good, the task
            ``tell`` does. Before Airflow 3.3, one event for each of these tasks lists the partitions in its ``extra``.
        **dag_kwargs: As for ``DAG``; they win over what follows from the workflow. ``default_args`` may have the
            ``retries`` of slices, their ``pool``, or ``max_active_tis_per_dagrun``.

    Raises:
        WorkflowError: It has no partitions or no steps, or tasks cannot import it.

    Example:
        ::

            dag = workflow_dag(prices)
            bulk = workflow_bulk_dag(prices, outlets=[Asset("prices")])
    """
    check_bulk(workflow, "workflow_dag")
    arguments: dict[str, Any] = {
        "dag_id": bulk_name(workflow.name),
        "schedule": None,
        "description": f"Runs slices of batches of workflow {workflow.name}; started by flowctx backfill --bulk",
        **dag_kwargs,
    }
    with DAG(**arguments) as dag:
        label = f"{{{{ ti.task.part['select'][:{_LABEL}] }}}}"
        plan = Slices(task_id=PLAN, workflow=workflow, retries=0)
        # Airflow's defaults win over those of an operator's own when it is mapped.
        tries = {"retries": _RETRIES, "retry_delay": _RETRY_DELAY, **_defaults_of(dag_kwargs, "retries", "retry_delay")}
        slices = RunSlice.partial(
            task_id=RUN_SLICE, workflow=workflow, outlets=list(outlets), map_index_template=label, **tries
        )
        ran = slices.expand(part=plan.output)
        result = BatchResult(task_id=RESULT, workflow=workflow, trigger_rule="all_done", retries=0)
        ran >> result
        if outlets:
            tell = TellOfFailed(
                task_id=TELL, workflow=workflow, outlets=list(outlets), trigger_rule="all_done", **tries
            )
            ran >> tell >> result
    return dag


def _defaults_of(dag_kwargs: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return what the arguments of a DAG have for all its tasks, of some names."""
    defaults = dag_kwargs.get("default_args") or {}
    return {name: defaults[name] for name in names if name in defaults}


def _bulk_of(context: Context) -> Mapping[str, Any]:
    bulk = (context["dag_run"].conf or {}).get(BULK)
    if not isinstance(bulk, Mapping):
        raise AirflowFailException(
            "a run of this DAG is started by a batch: flowctx backfill MODULE:NAME --batch ID --on airflow --bulk"
        )
    return bulk


class _AboutSlices(BaseOperator):
    """A task of the DAG that runs none of its slices."""

    ui_color = "#f4f4f4"

    def __init__(self, *, workflow: Workflow, **kwargs: Any) -> None:
        self.workflow = workflow
        super().__init__(**kwargs)


class Slices(_AboutSlices):
    """Hands on the slices that the launch of a batch has made."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return them."""
        return list(_bulk_of(context)["slices"])


class RunSlice(BaseOperator):
    """Runs one slice of a batch.

    Args:
        workflow: The workflow.
        part: The slice, as the launch has made it.
        **kwargs: As for any operator.
    """

    template_fields: Sequence[str] = ("part",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"part": "json"}
    ui_color = "#e6f2ef"

    def __init__(self, *, workflow: Workflow, part: Any, **kwargs: Any) -> None:
        self.workflow, self.part = workflow, part
        self._process: SliceProcess | None = None
        super().__init__(**kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run it, and return how many of its partitions stand how, and until when assets are told of it.

        Raises:
            BatchError: It cannot run; what has run is recorded, and the next try goes on from there.
        """
        request = BulkRequest.from_dict(_bulk_of(context))
        self._process = SliceProcess(self.workflow, request, Slice(**self.part), ledger())
        since = _told_until(context, request, 1 + (context["ti"].map_index or 0))[-1]
        heard = (news for news in self._process.run() if not news.before or news.ended_at >= since)
        well = [news.partition for news in heard if news.state is PartitionState.OK]
        end = self._process.end
        assert end is not None  # noqa: S101 - it has run to its end
        logger.info("%s", json.dumps(end.to_dict()))
        _tell_assets(self, context, request, well)
        return {**end.to_dict(), TOLD_UNTIL: _ledger().now().isoformat()}

    def on_kill(self) -> None:
        """End the processes of the slice when somebody ends the task."""
        if self._process is not None:
            self._process.kill()


class TellOfFailed(_AboutSlices):
    """Tells assets of what slices have captured that failed for good: a task that fails tells of nothing."""

    def execute(self, context: Context) -> int:
        """Return of how many partitions it tells."""
        bulk, found = _bulk_of(context), _ledger()
        request, slices = BulkRequest.from_dict(bulk), [Slice(**part) for part in bulk["slices"]]
        until, since_of = found.now(), _told_until(context, request, len(slices))
        _remember_told(context, since_of)  # until it has told, also where it dies
        failed: dict[datetime, list[Slice]] = {}
        for part, end, since in zip(slices, _ends(context, len(slices)), since_of, strict=True):
            if end is None:
                failed.setdefault(since, []).append(part)
        captured = [
            partition
            for since, parts in failed.items()
            for partition in captured_since(found, self.workflow, request.batch_id, parts, since)
        ]
        _tell_assets(self, context, request, captured)
        _remember_told(context, [until] * len(slices))
        return len(captured)


class BatchResult(_AboutSlices):
    """Fails the run if partitions of its slices have not ended well, or assets are not told of some."""

    def execute(self, context: Context) -> dict[str, int]:
        """Return how many partitions of the batch stand how.

        Raises:
            AirflowFailException: Some have not ended well, or ``tell`` has failed.
        """
        bulk, found = _bulk_of(context), _ledger()
        self._take_over_told(context, len(bulk["slices"]))
        counts = slice_counts(found, self.workflow, bulk["batch_id"], [Slice(**part) for part in bulk["slices"]])
        short = not_done(counts)
        if short:
            see = f"flowctx status {shlex.quote(bulk['batch_id'])}"
            raise AirflowFailException(f"batch {bulk['batch_id']!r}: {short}; see: {see}")
        if TELL in self.upstream_task_ids and context["ti"].xcom_pull(task_ids=TELL) is None:
            raise AirflowFailException(
                f"assets are not told of what failed slices have captured: task {TELL!r} failed; clear it, and what "
                "follows it"
            )
        return counts

    def _take_over_told(self, context: Context, slices: int) -> None:
        """Hand on until when assets are told of each slice, to those that are cleared: their own word is gone then."""
        by_tell = context["ti"].xcom_pull(task_ids=TELL, key=TOLD_UNTIL) or [None] * slices
        ends = zip(_ends(context, slices), by_tell, strict=True)
        context["ti"].xcom_push(key=TOLD_UNTIL, value=[end.get(TOLD_UNTIL) if end else until for end, until in ends])


def _ends(context: Context, slices: int) -> list[Any]:
    """Return what each slice has handed on; ``None`` of one that has failed, if after that."""
    ends = context["ti"].xcom_pull(task_ids=RUN_SLICE, map_indexes=list(range(slices)))
    states = instance_states(context["ti"], [RUN_SLICE])
    return [end if states.get(f"{RUN_SLICE}_{at}") == "success" else None for at, end in enumerate(ends)]


def _told_until(context: Context, request: BulkRequest, slices: int) -> list[datetime]:
    """Return until when assets are told of each of the first slices, on the ledger's clock.

    Of what ended in an earlier launch, the tasks of that one have told; of what ended before slices were cleared, they
    have, or ``tell`` has.
    """
    known = context["ti"].xcom_pull(task_ids=RESULT, key=TOLD_UNTIL) or [None] * slices
    return [datetime.fromisoformat(until) if until else request.launched_at for until in known[:slices]]


def _remember_told(context: Context, until: Sequence[datetime]) -> None:
    context["ti"].xcom_push(key=TOLD_UNTIL, value=[when.isoformat() for when in until])


def _ledger() -> Ledger:
    found = ledger()
    if found is None:
        raise LedgerError("no ledger is named here; set FLOWCTX_LEDGER_URL for whatever runs tasks")
    return found


def _tell_assets(task: RunSlice | TellOfFailed, context: Any, request: BulkRequest, partitions: Sequence[str]) -> None:
    """Say of the outlets of a task which partitions were captured."""
    scheme = task.workflow.partitions
    assert scheme is not None  # noqa: S101 - the DAG has seen to it
    if not partitions:
        task.outlets = []  # the task ends well, which is an event of each of its outlets otherwise
    for outlet in task.outlets:
        event = context["outlet_events"][outlet]
        event.extra["batch_id"] = request.batch_id
        if not AIRFLOW.able("partitions in events"):
            event.extra["partitions"] = partitions
        else:
            event.add_partitions([scheme.text(PartitionKey.parse(text)) for text in partitions])
