"""Inputs as Dagster knows them: lineage, mappings, and the order of its own backfills."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._time import get_current_timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dagster_schemes import cadences
from adapters.dagster_support import QUIET, persistent_instance
from adapters.input_flows import DAYS, workflows
from adapters.test_dagster_mappings import IN_MEMORY
from flowctx import Daily, PartitionScheme, Workflow, run
from flowctx.core.partitions.mapping import PartitionMapping
from flowctx.dagster import WorkflowIOManager, workflow_assets, workflow_definitions, workflow_job
from flowctx.dagster.inputs import input_deps
from flowctx.dagster.mappings import previous_mapping
from flowctx.dagster.partitions import from_dagster_key, partitions_def, to_dagster_key
from flowctx.ledger import open_ledger


@settings(max_examples=40, deadline=None)
@given(cadences(), st.integers(1, 5), st.data())
def test_dates_before_are_those_of_the_rule(cadence, n, data) -> None:
    """For any cadence, Dagster's mapping goes back to the same dates, closed days or not."""
    scheme = PartitionScheme(date=cadence, tier=["T1", "T2"])
    definition, keys = partitions_def(scheme), scheme.keys()
    if not keys:
        return
    key = keys[data.draw(st.integers(0, len(keys) - 1))]
    found = previous_mapping(scheme, scheme, n, 1).get_upstream_mapped_partitions_result_for_partitions(
        definition.empty_subset().with_partition_keys([to_dagster_key(key, scheme)]), definition, definition
    )
    before = {from_dagster_key(text, scheme) for text in found.partitions_subset.get_partition_keys()}
    assert before == set(PartitionMapping(scheme, scheme, previous=n).keys(key))


