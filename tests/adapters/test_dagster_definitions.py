"""A workflow as Dagster definitions: what is passed through, how parts run, how they sit among a user's own."""

import re
import warnings
from datetime import timedelta

import dagster as dg
import pytest

from adapters.dagster_support import QUIET, Bench
from flowctx import (
    ContextError,
    Daily,
    FlowctxError,
    PartitionScheme,
    QualityMetrics,
    RetryPolicy,
    StepResult,
    Workflow,
    WorkflowError,
    run,
)
from flowctx.dagster import (
    WorkflowIOManager,
    asset_key,
    inputs_sensor,
    partitions_def,
    run_assets,
    workflow_assets,
    workflow_context,
    workflow_definitions,
    workflow_job,
    workflow_schedule,
)
from flowctx.dagster.component import WorkflowComponent
from flowctx.dagster.definitions import retry_policy
from flowctx.examples.prices import prices

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
IBM = dg.MultiPartitionKey({"date": "2012-10-26", "symbol": "IBM"})


@pytest.fixture
def flow():
    made = Workflow("flow", partitions=DAYS)

    @made.step(retries=RetryPolicy(retries=2))
    def fetch(ctx):
        """Fetch the rows."""
        return {"day": ctx.as_of_date.day}

    @made.step(after=[])
    def other(ctx):
        return {"n": 1}

    @made.step(after=["fetch", "other"])
    def join(ctx):
        return {"sum": ctx.get_output("fetch", "day") + ctx.get_output("other", "n")}

    return made


def test_definitions_have_assets_job_schedule_and_checks():
    """One call gives a code location: assets with their order, checks, job, schedule and IO manager."""
    defs = workflow_definitions(prices)
    graph = defs.resolve_asset_graph()
    assert graph.get(asset_key(prices, "summarise")).parent_keys == {
        asset_key(prices, "returns"),
        asset_key(prices, "volatility"),
    }
    assert [key.to_user_string() for key in graph.asset_check_keys] == ["daily_prices/validate:quality"]
    assert graph.get(asset_key(prices, "fetch")).partitions_def == partitions_def(prices.partitions)
    assert defs.resolve_job_def("daily_prices_job").partitions_def == partitions_def(prices.partitions)
    assert defs.resolve_schedule_def("daily_prices_schedule").execution_timezone == "America/New_York"
    dg.Definitions.validate_loadable(defs)


@pytest.mark.parametrize("name", ["base_path", "ledger_url", "group_name", "io_manager_key"])
def test_an_argument_that_is_empty_is_refused(flow, name):
    """It is of a variable that was never set: without this, runs would not be recorded and nobody would know."""
    for text in ("", " "):
        with pytest.raises(ContextError, match=f"{name} is '{text}'; it must be text and not empty: leave it out"):
            workflow_definitions(flow, **{name: text})
        if name in WorkflowIOManager.model_fields:
            with pytest.raises(ValueError, match=f"{name} is '{text}'; it must be text and not empty: leave it out"):
                WorkflowIOManager(**{name: text})


def test_a_variable_that_is_empty_is_refused_by_whoever_reads_it(flow, monkeypatch, tmp_path):
    """A run whose ledger is named by it does not begin, and a tick of the sensor says what is wrong."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    monkeypatch.setenv("OF_DESK", "")
    defs = workflow_definitions(flow, base_path=str(tmp_path), ledger_url=dg.EnvVar("OF_DESK"))
    with dg.DagsterInstance.ephemeral() as instance:
        done = defs.resolve_job_def("flow_job").execute_in_process(
            run_config=QUIET, partition_key="2012-10-26", instance=instance, raise_on_error=False
        )
        [failed, *_] = [event for event in done.all_events if event.is_failure]
        assert "ledger_url is ''; it must be text and not empty" in str(failed.event_specific_data.error)
        (sensor,) = defs.sensors
        with pytest.raises(ContextError, match="ledger_url is in the variable OF_DESK, which is empty or not set here"):
            sensor.evaluate_tick(dg.build_sensor_context(instance))


def test_the_environment_names_no_ledger_by_an_empty_text(flow, monkeypatch):
    """An empty variable is as one that is not set: there is nothing for a sensor to look after."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", "")
    assert not workflow_definitions(flow).sensors


