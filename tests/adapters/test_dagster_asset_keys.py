"""The keys of a workflow's assets may be renamed, and their outputs kept apart; its checks are those of its assets."""

import warnings
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository

from adapters.dagster_support import QUIET, Bench, counted
from flowctx import (
    BatchStatus,
    ContextError,
    Daily,
    PartitionScheme,
    QualityMetrics,
    StepResult,
    Workflow,
    WorkflowError,
)
from flowctx.dagster import (
    WorkflowIOManager,
    asset_key,
    inputs_sensor,
    workflow_assets,
    workflow_definitions,
    workflow_job,
)
from flowctx.dagster._versions import DAGSTER
from flowctx.dagster.outputs import Written
from flowctx.dagster.partitions import partitions_def

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31", calendar="WEEKDAYS"))
DAY = "2012-10-26"
EVENT = dg.DagsterEventType


def checked(name="flow", calls=None):
    """Return a workflow whose second step reports its quality, and whose third has what the first found."""
    flow = Workflow(name, partitions=DAYS)
    flow.step("fetch")(lambda ctx: {"rows": 3})
    metrics = QualityMetrics(counts={"rows": 3})
    flow.step("check")(counted([] if calls is None else calls, lambda ctx: StepResult.ok({"n": 1}, quality=metrics)))
    flow.step("tell")(lambda ctx: {"rows": ctx.get_output("fetch", "rows")})
    return flow


def loaded(assets, **how):
    """Return assets as Dagster loads them from a module."""
    module = ModuleType("definitions_of_flow")
    module.assets = assets
    return list(dg.load_assets_from_modules([module], **how))


def replaced(assets, keys):
    """Return assets whose keys are replaced by others."""
    return [each.with_attributes(asset_key_replacements=keys) for each in assets]


RENAMES = {
    "key_prefix=": (lambda flow: workflow_assets(flow, key_prefix="desk", checks=["check"]), "desk/flow/{}"),
    "Dagster's own": (
        lambda flow: loaded(workflow_assets(flow, checks=["check"]), key_prefix=["eu", "desk"]),
        "eu/desk/flow/{}",
    ),
    "any other": (
        lambda flow: replaced(
            workflow_assets(flow, checks=["check"]),
            {asset_key(flow, name): dg.AssetKey([name, "of_flow"]) for name in flow.steps},
        ),
        "{}/of_flow",
    ),
}


@pytest.mark.parametrize("how", RENAMES)
def test_assets_may_be_renamed(how, tmp_path):
    """Whatever renames the keys, steps find what was before them, checks their asset, and readers the outputs."""
    make, key = RENAMES[how]
    flow = checked()
    bench = Bench(flow, tmp_path)
    upstream = dg.AssetIn(dg.AssetKey(key.format("tell").split("/")))
    days = workflow_assets(flow)[0].partitions_def

    @dg.asset(ins={"told": upstream}, partitions_def=days)
    def reader(told: dict) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata=told)

    bench.assets = [*make(flow), reader]
    done = bench.run(DAY)
    assert done.success
    made = {event.asset_key.to_user_string() for event in bench.events(done, EVENT.ASSET_MATERIALIZATION)}
    assert made == {"reader", *(key.format(name) for name in flow.steps)}
    (check,) = done.get_asset_check_evaluations()
    assert check.asset_key.to_user_string() == key.format("check")
    (told,) = done.asset_materializations_for_node("reader")
    assert (bench.outputs.output(key.format("fetch"), DAY), told.metadata["rows"].value) == ({"rows": 3}, 3)
    if how != "any other":  # without a code location, only a prefix tells what the keys are of what is not in the run
        assert bench.run(DAY, selection=[key.format("tell"), "reader"]).success


LOCATION = """
import dagster as dg
from adapters.test_dagster_asset_keys import RENAMES, checked, of_graph
from flowctx.dagster import WorkflowIOManager

outputs = WorkflowIOManager(base_path={folder!r})
assets = [*RENAMES["any other"][0](checked()), of_graph]
defs = dg.Definitions(assets, resources={{"workflow_io_manager": outputs}}, executor=dg.in_process_executor)
"""


@dg.op(out={"one": dg.Out(dg.Nothing), "two": dg.Out(dg.Nothing)})
def halves():
    """Make both assets of a graph."""
    yield dg.Output(None, "one")
    yield dg.Output(None, "two")


@dg.graph_multi_asset(outs={"one": dg.AssetOut(), "two": dg.AssetOut()}, partitions_def=partitions_def(DAYS))
def of_graph():
    """Two assets that a graph makes."""
    one, two = halves()
    return {"one": one, "two": two}


