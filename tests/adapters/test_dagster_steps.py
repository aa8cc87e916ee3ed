"""How the outcomes of steps look in Dagster: skips, failures, retries, checks, metadata, ranges."""

import json
from dataclasses import replace
from decimal import Decimal

import dagster as dg
import pytest

from adapters.dagster_support import Bench
from flowctx import Daily, PartitionScheme, QualityMetrics, StepResult, Workflow, WorkflowContext
from flowctx.core.data.plain import freeze
from flowctx.dagster import WorkflowIOManager, partitions_def, workflow_contexts
from flowctx.dagster._versions import DAGSTER
from flowctx.examples.prices import prices

EVENT = dg.DagsterEventType
KEY = {"date": "2012-10-26", "symbol": "IBM"}
DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))


def texts(bench, result):
    return [entry.user_message for entry in bench.instance.all_logs(result.run_id)]


def test_a_skip_is_a_true_skip_with_its_reason(tmp_path):
    """A skipped step materialises nothing, Dagster skips what follows, and log and event say why."""
    bench = Bench(prices, tmp_path)
    result = bench.run({"date": "2010-01-05", "symbol": "FB"})
    assert result.success
    assert bench.materializations(result) == {}
    assert [event.step_key for event in bench.events(result, EVENT.STEP_SKIPPED)] == [
        f"daily_prices__{name}" for name in ("validate", "returns", "volatility", "summarise")
    ]
    (seen,) = bench.events(result, EVENT.ASSET_OBSERVATION)
    observation = seen.event_specific_data.asset_observation
    assert observation.metadata["flowctx/reason"].value == "FB did not trade on 2010-01-05"
    assert observation.partition == "2010-01-05|FB"
    assert any("step fetch skipped" in text and "did not trade" in text for text in texts(bench, result))


def test_a_skip_is_remembered_across_runs(tmp_path):
    """A later run of a later step knows that the step before it was skipped, and does not read an older output."""
    bench = Bench(prices, tmp_path)
    bench.run({"date": "2010-01-05", "symbol": "FB"})
    result = bench.run({"date": "2010-01-05", "symbol": "FB"}, selection=["daily_prices/validate"])
    assert result.success
    assert bench.materializations(result) == {}


def test_a_failure_has_the_context_in_its_metadata(tmp_path):
    """A failed step says what the step said, with category, ids and the whole context to replay it."""
    bench = Bench(prices, tmp_path)
    config = {"resources": {"daily_prices_params": {"config": {"max_move": 0.25}}}}
    result = bench.run({"date": "2000-09-29", "symbol": "AAPL"}, tags={"batch_id": "b"}, config=config)
    (event,) = bench.events(result, EVENT.STEP_FAILURE)
    failure = event.step_failure_data.user_failure_data
    assert failure.description == "-52% in a day"
    metadata = {name: value.value for name, value in failure.metadata.items()}
    assert metadata["flowctx/category"] == "DATA_QUALITY"
    assert metadata["flowctx/capture_id"] == "2000-09-29|AAPL|b"
    ctx = WorkflowContext.from_dict(json.loads(json.dumps(metadata["flowctx/context"])))
    assert (ctx.params["max_move"], ctx.run_id, ctx.batch_id) == (0.25, result.run_id, "b")
    assert bench.events(result, EVENT.STEP_UP_FOR_RETRY) == []


def test_a_refusal_has_the_category_of_its_error(tmp_path):
    """A run that is asked for what cannot be is wrongly set up: no code is wrong, and no retry helps."""
    bench = Bench(prices, tmp_path)
    (event,) = bench.events(bench.run(KEY, tags={"flowctx/as_of_date": "2012-10-25"}), EVENT.STEP_FAILURE)
    failure = event.step_failure_data.user_failure_data
    assert failure.description.startswith("ContextError: as_of_date=2012-10-25 is not the business date")
    assert failure.metadata["flowctx/category"].value == "CONFIGURATION"