def test_assets_depend_on_what_their_steps_read() -> None:
    """A chain depends on its own dates before, and a sum on the asset of the other workflow."""
    nav, desk = workflows("deps")
    defs = dg.Definitions.merge(workflow_definitions(nav), workflow_definitions(desk))
    graph = defs.resolve_asset_graph()
    parents = {
        key.to_user_string(): {p.to_user_string() for p in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "deps_nav/value": {"deps_nav/value"},
        "deps_nav/total": {"deps_nav/value"},
        "deps_desk/report": {"deps_nav/total"},
    }
    metadata = graph.get(dg.AssetKey(["deps_nav", "total"])).metadata
    assert metadata["flowctx/inputs"] == dg.MetadataValue.text("window: value of deps_nav, the 5 dates before")


def test_a_code_location_may_have_the_reader_alone() -> None:
    """What it reads may be elsewhere, and is shown as an asset of others."""
    _, desk = workflows("alone")
    dg.Definitions.validate_loadable(workflow_definitions(desk))


def test_what_dagster_cannot_say_is_left_out() -> None:
    """A benchmark for every fund has no mapping: the asset stands without that dependency."""
    nav, _ = workflows("left_out")
    nav.step(name="beta", inputs={"market": nav.output("value").previous().where(fund="A")})(
        lambda ctx, *, market: None
    )
    assert input_deps(nav, nav["value"]) == []


DEFINITIONS = """
import dagster as dg
from adapters.input_flows import workflows
from flowctx.dagster import WorkflowIOManager, workflow_assets, workflow_definitions

nav, desk = workflows("native")
defs = dg.Definitions.merge(
    workflow_definitions(nav), workflow_definitions(desk), dg.Definitions(executor=dg.in_process_executor)
)
"""
ASSETS = [("native_nav", "value"), ("native_nav", "total"), ("native_desk", "report")]


def backfill(folder: Path, assets: list[tuple[str, str]]) -> tuple[BulkActionStatus, list[str]]:
    """Let Dagster's daemon backfill assets, and return how that ended and what failed runs said."""
    (folder / "definitions.py").write_text(DEFINITIONS)
    place = LoadableTargetOrigin(executable_path=sys.executable, python_file=str(folder / "definitions.py"))
    target = InProcessTestWorkspaceLoadTarget(InProcessCodeLocationOrigin(place, location_name="tests"))
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with (
        persistent_instance(folder / "home", IN_MEMORY) as instance,
        WorkspaceProcessContext(instance, target) as workspace,
    ):
        made = PartitionBackfill.from_asset_partitions(
            asset_graph=workspace.create_request_context().asset_graph,
            backfill_id="native",
            tags={"flowctx/batch_id": "v2"},
            backfill_timestamp=get_current_timestamp(),
            asset_selection=[dg.AssetKey(path) for path in assets],
            partition_names=None,
            dynamic_partitions_store=instance,
            all_partitions=True,
            title=None,
            description=None,
            run_config={"resources": {"native_nav_params": {"config": {"factor": 3}}}} if len(assets) < 3 else None,
        )
        instance.add_backfill(made)
        for _ in range(40):
            list(execute_backfill_iteration(workspace, logging.getLogger("tests")))
            found = instance.get_backfill("native")
            if found.status != BulkActionStatus.REQUESTED:
                break
        failures = [
            entry.dagster_event.step_failure_data.user_failure_data.description
            for run in instance.get_runs()
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        ]
        return found.status, failures


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A ledger with older versions of two days."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    nav, _ = workflows("native")
    for day in DAYS[:2]:
        for fund in "AB":
            run(nav, partition=f"{day}|{fund}", batch_id="v1", params={"factor": 100}).raise_for_failure()
    return open_ledger(url)


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore:Non-compliant tag keys", "ignore:Function `AssetSelection.sources`")
def test_a_backfill_of_dagsters_own_keeps_the_order(tmp_path, ledger) -> None:
    """A chain of dates and the sum over funds, in one backfill: each reads what the backfill itself has made."""
    status, failures = backfill(tmp_path, ASSETS)
    assert failures == []
    assert status == BulkActionStatus.COMPLETED_SUCCESS
    last = ledger.list_runs(workflow="native_desk", batch_id="v2")
    assert len(last) == 5
    [record] = ledger.steps(last[0].key)
    assert record.output == {"A": 62, "B": 62}


@pytest.mark.filterwarnings("ignore:Non-compliant tag keys", "ignore:Function `AssetSelection.sources`")
def test_a_backfill_of_a_part_reads_its_own_dates_too(tmp_path, ledger) -> None:
    """Where only some assets are made, each date goes on from the one that the backfill made, of no other batch."""
    status, failures = backfill(tmp_path, ASSETS[:1])
    assert failures == []
    assert status == BulkActionStatus.COMPLETED_SUCCESS
    last = next(run for run in ledger.list_runs(batch_id="v2") if run.context.key.date == "2026-01-09")
    assert ledger.steps(last.key)[0].output == {"n": 3**5}


def test_one_run_for_a_range_goes_on_from_date_to_date(ledger) -> None:
    """Inside the run each date has the one before it, which this very run has made; the first has an older one."""
    nav, _ = workflows("native")
    assets = workflow_assets(nav, backfill_policy=dg.BackfillPolicy.single_run())
    bounds = {
        f"dagster/asset_partition_range_{end}": f"2026-01-{day}|A" for end, day in (("start", "06"), ("end", "09"))
    }
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
        outputs = {"workflow_io_manager": WorkflowIOManager(base_path=folder)}
        done = dg.materialize(assets, instance=instance, tags=bounds, resources=outputs, run_config=QUIET)
    assert done.success
    last = ledger.get_run(done.run_id, partition=nav.partitions.key(date="2026-01-09", fund="A"))
    assert [record.output for record in ledger.steps(last.key)] == [{"n": 1600}, {"sum": 100 + 200 + 400 + 800 + 1600}]


@pytest.mark.usefixtures("ledger")
def test_a_range_of_one_step_reads_what_another_one_made_before() -> None:
    """The run makes the sums alone: the values of its dates are there, and none is to come."""
    nav, _ = workflows("native")
    for day in ("07", "08", "09"):
        run(nav, partition=f"2026-01-{day}|A", batch_id="v1", params={"factor": 1}).raise_for_failure()
    assets = workflow_assets(nav, backfill_policy=dg.BackfillPolicy.single_run())
    bounds = {
        f"dagster/asset_partition_range_{end}": f"2026-01-{day}|A" for end, day in (("start", "06"), ("end", "09"))
    }
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            assets,
            selection=[dg.AssetKey(["native_nav", "total"])],
            instance=instance,
            tags=bounds,
            resources={"workflow_io_manager": WorkflowIOManager(base_path=folder)},
            run_config=QUIET,
            raise_on_error=False,
        )
    assert [event.step_failure_data.user_failure_data.description for event in done.get_step_failure_events()] == []