def test_assets_of_graphs_stand_beside_steps(tmp_path):
    """Steps of a run find their keys among those of assets that no single op makes."""
    bench = Bench(checked(), tmp_path, of_graph)
    done = bench.run(DAY)
    assert [event.step_key for event in done.get_step_failure_events()] == []
    assert {"one", "two", "tell"} <= {step for step, _ in bench.materializations(done)}


def test_a_part_of_a_code_location_is_found_by_other_names(tmp_path):
    """A run of one asset reads what steps further back made, whatever the code location calls them or has beside."""
    file = tmp_path / "location.py"
    file.write_text(LOCATION.format(folder=str(tmp_path)))
    job = ReconstructableRepository.for_file(str(file), "defs").get_reconstructable_job("__ASSET_JOB")
    tell = dg.AssetKey(["tell", "of_flow"])
    with dg.DagsterInstance.ephemeral() as instance:
        for part in (job, job.get_subset(asset_selection=frozenset({tell}))):
            with dg.execute_job(part, instance, run_config=QUIET, tags={"dagster/partition": DAY}) as done:
                assert done.success
    assert WorkflowIOManager(base_path=str(tmp_path)).output(tell, DAY) == {"rows": 3}


def test_the_prefix_is_that_of_what_is_read_too():
    """A workflow that reads another depends on the keys of that one: with its own prefix, or another one by name."""
    source = checked("source")
    reader = Workflow("reader", partitions=DAYS)
    reader.step("use", inputs={"rows": source.output("fetch")})(lambda ctx, *, rows: None)
    for prefix, wanted in (("desk", ["desk", "source", "fetch"]), ({"source": ["eu"]}, ["eu", "source", "fetch"])):
        (spec,) = workflow_assets(reader, key_prefix=prefix)[0].specs
        assert [dep.asset_key.path for dep in spec.deps] == [wanted]
        assert spec.key == asset_key(reader, "use", prefix)


def test_one_dict_of_prefixes_serves_many_workflows():
    """Names that have nothing to do with a workflow are left alone, and one that seems to be a slip is told."""
    reader = checked("reader")
    prefixes = {"source": "eu", "other": "desk"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert workflow_assets(reader, key_prefix=prefixes)[0].key == asset_key(reader, "fetch")
    with pytest.warns(UserWarning, match="'raeder', which workflow 'reader' is not and .* did you mean 'reader'"):
        workflow_assets(reader, key_prefix={"raeder": "desk"})


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("", "key_prefix of workflow 'reader' is ''; a name in it must be text and not empty: leave it out"),
        (["eu", " "], r"key_prefix of workflow 'reader' is \['eu', ' '\]; a name in it"),
        ({"reader": "desk", "source": ""}, "key_prefix of workflow 'source' is ''; a name in it"),
    ],
)
def test_a_prefix_that_means_nothing_is_refused(prefix, words):
    """An empty one, as of a variable that is not set."""
    source = checked("source")
    reader = Workflow("reader", partitions=DAYS)
    reader.step("use", inputs={"rows": source.output("fetch")})(lambda ctx, *, rows: None)
    for made in (
        lambda: workflow_definitions(reader, key_prefix=prefix),
        lambda: inputs_sensor(reader, start="2012-01-02", key_prefix=prefix),
    ):
        with pytest.raises(WorkflowError, match=words):
            made()


def test_outputs_of_several_workflows_lie_apart(tmp_path):
    """Workflows with different base paths stand in one code location, each with a resource of its own, and are read."""
    one, two = checked("one"), checked("two")

    @dg.asset(ins={"a": dg.AssetIn(asset_key(one, "fetch")), "b": dg.AssetIn(asset_key(two, "fetch"))})
    def both(a: dict, b: dict) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"rows": a[DAY_KEY]["rows"] + b[DAY_KEY]["rows"]})

    DAY_KEY = next(key for key in DAYS if key.date == DAY)
    location = dg.Definitions.merge(
        workflow_definitions(one, base_path=str(tmp_path / "a")),
        workflow_definitions(two, base_path=str(tmp_path / "b"), io_manager_key="funds_io_manager"),
        dg.Definitions([both]),
    )
    dg.Definitions.validate_loadable(location)
    with dg.DagsterInstance.ephemeral() as instance:
        for flow in (one, two):
            job = location.resolve_job_def(f"{flow.name}_job")
            assert job.execute_in_process(partition_key=DAY, instance=instance, run_config=QUIET).success
    assert sorted(path.relative_to(tmp_path).parts[:2] for path in tmp_path.glob("*/*")) == [("a", "one"), ("b", "two")]