def test_a_retry_keeps_the_capture_and_shows_the_error(tmp_path):
    """A retryable failure is retried by Dagster, with the step's message in the event and the same capture."""
    flow, seen = Workflow("flow", partitions=DAYS), []

    @flow.step(retries=1)
    def fetch(ctx):
        seen.append(ctx.capture_id)
        if len(seen) == 1:
            return StepResult.fail("try later", category="DEPENDENCY")
        return {"n": 1}

    bench = Bench(flow, tmp_path)
    result = bench.run("2012-10-26")
    (retry,) = bench.events(result, EVENT.STEP_UP_FOR_RETRY)
    assert "try later" in str(retry.event_specific_data.error)
    assert seen == [f"2012-10-26|{result.run_id}"] * 2


def test_quality_metrics_are_an_asset_check(tmp_path):
    """A check passes, warns, or is an error where the step stopped at it; its metadata has counts and rates."""
    flow = Workflow("flow", partitions=DAYS)

    @flow.step()
    def validate(ctx):
        bad = ctx.as_of_date.day - 1
        quality = QualityMetrics(
            counts={"bad": bad}, rates={"share": bad / 10}, passed=not bad, reasons=["nulls"][:bad]
        )
        if bad > 1:
            return StepResult.fail("too many", category="DATA_QUALITY", quality=quality)
        return StepResult.ok({"n": 1}, quality=quality)

    bench = Bench(flow, tmp_path)
    found = []
    for day in ("2012-10-01", "2012-10-02", "2012-10-03"):
        result = bench.run(day)
        (event,) = bench.events(result, EVENT.ASSET_CHECK_EVALUATION)
        check = event.event_specific_data
        found.append((result.success, check.passed, check.severity.value, check.metadata["bad"].value))
    assert found == [(True, True, "WARN", 0), (True, False, "WARN", 1), (False, False, "ERROR", 2)]


def test_numbers_of_an_output_are_metadata_that_plots(tmp_path):
    """Each finite number of an output, and each metric, is a number in the metadata, beside the run's ids."""
    bench = Bench(prices, tmp_path)
    found = bench.materializations(bench.run(KEY, tags={"flowctx/batch_id": "b", "flowctx/trace_id": "t"}))
    fetched = found["fetch", "2012-10-26|IBM"]
    assert (fetched["volume"], fetched["close"]) == (4006500, 193.27)
    assert fetched["flowctx/as_of_date"] == "2012-10-26"
    assert fetched["flowctx/batch_id"] == "b"
    assert fetched["flowctx/trace_id"] == "t"
    assert fetched["flowctx/capture_id"] == "2012-10-26|IBM|b"
    assert found["validate", "2012-10-26|IBM"]["quality/volume"] == 4006500


def test_numbers_that_dagster_cannot_have_are_left_out(tmp_path):
    """Its integers have 64 bits, and its floats are finite; the step succeeds, and the output has them all."""
    flow = Workflow("flow", partitions=DAYS)

    @flow.step()
    def fetch(ctx):
        return {"large": 2**63, "largest": 10**400, "decimal": Decimal("1E+400"), "none": float("nan"), "n": 1}

    bench = Bench(flow, tmp_path)
    found = bench.materializations(bench.run("2012-10-26"))["fetch", "2012-10-26"]
    assert {name: found[name] for name in ("large", "n")} == {"large": 2.0**63, "n": 1}
    assert not {"largest", "decimal", "none"} & found.keys()


def test_a_workflow_without_its_partition_fails_at_once(tmp_path):
    """Dagster accepts a run of a partitioned asset without a partition; the step says what is missing."""
    bench = Bench(prices, tmp_path)
    (event,) = bench.events(bench.run(), EVENT.STEP_FAILURE)
    assert "workflow 'daily_prices' is partitioned" in event.step_failure_data.user_failure_data.description