DAY = PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-09"))


def job_of(kind: str) -> tuple[dg.JobDefinition, Workflow, Workflow]:
    """Return a job that reads another workflow of equal keys and itself, and both; some jobs have that one, too."""
    source, reader = Workflow(f"{kind}_source", partitions=DAY), Workflow(f"{kind}_reader", partitions=DAY)
    source.step(name="value")(lambda ctx: {"n": 1})
    found = source.output("value")
    inputs = {"now": found, "old": found.previous(), "own": reader.output("copy").previous()}
    reader.step(name="copy", inputs=inputs)(lambda ctx, now, old, own: {"n": now["n"]})
    if kind == "ops":
        return workflow_job(reader), source, reader
    both = dg.Definitions.merge(workflow_definitions(source), workflow_definitions(reader))
    names = [[flow.name, step] for flow, step in ((source, "value"), (reader, "copy"))]
    made = names if kind == "both" else names[1:]
    job = dg.define_asset_job("job", selection=dg.AssetSelection.assets(*map(dg.AssetKey, made)))
    return dg.Definitions.merge(both, dg.Definitions(jobs=[job])).resolve_job_def("job"), source, reader


def failures_in_backfill(folder: Path, job: dg.JobDefinition, days: list[str]) -> list[str]:
    """Return why the run of the last day fails, in a backfill of a job that has made no other one yet."""
    backfill_id = "_".join(days)
    with persistent_instance(folder / "home", IN_MEMORY) as instance:
        instance.add_backfill(
            PartitionBackfill(
                backfill_id=backfill_id,
                status=BulkActionStatus.REQUESTED,
                from_failure=False,
                tags={},
                backfill_timestamp=get_current_timestamp(),
                partition_names=days,
            )
        )
        tags = {"dagster/backfill": backfill_id}
        done = job.execute_in_process(partition_key=days[-1], instance=instance, tags=tags, raise_on_error=False)
    return [event.step_failure_data.user_failure_data.description for event in done.get_step_failure_events()]


@pytest.mark.parametrize(("kind", "to_come"), [("ops", "own"), ("reader", "own"), ("both", "old")])
@pytest.mark.usefixtures("ledger")
def test_a_backfill_of_a_job_makes_only_what_the_job_has(tmp_path, monkeypatch, kind, to_come) -> None:
    """Another workflow with equal keys is read as it is; what the job has, and has not made yet, is still to come.

    Dagster is asked once for the backfill, which may be large, and not for each that is read.
    """
    monkeypatch.chdir(tmp_path)
    asked, get = [], dg.DagsterInstance.get_backfill
    monkeypatch.setattr(dg.DagsterInstance, "get_backfill", lambda self, name: asked.append(name) or get(self, name))
    job, source, reader = job_of(kind)
    for flow, day in ((source, "05"), (source, "06"), (reader, "05")):
        run(flow, partition=f"2026-01-{day}", batch_id="before").raise_for_failure()
    assert failures_in_backfill(tmp_path, job, ["2026-01-06"]) == []
    assert asked == ["2026-01-06"]
    (failure,) = failures_in_backfill(tmp_path, job, ["2026-01-05", "2026-01-06"])
    assert f"input '{to_come}' of step 'copy' may still be to come" in failure
