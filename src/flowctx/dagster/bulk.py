"""The bulk lane: a job that runs slices of a batch, many partitions in each run, for ``flowctx backfill --bulk``."""
# No `from __future__ import annotations`: Dagster 1.13 refuses a decorated function whose `context` has one.

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

import dagster as dg

from flowctx.bulk import SliceNews, SliceProcess, check_bulk, not_done, slice_counts
from flowctx.core.batches.bulk import BULK, GOT_THROUGH_TAG, RUN_SLICE, BulkRequest, Slice, bulk_name
from flowctx.core.batches.records import PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunKey
from flowctx.core.errors import BatchError, WorkflowError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_request import read_text
from flowctx.dagster._compat import report_materializations
from flowctx.dagster.asset_keys import KeyPrefix, asset_key, check_prefix, op_name
from flowctx.dagster.partitions import to_dagster_key
from flowctx.dagster.storage import ledger_at

#: Which assets a partition materialises: that of its last step, those of all its steps, or none.
Materialize: TypeAlias = Literal["last", "steps", "none"]

#: So many materialisations are asked for at a time.
_PAGE = 1000
#: How long what ends is gathered, to be reported together.
_GATHER_SECONDS = 0.25


def workflow_bulk_job(
    workflow: Workflow,
    *,
    materialize: Materialize = "last",
    key_prefix: KeyPrefix | None = None,
    ledger_url: str | None = None,
    **job_args: Any,
) -> dg.JobDefinition:
    """Return a job that runs a workflow's batches in bulk: many partitions inside one run.

    ``flowctx backfill --on dagster --bulk`` starts its runs. A run does one slice of the batch as a batch runs on one
    machine, with the ledger as memory, so that a slice that is retried, re-executed or killed goes on from where it
    was. How partitions stand is in the ledger (``flowctx status``); a run fails if some of its partitions have not
    ended well.

    Args:
        workflow: The workflow; it must be bound to a name in a module that runs can import.
        materialize: What Dagster is told of each partition that ends well: ``"last"``, that the asset of its last step
            is materialised; ``"steps"``, those of all its steps; ``"none"``.
        key_prefix: What the keys of its assets begin with, as for :func:`workflow_assets`.
        ledger_url: The ledger, where ``FLOWCTX_LEDGER_URL`` names none.
        **job_args: For Dagster's ``GraphDefinition.to_job``: ``name``, ``tags``, ``hooks``, ``executor_def`` …

    Raises:
        WorkflowError: It has no partitions or no steps, runs cannot import it, or ``materialize`` is none of these.

    Example:
        ::

            defs = dg.Definitions.merge(workflow_definitions(prices), dg.Definitions(jobs=[workflow_bulk_job(prices)]))
    """
    check_bulk(workflow, "workflow_job")
    check_prefix(workflow, key_prefix)
    read_text(ledger_url, "ledger_url")
    if materialize not in get_args(Materialize):
        raise WorkflowError(f"materialize={materialize!r} must be one of {', '.join(map(repr, get_args(Materialize)))}")

    name = job_args.pop("name", bulk_name(workflow.name))

    @dg.op(
        name=op_name(name, RUN_SLICE),
        description=f"Runs a slice of a batch of workflow {workflow.name}.",
        config_schema={BULK: dict, "slice": dict},
        out=dg.Out(dg.Nothing),
    )
    def run_slice(context: dg.OpExecutionContext) -> None:
        assets = {step: asset_key(workflow, step, key_prefix) for step in workflow.steps}
        _SliceOfRun(workflow, assets, materialize, ledger_at(ledger_url), context).to_the_end()

    node = dg.NodeInvocation(run_slice.name, alias=RUN_SLICE)
    graph = dg.GraphDefinition(name=name, node_defs=[run_slice], dependencies={node: {}})
    job_args.setdefault("description", f"Slices of batches of workflow {workflow.name}, for flowctx backfill --bulk.")
    job_args.setdefault("executor_def", dg.in_process_executor)
    return graph.to_job(name=name, **job_args)