class Counting(WorkflowIOManager):
    """Keeps outputs as usual, and counts them."""

    def handle_output(self, context, obj):
        """Note that it was called."""
        context.add_output_metadata({"counted": 1})
        super().handle_output(context, obj)


class Other(dg.ConfigurableIOManager):
    """Keeps nothing."""

    def handle_output(self, context, obj):
        """Do nothing."""

    def load_input(self, context):
        """Have nothing."""


def test_an_io_manager_of_ones_own_extends_ours(tmp_path):
    """What extends the IO manager takes its place; any other is refused, with what to write."""
    flow = checked()
    bench = Bench(flow, tmp_path)
    bench.outputs = Counting(base_path=str(tmp_path))
    found = bench.materializations(bench.run(DAY))
    assert {metadata["counted"] for metadata in found.values()} == {1}
    bench.outputs = Other()
    (failed,) = [event for event in bench.run(DAY).all_events if event.is_step_failure]
    assert "'workflow_io_manager' is Other" in failed.step_failure_data.error.message
    with pytest.raises(ContextError, match="is Other.*a class of your own that extends it"):
        workflow_job(flow, resource_defs={"workflow_io_manager": bench.outputs})


class Copied(WorkflowIOManager):
    """Keeps outputs as usual, and notes each; it cannot have those of one day."""

    def stored(self, context, output):
        """Note what is stored."""
        if output.key == "2012-10-24":
            raise ConnectionError("https://me:hunter2@copies is away")
        COPIES.append((context.run.run_id, output.asset_path[-1], str(output.partition), dict(output.output)))


COPIES: list[tuple] = []


def test_what_is_stored_is_told_for_each_partition(ledger, tmp_path):
    """An IO manager of one's own hears of steps and of assets, by themselves and in a range, and of nothing skipped."""
    COPIES.clear()
    flow = Workflow("flow", partitions=DAYS)
    flow.step("open", optional=True)(lambda ctx: 1 / 0)
    flow.step("skip")(lambda ctx: StepResult.skip("a holiday") if ctx.as_of_date.day == 25 else {"n": 1})
    flow.step("tell", run_if="not_failed")(lambda ctx: {"day": ctx.as_of_date.day})

    @dg.asset(
        partitions_def=partitions_def(DAYS),
        io_manager_key="workflow_io_manager",
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[asset_key(flow, "tell")],
    )
    def own(context):
        return {key: {"own": 1} for key in context.partition_keys}

    bench = Bench(flow, tmp_path, own, backfill_policy=dg.BackfillPolicy.single_run())
    bench.outputs = Copied(base_path=str(tmp_path))
    first, second = bench.run(DAY), bench.run(span=("2012-10-25", DAY))
    assert (first.success, second.success) == (True, True)
    of_day = [("skip", {"n": 1}), ("tell", {"day": 26}), ("own", {"own": 1})]
    assert [copy[1:] for copy in COPIES if copy[0] == first.run_id] == [
        (name, "date=2012-10-26", output) for name, output in of_day
    ]
    of_range = [*of_day, ("tell", {"day": 25}), ("own", {"own": 1})]
    assert sorted(str((copy[1], copy[3])) for copy in COPIES if copy[0] == second.run_id) == sorted(map(str, of_range))


def test_what_cannot_be_stored_fails_its_partition(ledger, tmp_path):
    """The others of a range are stored and materialised, and the message has no secret."""
    COPIES.clear()
    bench = Bench(checked(), tmp_path, backfill_policy=dg.BackfillPolicy.single_run())
    bench.outputs = Copied(base_path=str(tmp_path))
    done = bench.run(span=("2012-10-23", "2012-10-25"))
    (failed,) = done.get_step_failure_events()
    text = failed.step_failure_data.user_failure_data.description
    assert "its output could not be stored: ConnectionError: https://me:***@copies is away" in text
    assert set(bench.materializations(done)) == {("fetch", "2012-10-23"), ("fetch", "2012-10-25")}
    assert len(COPIES) == 2
    runs = {run.context.partition.date: (str(run.status), run.error) for run in ledger.list_runs(workflow="flow")}
    assert runs["2012-10-24"] == ("failed", f"step 'fetch': {text.split(': ', 1)[1]}")