def test_what_describes_assets_is_passed_through(flow):
    """Group, owners, tags, kinds, pool and automation reach every asset; a step's docstring describes it."""
    condition = dg.AutomationCondition.eager()
    (fetch, *others) = workflow_assets(
        flow,
        group_name="market",
        owners=["team:data"],
        tags={"tier": "1"},
        kinds=["duckdb"],
        pool="feed",
        automation_condition=condition,
    )
    (spec,) = fetch.specs
    assert (spec.group_name, spec.owners, spec.kinds) == ("market", ["team:data"], {"duckdb"})
    assert spec.tags["tier"] == "1"
    assert spec.description == "Fetch the rows."
    assert spec.automation_condition == condition
    assert next(iter(workflow_assets(flow, kinds="duckdb")[0].specs)).kinds == {"duckdb"}
    assert fetch.op.pool == "feed"
    assert fetch.op.retry_policy == dg.RetryPolicy(max_retries=2, delay=0)
    assert [asset.op.retry_policy for asset in others] == [None, None]


def test_no_wait_of_dagsters_own_begins_longer_than_the_policy_allows():
    """Where the first wait is longer than the longest one, that one counts."""
    policy = retry_policy(RetryPolicy(retries=1, delay=timedelta(hours=2), max_delay=timedelta(hours=1), backoff=1))
    assert policy.delay == 3600


def test_definitions_load_without_warnings(flow):
    """Neither definitions nor jobs make Dagster warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        workflow_definitions(flow, backfill_policy=dg.BackfillPolicy.single_run())
        workflow_job(flow)


def test_definitions_merge_with_others(flow):
    """Definitions of two workflows and a user's own merge into one code location."""
    second = Workflow("second")

    @second.step()
    def only(ctx):
        return None

    @dg.asset
    def mine() -> None: ...

    defs = dg.Definitions.merge(workflow_definitions(flow), workflow_definitions(second), dg.Definitions([mine]))
    dg.Definitions.validate_loadable(defs)
    assert len(defs.resolve_asset_graph().get_all_asset_keys()) == 5


def test_any_subset_runs(flow, tmp_path):
    """Any selection of steps runs; those outside of it are read from where they were stored."""
    bench = Bench(flow, tmp_path)
    bench.run("2012-10-26", selection=["flow/fetch"])
    bench.run("2012-10-26", selection=["flow/other"])
    result = bench.run("2012-10-26", selection=["flow/join"])
    assert list(bench.materializations(result)) == [("join", "2012-10-26")]
    assert bench.outputs.output("flow/join", "2012-10-26") == {"sum": 27}


def test_assets_and_checks_run_alone(tmp_path):
    """An asset may be materialised without its check, and a check evaluated without materialising."""
    bench = Bench(prices, tmp_path)
    selection = dg.AssetSelection.assets(*(asset_key(prices, name) for name in ("fetch", "validate")))
    result = bench.run(IBM, selection=selection.without_checks())
    assert result.success
    assert bench.events(result, dg.DagsterEventType.ASSET_CHECK_EVALUATION) == []
    tags = {"flowctx/partition": "2012-10-26|IBM"}  # Dagster knows no partition for a check alone
    check = bench.run(tags=tags, selection=dg.AssetSelection.checks_for_assets(asset_key(prices, "validate")))
    assert len(bench.events(check, dg.DagsterEventType.ASSET_CHECK_EVALUATION)) == 1
    assert bench.materializations(check) == {}


