"""The bulk job: its run does a slice of a batch, and tells Dagster what each partition materialises."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from backfill.bulk_batch import Bulk
from backfill.flows import flow
from flowctx import Workflow, WorkflowError
from flowctx.core.durability.ledger import Ledger
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.dagster import asset_key, workflow_bulk_job
from flowctx.dagster.partitions import to_dagster_key

SCHEME: PartitionScheme = flow.partitions  # type: ignore[assignment]
BAD = "date=2012-01-02|tier=T2"


def ran(job: dg.JobDefinition, bulk: Bulk, instance: dg.DagsterInstance) -> Any:
    """Run the only slice of a batch."""
    conf = bulk.conf
    (part,) = conf.pop("slices")
    config = {"ops": {"run_slice": {"config": {"bulk": conf, "slice": part}}}}
    return job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)


def test_each_partition_is_one_materialisation(ledger: Ledger) -> None:
    """Of its last step; a partition that failed makes the run fail; an attempt after that tells of nothing twice."""
    bulk = Bulk(ledger, "date=2012-01-02", fail=[BAD])
    with dg.DagsterInstance.ephemeral() as instance:
        job = workflow_bulk_job(flow)
        assert not ran(job, bulk, instance).success
        assert not ran(job, bulk, instance).success
        keys = {"2012-01-02|T1": 1, "2012-01-02|T3": 1}
        counts = instance.event_log_storage.get_materialized_partitions(asset_key(flow, "check"))
        assert counts == set(keys)
        found = instance.fetch_materializations(asset_key(flow, "check"), limit=10).records
        assert sorted(str(record.partition_key) for record in found) == sorted(keys)
        assert not instance.get_materialized_partitions(asset_key(flow, "load"))
    assert bulk.counts() == {"ok": 2, "failed": 1}


def test_what_was_recorded_and_not_told_is_told_by_the_next_launch(ledger: Ledger) -> None:
    """Where a run died before it told Dagster of all that is recorded, each partition is one materialisation."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-03")
    news = list(bulk.process().run())
    keys = [to_dagster_key(one.partition, SCHEME) for one in news]
    bulk.request = replace(bulk.request, launched_at=datetime.now(UTC))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(flow, "check"), partition=keys[0]))
        assert ran(workflow_bulk_job(flow, materialize="steps"), bulk, instance).success
        for step in flow.steps:
            found = instance.fetch_materializations(asset_key(flow, step), limit=99).records
            assert sorted(str(one.partition_key) for one in found) == sorted(keys)
    assert bulk.counts() == {"ok": 6}


def test_steps_can_be_told_one_by_one(ledger: Ledger) -> None:
    """With ``materialize="steps"``, the asset of each step is materialised."""
    bulk = Bulk(ledger, "date=2012-01-02,tier=T1")
    with dg.DagsterInstance.ephemeral() as instance:
        assert ran(workflow_bulk_job(flow, materialize="steps"), bulk, instance).success
        made = {step: instance.get_materialized_partitions(asset_key(flow, step)) for step in flow.steps}
    assert made == {"load": {"2012-01-02|T1"}, "check": {"2012-01-02|T1"}}


def test_nothing_is_told_where_that_is_turned_off(ledger: Ledger) -> None:
    """With ``materialize="none"``, Dagster hears of no asset: not as it runs, and not of what is told later."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-03")
    list(bulk.process().run())  # as a run does that dies before it tells
    bulk.request = replace(bulk.request, launched_at=datetime.now(UTC))
    with dg.DagsterInstance.ephemeral() as instance:
        assert ran(workflow_bulk_job(flow, materialize="none"), bulk, instance).success
        assert instance.all_asset_keys() == []
        bulk = Bulk(ledger, "date=2012-01-04")
        assert ran(workflow_bulk_job(flow, materialize="none"), bulk, instance).success
        assert instance.all_asset_keys() == []
    assert bulk.counts() == {"ok": 3}


def test_what_cannot_be_a_bulk_job_is_refused() -> None:
    """A workflow without partitions, and a word that is none of those for ``materialize``."""
    plain = Workflow("plain")
    plain.step("only")(lambda ctx: None)
    with pytest.raises(WorkflowError, match="workflow 'plain' has no partitions to run in bulk"):
        workflow_bulk_job(plain)
    with pytest.raises(WorkflowError, match="materialize='all' must be one of 'last', 'steps', 'none'"):
        workflow_bulk_job(flow, materialize="all")  # type: ignore[arg-type]


def test_a_bulk_job_that_somebody_starts_says_who_does(ledger: Ledger) -> None:
    """Without a batch there are no slices: Dagster fills in an empty configuration, which is no other version's."""
    job = dg.Definitions(jobs=[workflow_bulk_job(flow)]).resolve_job_def(f"{flow.name}__bulk")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance, raise_on_error=False)
        (failed,) = [event for event in done.all_events if event.is_step_failure]
    assert failed.step_failure_data.error is not None
    assert "started by a batch: flowctx backfill" in str(failed.step_failure_data.error.cause)