@pytest.mark.parametrize("days", [("2012-10-24", "2012-10-24"), ("2012-10-23", "2012-10-25")], ids=["one", "range"])
@pytest.mark.parametrize("skips", [False, True], ids=["output", "skip"])
def test_what_the_last_step_cannot_store_is_not_captured(skips, days, ledger, tmp_path):
    """Its partition has failed in the ledger and in its batch, of which the others are done; later it goes on."""
    flow = Workflow("flow", partitions=DAYS)
    flow.step("load")(lambda ctx: StepResult.skip("a holiday") if skips else None)
    bench = Bench(flow, tmp_path, backfill_policy=dg.BackfillPolicy.single_run())
    (tmp_path / "flow" / "load").mkdir(parents=True)
    in_the_way = tmp_path / "flow" / "load" / "2012-10-24"
    in_the_way.touch()
    how = {"key": days[0]} if days[0] == days[1] else {"span": days}
    assert not bench.run(**how, tags={"flowctx/batch_id": "b"}).success
    well, what = ("skipped", "that it was skipped") if skips else ("ok", "its output")
    others = {"2012-10-23": well, "2012-10-25": well} if "span" in how else {}
    runs = {run.context.partition.date: run for run in ledger.list_runs(batch_id="b")}
    assert {day: run.status for day, run in runs.items()} == {"2012-10-24": "failed", **others}
    assert runs["2012-10-24"].error.startswith(f"step 'load': {what} could not be stored: ")
    assert "2012-10-24" not in {one.partition.date for one in ledger.captures() if one.state == "complete"}
    assert BatchStatus.of(ledger, "b", flow).counts["failed"] == 1
    in_the_way.unlink()
    assert bench.run("2012-10-24", tags={"flowctx/batch_id": "b"}).success
    assert BatchStatus.of(ledger, "b", flow).counts == {well: len(runs)}


def test_to_store_is_tried_again(ledger, tmp_path, monkeypatch):
    """The policy of the step counts for that, too, of each partition by itself; what is made is not made again."""
    made = Workflow("made", partitions=DAYS)
    calls: list[Any] = []
    tries: list[str] = []

    def stored(self, context, output):
        if output.asset_path[-1] == "load":
            tries.append(str(output.partition))
            assert tries.count(tries[-1]) == 2

    made.step("load", retries=1)(counted(calls, lambda ctx: 1 / 0 if ctx.as_of_date.day == 24 else None))
    made.step("tell")(lambda ctx: None)
    bench = Bench(made, tmp_path, backfill_policy=dg.BackfillPolicy.single_run())
    bench.outputs = Copied(base_path=str(tmp_path))
    monkeypatch.setattr(Copied, "stored", stored)
    assert bench.run(DAY).success
    assert bench.run(span=("2012-10-24", "2012-10-25")).get_step_failure_events()
    found = [ctx.as_of_date.day for ctx in calls], [int(day[-2:]) for day in tries]
    assert found == ([26, 24, 24, 25], [26, 26, 25, 25])


def test_handle_output_has_no_output_of_a_range():
    """Whoever looks for one there is told where it is; whoever asks first whether there is one is told no."""
    with pytest.raises(AttributeError, match=r"override stored\(context, output\)"):
        _ = Written(count=2).output
    assert not hasattr(Written(count=2), "output")


def evaluations(result):
    found = result.get_asset_check_evaluations()
    # Before Dagster 1.12 an evaluation has no such field.
    return {(getattr(check, "partition", None), check.passed, check.metadata["rows"].value) for check in found}


@pytest.mark.needs("dagster", "partitioned checks")
def test_a_check_is_partitioned_as_its_asset(tmp_path):
    """Each partition has a light of its own, in a run of a range too."""
    flow = checked()
    one = Bench(flow, tmp_path, checks=["check"])
    assert evaluations(one.run(DAY)) == {(DAY, True, 3)}
    ranged = Bench(flow, tmp_path, checks=["check"], backfill_policy=dg.BackfillPolicy.single_run())
    days = ("2012-10-25", "2012-10-26")
    assert evaluations(ranged.run(span=days)) == {(day, True, 3) for day in days}


def test_a_check_alone_runs_no_step(tmp_path):
    """A run of a check reports what was found when the asset was made, and runs nothing; without one it says so."""
    calls = []
    bench = Bench(checked(calls=calls), tmp_path, checks=["check"])
    alone = dg.AssetSelection.checks_for_assets(dg.AssetKey(["flow", "check"]))
    tags = {"flowctx/partition": DAY}
    refused = bench.run(tags=tags, selection=alone)
    (failed,) = [event for event in refused.all_events if event.is_step_failure]
    assert "has no output under" in failed.step_failure_data.error.message
    assert (bench.run(DAY).success, len(calls)) == (True, 1)
    able = DAGSTER.able("partitioned checks")
    partition, ranges = (DAY, [{"span": (DAY, DAY)}]) if able else (None, [])  # before, a check's run has no range
    for how in ({"tags": tags}, *ranges):
        assert (evaluations(bench.run(selection=alone, **how)), len(calls)) == ({(partition, True, 3)}, 1)