def test_checks_may_be_named():
    """Steps whose metrics come from elsewhere are named; a name that is no step is an error."""
    flow = Workflow("flow")

    def measure(ctx):
        return StepResult.ok({}, None, QualityMetrics(counts={"n": 1}))

    flow.step("measure")(measure)
    flow.step("plain")(lambda ctx: None)
    assert [bool(asset.check_specs) for asset in workflow_assets(flow)] == [False, False]
    assert [bool(asset.check_specs) for asset in workflow_assets(flow, checks=["measure"])] == [True, False]
    assert [bool(asset.check_specs) for asset in workflow_assets(flow, checks="measure")] == [True, False]
    with pytest.raises(WorkflowError, match="no step 'wrong'"):
        workflow_assets(flow, checks=["wrong"])


def test_steps_may_depend_on_a_users_asset(flow, tmp_path):
    """A step waits for assets of the user's; a failure there keeps it from running."""
    order = []

    @dg.asset(partitions_def=partitions_def(DAYS))
    def landed(context: dg.AssetExecutionContext) -> None:
        order.append("landed")
        if context.partition_key == "2012-10-27":
            raise ValueError("nothing landed")

    bench = Bench(flow, tmp_path, landed, deps={"fetch": [landed], "other": ["landed"]})
    assert bench.run("2012-10-26").success
    failed = bench.run("2012-10-27")
    assert not failed.success
    assert bench.materializations(failed) == {}
    with pytest.raises(WorkflowError, match="no step 'wrong'"):
        workflow_assets(flow, deps={"wrong": ["landed"]})


def test_parameters_are_run_config(tmp_path):
    """Defaults of parameters are in the config schema; a run overrides those it names, and may name more."""
    flow = Workflow("flow", params={"limit": 5, "label": None}, extra_params=True)
    seen = []

    @flow.step()
    def show(ctx):
        seen.append((dict(ctx.params), ctx.batch_id))

    bench = Bench(flow, tmp_path)
    bench.run()
    bench.run(config={"resources": {"flow_params": {"config": {"limit": 7, "more": [1], "batch_id": "b"}}}})
    assert seen == [({"limit": 5, "label": None}, None), ({"limit": 7, "label": None, "more": [1]}, "b")]


def test_a_workflow_without_steps_is_refused():
    """There is nothing to define for a workflow without steps."""
    for make in (workflow_definitions, workflow_assets, workflow_job):
        with pytest.raises(WorkflowError, match="has no steps"):
            make(Workflow("empty"))


def test_what_is_no_workflow_is_refused():
    """Only a workflow can be defined or run; the error says what was passed."""
    for make in (workflow_definitions, workflow_assets, workflow_job, run_assets):
        with pytest.raises(WorkflowError, match="'test_what_is_no_workflow_is_refused' is no workflow"):
            make(test_what_is_no_workflow_is_refused)


def test_what_is_of_another_type_is_told_by_the_name_that_was_typed(flow):
    """A workflow for a scheme, text for a workflow, a list for a dict: the error says what is taken."""
    reader = Workflow("reader", partitions=DAYS)
    reader.step("read", inputs={"rows": flow.output("fetch")})(lambda ctx, rows: None)
    takes = "takes a PartitionScheme, not a Workflow; that of a workflow is workflow.partitions"
    for wrong, words in [
        (lambda: partitions_def(flow), f"partitions_def {takes}"),
        (lambda: workflow_schedule(["prices"], flow, name="daily"), f"workflow_schedule {takes}"),
        (lambda: workflow_definitions(flow, catch_up="3"), "catch_up='3' must be a number"),
        (lambda: workflow_assets(flow, deps=[dg.AssetKey("landed")]), "deps must be a dict by step"),
        (lambda: asset_key("flow", "fetch"), "'flow' is no workflow; pass what Workflow"),
        (lambda: inputs_sensor(reader, start="22/11/2026"), "start is '22/11/2026'; write it as"),
    ]:
        with pytest.raises(FlowctxError, match=re.escape(words)):
            wrong()


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"workflow": "flow"}, "workflow='flow' is no workflow; pass what Workflow"),
        ({"scheme": prices}, "scheme= takes a PartitionScheme, not a Workflow"),
    ],
)
def test_a_context_is_of_a_workflow_or_of_a_scheme(about, words):
    """Neither a name nor one for the other will do."""
    context = dg.build_op_context(partition_key="2012-10-26")
    with pytest.raises(FlowctxError, match=re.escape(words)):
        workflow_context(context, **about)