def test_a_tag_is_no_partition_of_an_asset(tmp_path, ledger):
    """Dagster asks for a partition of its own at the second asset, so that none begins, and the message says which."""
    bench = Bench(prices, tmp_path)
    (event,) = bench.events(bench.run(tags={"flowctx/partition": "2012-10-26|IBM"}), EVENT.STEP_FAILURE)
    assert "choose the partition where it is launched, which is 2012-10-26|IBM in Dagster" in (
        event.step_failure_data.user_failure_data.description
    )
    assert (event.step_key, ledger.list_runs()) == ("daily_prices__fetch", [])


def _ranged(flow_steps, tmp_path, **args):
    return Bench(flow_steps, tmp_path, backfill_policy=dg.BackfillPolicy.single_run(), **args)


@pytest.fixture
def flow():
    made = Workflow("flow", partitions=DAYS, params={"bad": None, "closed": None})

    @made.step(retries=1)
    def fetch(ctx):
        if str(ctx.as_of_date) == ctx.params["bad"]:
            raise ConnectionError("no line")
        if str(ctx.as_of_date) == ctx.params["closed"]:
            return StepResult.skip("closed")
        return StepResult.ok({"day": ctx.as_of_date.day}, context_updates={"seen": ctx.capture_id})

    @made.step()
    def double(ctx):
        return {"twice": 2 * ctx.get_output("fetch", "day"), "seen": ctx.params["seen"]}

    return made


def test_a_range_gives_each_partition_its_own(flow, tmp_path):
    """One run for a range has a context, an output and metadata for each partition."""
    bench = _ranged(flow, tmp_path)
    result = bench.run(span=("2012-10-26", "2012-10-28"), tags={"batch_id": "b"})
    found = bench.materializations(result)
    assert {key: metadata["twice"] for key, metadata in found.items() if key[0] == "double"} == {
        ("double", f"2012-10-{day}"): 2 * day for day in (26, 27, 28)
    }
    assert found["fetch", "2012-10-27"]["flowctx/capture_id"] == "2012-10-27|b"
    assert bench.outputs.output(["flow", "double"], "2012-10-28")["seen"] == "2012-10-28|b"


def test_a_range_equals_its_partitions_one_by_one(flow, tmp_path):
    """A range run stores the same outputs as one run for each partition."""
    ranged, single = _ranged(flow, tmp_path / "a"), Bench(flow, tmp_path / "b")
    ranged.run(span=("2012-10-26", "2012-10-27"), tags={"batch_id": "b"})
    for day in ("2012-10-26", "2012-10-27"):
        single.run(day, tags={"batch_id": "b"})
        for step in flow.steps:
            assert ranged.outputs.output(["flow", step], day) == single.outputs.output(["flow", step], day)


def test_a_skip_in_a_range_is_that_partitions_only(flow, tmp_path):
    """A skipped partition of a range has no output and says so; the others go on."""
    bench = _ranged(flow, tmp_path)
    config = {"resources": {"flow_params": {"config": {"closed": "2012-10-27"}}}}
    result = bench.run(span=("2012-10-26", "2012-10-28"), config=config)
    found = bench.materializations(result)
    assert result.success
    assert not {key for key in found if key[1] == "2012-10-27"}  # Dagster does not call it materialised
    observations = [
        event.asset_observation_data.asset_observation for event in bench.events(result, EVENT.ASSET_OBSERVATION)
    ]
    (skipped,) = (event for event in observations if event.asset_key.path[-1] == "double")
    assert (skipped.partition, skipped.metadata["flowctx/reason"].value) == ("2012-10-27", "closed")
    assert found["double", "2012-10-28"]["twice"] == 56
    everything = bench.run(span=("2012-10-27", "2012-10-27"), config=config)
    assert bench.materializations(everything) == {}


def test_a_failure_in_a_range_keeps_what_is_done(flow, tmp_path):
    """When a partition of a range fails, after its own retries, the others are stored and recorded."""
    bench = _ranged(flow, tmp_path)
    config = {"resources": {"flow_params": {"config": {"bad": "2012-10-27"}}}}
    result = bench.run(span=("2012-10-26", "2012-10-28"), config=config)
    (event,) = bench.events(result, EVENT.STEP_FAILURE)
    failure = event.step_failure_data.user_failure_data
    assert "step fetch failed for 1 of 3 partitions" in failure.description
    assert "date=2012-10-27: ConnectionError: no line" in failure.description
    assert failure.metadata["failed partitions"].value == ["2012-10-27"]
    assert list(bench.materializations(result)) == [("fetch", "2012-10-26"), ("fetch", "2012-10-28")]
    assert bench.outputs.output(["flow", "fetch"], "2012-10-28") == {"day": 28}