class _SliceOfRun:
    """The slice that a run of Dagster does."""

    def __init__(
        self,
        workflow: Workflow,
        assets: Mapping[str, dg.AssetKey],
        materialize: Materialize,
        ledger: Ledger | None,
        context: dg.OpExecutionContext,
    ) -> None:
        self.assets = assets
        self.workflow, self.materialize, self.ledger, self.context = workflow, materialize, ledger, context
        config: Mapping[str, Any] = context.op_config
        if not config[BULK]:  # which Dagster fills in where somebody starts the job
            raise BatchError(
                "a run of this job is started by a batch: flowctx backfill MODULE:NAME --batch ID --on dagster --bulk"
            )
        self.request, self.part = BulkRequest.from_dict(config[BULK]), Slice(**config["slice"])
        assert workflow.partitions is not None  # noqa: S101 - the job has seen to it
        self.scheme = workflow.partitions

    def to_the_end(self) -> None:
        """Run it, and tell Dagster of each partition.

        Raises:
            Failure: Partitions have not ended well.
            BatchError: It cannot run; what has run is recorded, and the next attempt goes on from there.
        """
        process = SliceProcess(self.workflow, self.request, self.part, self.ledger)
        for news in process.run_in_groups(_GATHER_SECONDS):
            self._tell([one for one in news if one.state is PartitionState.OK])
        assert process.end is not None and self.ledger is not None  # noqa: S101, PT018 - it has run to its end
        counts = slice_counts(self.ledger, self.workflow, self.request.batch_id, [self.part])
        self.context.instance.add_run_tags(self.context.run_id, {GOT_THROUGH_TAG: process.end.stopped or "yes"})
        if short := not_done(counts):
            raise dg.Failure(
                f"{short} of the {self.part.partitions:,} partitions of this slice of batch {self.request.batch_id}; "
                f"see: flowctx status {shlex.quote(self.request.batch_id)}",
                metadata=dict(counts),
                allow_retries=False,
            )

    def _tell(self, news: Sequence[SliceNews]) -> None:
        """Report what partitions materialise, unless an earlier attempt has."""
        for asset, partitions in self._made(news).items():
            before = {key: one.ended_at for key, one in partitions.items() if one.before}
            known = _materialized(self.context.instance, asset, before) if before else set()
            report_materializations(
                self.context,
                [
                    dg.AssetMaterialization(
                        asset,
                        partition=key,
                        metadata={"flowctx/run_id": one.run_id, "flowctx/batch_id": self.request.batch_id},
                    )
                    for key, one in partitions.items()
                    if key not in known
                ],
            )

    def _made(self, news: Sequence[SliceNews]) -> dict[dg.AssetKey, dict[str, SliceNews]]:
        """Return the assets that partitions materialise in the order of their steps, and the news by Dagster's keys."""
        made: dict[dg.AssetKey, dict[str, SliceNews]] = {asset: {} for asset in self.assets.values()}
        if self.materialize == "none" or self.ledger is None:
            return {}
        keys = [PartitionKey.parse(one.partition) for one in news]
        pairs = zip(news, keys, strict=True)
        runs = [RunKey(run_id=one.run_id, workflow=self.workflow.name, partition=key).digest for one, key in pairs]
        statuses = self.ledger.statuses_of(runs)
        for one, key, run in zip(news, keys, runs, strict=True):
            steps = [step for step in self.assets if statuses.get(run, {}).get(step) is StepStatus.OK]
            for step in steps if self.materialize == "steps" else steps[-1:]:
                made[self.assets[step]][to_dagster_key(key, self.scheme)] = one
        return made


def _materialized(instance: dg.DagsterInstance, asset: dg.AssetKey, since: Mapping[str, datetime]) -> set[str]:
    """Return which partitions of an asset were materialised since a time of each."""
    first = min(since.values()).timestamp()
    wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=list(since), after_timestamp=first)
    found: set[str] = set()
    cursor = None
    while True:
        page = instance.fetch_materializations(wanted, limit=_PAGE, cursor=cursor)
        times = [(str(record.partition_key), record.timestamp) for record in page.records]
        found |= {key for key, time in times if time >= since[key].timestamp()}
        if not page.has_more:
            return found
        cursor = page.cursor