# --- the job of ops -----------------------------------------------------------------------------------------------


def _ops(workflow, folder, key=None, **args):
    io_manager = WorkflowIOManager(base_path=str(folder))
    job = workflow_job(workflow, resource_defs={"workflow_io_manager": io_manager})
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance, partition_key=key, run_config=QUIET, raise_on_error=False, **args
        ), io_manager


def test_a_job_of_ops_gives_the_same_outputs(tmp_path):
    """As ops, a workflow's steps have the same outputs as here, under the job's name."""
    result, outputs = _ops(prices, tmp_path, IBM, tags={"batch_id": "b"})
    here = run(prices, partition="2012-10-26|IBM", batch_id="b").context.step_outputs
    assert result.success
    for step in prices.steps:
        read = outputs.output(["jobs", "daily_prices", step], "2012-10-26|IBM", capture_id="2012-10-26|IBM|b")
        assert read == here[step]


def test_ops_skip_and_fail_like_assets(tmp_path):
    """A skip cascades through ops, and a gate stops them with the step's own message."""
    skipped, _ = _ops(prices, tmp_path, dg.MultiPartitionKey({"date": "2010-01-05", "symbol": "FB"}))
    assert skipped.success
    kinds = {event.node_name: event.event_type_value for event in skipped.all_events if event.is_step_skipped}
    assert set(kinds) == {"validate", "returns", "volatility", "summarise"}
    flow = Workflow("flow")

    @flow.step(retries=3)
    def gate(ctx):
        return StepResult.fail("no", category="DATA_QUALITY")

    failed, _ = _ops(flow, tmp_path)
    (event,) = [event for event in failed.all_node_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data.description == "no"


def test_a_job_takes_what_jobs_take(flow):
    """Name, tags and description of the job are the caller's."""
    job = workflow_job(flow, "nightly", tags={"team": "data"})
    assert (job.name, job.tags["team"], job.partitions_def) == ("nightly", "data", partitions_def(DAYS))
    assert job.description == "Workflow flow, step by step."


def test_a_slip_in_an_argument_names_what_was_called():
    """An argument that there is not is refused in the name of the function that was called."""
    flow = Workflow("slips")
    flow.step("only")(lambda ctx: None)
    with pytest.raises(TypeError, match="workflow_definitions.. has no argument 'base_pth'; did you mean 'base_path'"):
        workflow_definitions(flow, base_pth="x")


def test_a_component_of_ones_own_may_have_other_defaults():
    """What a class says for all of its YAML files holds for those that do not say it."""

    class Ours(WorkflowComponent):
        group_name: str | None = "finance"

    where = "workflow: flowctx.examples.prices:prices"
    groups = [
        {spec.group_name for spec in made.build_defs(None).resolve_all_asset_specs() if spec.key.path[0] == prices.name}
        for made in (Ours.resolve_from_yaml(where), Ours.resolve_from_yaml(f"{where}\ngroup_name: fx"))
    ]
    assert groups == [{"finance"}, {"fx"}]


def test_a_component_of_ones_own_may_have_fields_with_nothing_in_them():
    """What is refused is a field of ours that has nothing; of others we do not know what that means."""

    class Noted(WorkflowComponent):
        note: str | None = "none"

    where = "workflow: flowctx.examples.prices:prices"
    assert Noted.resolve_from_yaml(f"{where}\nnote: null").build_defs(None).resolve_all_asset_specs()
    with pytest.raises(ContextError, match="group_name of workflow .* is there and has nothing"):
        Noted.resolve_from_yaml(f"{where}\ngroup_name: null").build_defs(None)