@pytest.mark.parametrize("about", [{"key": "2012-10-26"}, {"span": ("2012-10-26", "2012-10-28")}], ids=["key", "range"])
def test_a_workflow_without_partitions_has_none_in_any_run(about, tmp_path):
    """In a run of partitions it runs once and stores what it made where all read it, those of the run too."""
    flow, made, seen = Workflow("rates"), [], []

    @flow.step()
    def fetch(ctx):
        made.append(ctx.run_id)
        return StepResult.ok({"runs": len(made)}, quality=QualityMetrics())

    @flow.step(after=["fetch"])
    def empty(ctx):
        return StepResult.skip(f"nothing after {ctx.get_output('fetch', 'runs')}")

    @dg.asset(partitions_def=partitions_def(DAYS), ins={"rates": dg.AssetIn(["rates", "fetch"])})
    def own(context: dg.AssetExecutionContext, rates) -> None:
        seen.append((rates, [ctx.partition for ctx in workflow_contexts(context, workflow=flow)]))

    bench = Bench(flow, tmp_path, own, backfill_policy=dg.BackfillPolicy.single_run())
    assert bench.run(selection=["rates/fetch", "rates/empty"]).success
    result = bench.run(**about)
    assert ([str(event) for event in bench.events(result, EVENT.STEP_FAILURE)], len(made)) == ([], 2)
    assert seen == [({"runs": 2}, [None])]
    assert bench.outputs.output("rates/fetch") == {"runs": 2}
    (check,) = [event.event_specific_data for event in bench.events(result, EVENT.ASSET_CHECK_EVALUATION)]
    assert check.passed


def test_a_range_of_dates_and_symbols(tmp_path):
    """A range over the symbols of one date works with two dimensions, checks included."""
    bench = _ranged(prices, tmp_path)
    result = bench.run(span=("2012-10-26|GOOG", "2012-10-26|MSFT"), tags={"batch_id": "b"})
    assert result.success
    assert {key for step, key in bench.materializations(result) if step == "summarise"} == {
        f"2012-10-26|{symbol}" for symbol in ("GOOG", "IBM", "MSFT")
    }
    checks = [event.event_specific_data for event in bench.events(result, EVENT.ASSET_CHECK_EVALUATION)]
    if DAGSTER.able("partitioned checks"):
        assert {check.partition for check in checks} == {f"2012-10-26|{symbol}" for symbol in ("GOOG", "IBM", "MSFT")}
    else:
        assert [check.metadata["partitions"].value for check in checks] == [3]


class Doubling(WorkflowIOManager):
    """Hands on the output of one step with another number."""

    def handle_output(self, context, obj):
        """Change it."""
        if context.asset_key.path[-1] == "one":
            obj = replace(obj, envelope=obj.envelope._replace(output=freeze({"n": 2})))
        super().handle_output(context, obj)


def test_a_change_in_handle_output_is_not_dropped_in_silence(tmp_path):
    """Steps store without it, and whoever changes their output there is told so; of what is left alone, nobody is."""
    flow = Workflow("flow")
    flow.step("one")(lambda ctx: {"n": 1})
    flow.step("two")(lambda ctx: {"n": ctx.get_output("one", "n")})
    bench = Bench(flow, tmp_path)
    bench.outputs = Doubling(base_path=str(tmp_path))
    done = bench.run(tags={"flowctx/as_of_date": "2012-10-26"})
    warned = [text for text in texts(bench, done) if "is dropped" in text]
    assert (len(warned), "flow/one is stored as its step made it" in warned[0]) == (1, True)
    assert bench.outputs.output("flow/two") == {"n": 1}
