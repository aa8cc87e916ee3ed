"""A capture id or an idempotency key that somebody gives is of one partition."""

from dataclasses import replace

import pytest

from flowctx import ContextError, PartitionScheme, Workflow
from flowctx.core.durability.run_plan import begin_run, plan_run
from flowctx.core.workflow.run_context import begin
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger.memory import MemoryLedger

flow = Workflow("nav", partitions=PartitionScheme(tier=["T1", "T2"]))
flow.step("load")(lambda ctx: {})
EOD = RunRequest(capture_id="eod")


def context(tier, run_id):
    """Return the context of a run that was given the id."""
    partition = flow.partition_key(tier)
    return begin("nav", run_id=run_id, scheme=flow.partitions, partition=partition, capture_id="eod")


def test_what_has_begun_with_it_goes_on():
    """Two runs that began at the same time, as instances of a mapped task: neither is refused half-way."""
    ledger = MemoryLedger()
    first = context("T1", "one")
    plans = [plan_run(ledger, flow, ctx, request=EOD) for ctx in (first, context("T2", "two"))]
    for plan in plans:
        begin_run(ledger, plan)
    assert plan_run(ledger, flow, first, request=EOD).run.run_id == "one"
    with pytest.raises(ContextError, match="capture_id 'eod' is that of tier=T2 of workflow 'nav'"):
        plan_run(ledger, flow, context("T1", "three"), request=EOD)


def test_an_idempotency_key_is_of_one_partition():
    """Else one would take the other's place as the current version; a run of the same one does, as it should."""
    ledger, request = MemoryLedger(), RunRequest(idempotency_key="prices")

    def plan(tier, run_id):
        ctx = replace(context(tier, run_id), capture_id=run_id, idempotency_key="prices")
        return plan_run(ledger, flow, ctx, request=request)

    begun = [plan("T1", "one"), plan("T2", "two")]  # at the same time
    for each in begun:
        begin_run(ledger, each)
    assert plan("T1", "one").known.run_id == "one"
    assert plan("T2", "again").run.run_id == "again"
    with pytest.raises(
        ContextError, match="idempotency_key 'prices' is that of tier=T2 of workflow 'nav' .run two., and"
    ):
        plan("T1", "three")
