"""Assets of one's own that keep their outputs beside those of steps: they are named as their contexts name them."""

import json
from typing import Any

import dagster as dg
import pytest

from adapters.dagster_support import Bench
from flowctx import AsOf, Daily, Monthly, PartitionKey, PartitionScheme, StepResult, Weekly, Workflow
from flowctx.dagster import partition_outputs, partitions_def, workflow_context, workflow_contexts
from flowctx.dagster._compat import quiet

#: Each scheme with one of its keys as Dagster has it, and the values of that in the scheme's order.
SCHEMES = {
    "a week": (PartitionScheme(week=Weekly(start="2012-10-05", end="2012-10-26")), "2012-10-20", ["2012-10-26"]),
    "a month": (PartitionScheme(month=Monthly(start="2012-10-01", end="2012-10-31")), "2012-10-01", ["2012-10-31"]),
    "folded": (PartitionScheme(venue=["N", "L"], tier=["T1", "T2"]), "L~T2", ["L", "T2"]),
    "both": (
        PartitionScheme(week=Weekly(start="2012-10-05", end="2012-10-26"), venue=["N"], tier=["T1"]),
        {"week": "2012-10-20", "venue~tier": "N~T1"},
        ["2012-10-26", "N", "T1"],
    ),
}
DAYS = dg.DailyPartitionsDefinition("2012-10-01", timezone="America/New_York")
SATURDAY = "2012-10-27"
DATES = PartitionScheme(day=Daily(start="2012-10-01", timezone="America/New_York"))
TIERS = PartitionScheme(tier=["A", "B"])
DAYS_RUN = ["2012-10-01", "2012-10-02"]


def beside(scheme, tmp_path, *assets):
    """Return a bench of a workflow with one step, and these assets."""
    flow = Workflow("flow", partitions=scheme)
    flow.step("fetch")(lambda ctx: {"capture": ctx.capture_id})
    return flow, Bench(flow, tmp_path, *assets)


@pytest.mark.parametrize("case", SCHEMES)
def test_partitions_of_a_scheme_have_its_names(case, tmp_path):
    """Where the keys are a scheme's, what is stored has the capture id that the asset and steps see."""
    scheme, key, values = SCHEMES[case]
    seen: dict[str, Any] = {}

    @dg.asset(partitions_def=partitions_def(scheme), io_manager_key="workflow_io_manager")
    def own(context: dg.AssetExecutionContext):
        ctx = workflow_context(context)
        assert ctx == workflow_context(context, scheme=scheme)
        return {"capture": ctx.capture_id}

    every = {"partition_mapping": dg.AllPartitionMapping(), "metadata": {"allow_missing_partitions": True}}

    @dg.asset(ins={"own": dg.AssetIn("own", **every), "fetch": dg.AssetIn(["flow", "fetch"], **every)})
    def reader(own: dict[PartitionKey, Any], fetch: dict[PartitionKey, Any]) -> None:
        seen.update(own=own, fetch=fetch)

    _, bench = beside(scheme, tmp_path, own, reader)
    assert bench.run(key, tags={"batch_id": "b"}, selection=["own", "flow/fetch"]).success
    text = str(dg.MultiPartitionKey(key)) if isinstance(key, dict) else key
    capture = "|".join([*values, "b"])
    assert bench.outputs.captures("own", text) == bench.outputs.captures("flow/fetch", text) == [capture]
    assert bench.run(selection=["reader"]).success
    partition = PartitionKey(**dict(zip(scheme.dimensions, values, strict=True)))
    assert seen == {"own": {partition: {"capture": capture}}, "fetch": {partition: {"capture": capture}}}


@pytest.mark.parametrize("left_out", [False, True])
@pytest.mark.parametrize("known", [True, False])
def test_a_range_may_be_named_by_the_contexts(known, left_out, tmp_path):
    """A range of a scheme's partitions takes the keys of contexts, and of Dagster's own value."""
    scheme, key, _ = SCHEMES["a week"]
    former = [PartitionKey(date="2012-10-13"), PartitionKey(date=key)]

    with pytest.warns(dg.BetaWarning):

        @dg.asset(
            partitions_def=partitions_def(scheme),
            io_manager_key="workflow_io_manager",
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def ranged(context: dg.AssetExecutionContext):
            first, second = [ctx.partition for ctx in workflow_contexts(context)] if known else former
            found: dict[Any, Any] = {first: {"n": 1}, second: {"n": 2}}
            if left_out:
                yield from partition_outputs(context, {**found, first: StepResult.skip("a holiday")})
            else:
                yield dg.Output(found)

    _, bench = beside(scheme, tmp_path, ranged)
    done = bench.run(span=("2012-10-13", key), selection=["ranged"])
    assert done.success
    assert bench.outputs.output("ranged", key) == {"n": 2}
    assert ("ranged", "2012-10-13") not in bench.materializations(done) if left_out else True


def test_files_under_the_former_names_are_read(tmp_path):
    """What was stored by Dagster's own key is found by its batch, and its reader has the scheme's partition."""
    scheme, key, _ = SCHEMES["a week"]
    seen: list[Any] = []

    @dg.asset(partitions_def=partitions_def(scheme), io_manager_key="workflow_io_manager")
    def own(context: dg.AssetExecutionContext):
        return {"n": 2}

    @dg.asset(partitions_def=partitions_def(scheme))
    def reader(own: dict[PartitionKey, Any]) -> None:
        seen.append(own)

    _, bench = beside(scheme, tmp_path, own, reader)
    former = {"key": key, "partition": {"date": key}, "capture_id": f"{key}|a", "run_id": "r"}
    (tmp_path / "own" / key).mkdir(parents=True)
    kept = {**former, "envelope": {"flowctx": "1.0", "step": "own", "status": "ok", "output": {"n": 1}}}
    (tmp_path / "own" / key / f"@{key}%7Ca.json").write_text(json.dumps(kept))
    bench.run(key, tags={"batch_id": "b"}, selection=["own"])
    for batch in ("a", "b"):
        assert bench.run(key, tags={"batch_id": batch}, selection=["reader"]).success
    week = PartitionKey(week="2012-10-26")
    assert seen == [{week: {"n": 1}}, {week: {"n": 2}}]
    assert bench.outputs.output("own", key, f"{key}|a") == {"n": 1}


@pytest.mark.parametrize("venues", [None, ["N", "L"]])
def test_every_day_reads_a_session_as_itself(venues, tmp_path):
    """An asset of Dagster's own days gets the output of the session of its day, and is told of a day that is none."""
    days = Daily(start="2012-10-01", calendar="XNYS", timezone="America/New_York")
    scheme = PartitionScheme(day=days) if venues is None else PartitionScheme(day=days, venue=venues)
    own = DAYS
    if venues is not None:
        own = dg.MultiPartitionsDefinition({"day": DAYS, "venue": dg.StaticPartitionsDefinition(venues)})
    seen: list[Any] = []

    @dg.asset(ins={"fetched": dg.AssetIn(["flow", "fetch"])}, partitions_def=own)
    def plain(fetched: dict[str, Any]) -> None:
        seen.append(fetched)

    @dg.asset(ins={"fetched": dg.AssetIn(["flow", "fetch"])}, partitions_def=own)
    def keyed(fetched: dict[PartitionKey, Any]) -> None:
        seen.append([key["day"] for key in fetched])

    _, bench = beside(scheme, tmp_path, plain, keyed)
    friday, saturday = ({"day": day, "venue": "N"} if venues else day for day in ("2012-10-26", SATURDAY))
    assert bench.run(friday, tags={"batch_id": "b"}, selection=["flow/fetch"]).success
    for reader in ("plain", "keyed"):
        assert bench.run(friday, selection=[reader]).success
    failed = bench.run(saturday, selection=["plain"])
    (failure,) = bench.events(failed, dg.DagsterEventType.STEP_FAILURE)
    reason = "depends on invalid partitions" if venues else "flow/fetch has no partition for 2012-10-27"
    assert reason in failure.step_failure_data.error.to_string()
    assert bench.run(saturday, selection=["keyed"]).success is (venues is None)
    capture = {"capture": "2012-10-26|N|b" if venues else "2012-10-26|b"}
    assert seen == [capture, ["2012-10-26"], *([] if venues else [[]])]


@pytest.mark.parametrize(
    ("start", "end", "read"),
    [(-2, 0, [["2012-10-26"], ["2012-10-29", "2012-10-30"]]), (-1, -1, [[], ["2012-10-29"]])],
)
def test_every_day_reads_what_it_maps_by_partition(start, end, read, tmp_path):
    """Also where just one of the days asked for is a session, or none."""
    days = Daily(start="2012-10-01", calendar="WEEKDAYS", timezone="America/New_York")
    mapping = dg.TimeWindowPartitionMapping(start, end)
    seen: list[Any] = []

    @dg.asset(ins={"fetched": dg.AssetIn(["flow", "fetch"], partition_mapping=mapping)}, partitions_def=DAYS)
    def own(fetched: dict[Any, Any]) -> None:
        seen.append([str(key["day"]) for key in fetched])

    _, bench = beside(PartitionScheme(day=days), tmp_path, own)
    for day in ("2012-10-26", "2012-10-29", "2012-10-30"):
        assert bench.run(day, selection=["flow/fetch"]).success
    for day in ("2012-10-28", "2012-10-30"):
        assert bench.run(day, selection=["own"]).success
    assert seen == read


def back(first, last):
    with quiet():
        return dg.TimeWindowPartitionMapping(first, last, allow_nonexistent_upstream_partitions=True)


CHOICES = dg.StaticPartitionMapping({"A": ["A", "B"], "B": ["B"]})


@pytest.mark.parametrize(
    ("scheme", "own", "mapping", "runs", "read"),
    [
        (DATES, None, back(-1, 0), DAYS_RUN, [["2012-10-01"], ["2012-10-01", "2012-10-02"]]),
        (DATES, None, back(-1, -1), DAYS_RUN, [[], ["2012-10-01"]]),
        (DATES, None, dg.IdentityPartitionMapping(), DAYS_RUN, ["one", "one"]),
        (DATES, DAYS, back(-1, 0), DAYS_RUN, [["2012-10-01"], ["2012-10-01", "2012-10-02"]]),
        (TIERS, None, CHOICES, ["A", "B"], [["A"], ["A", "B"]]),
        (TIERS, None, None, ["A", "B"], ["one", "one"]),
    ],
)
def test_what_is_mapped_is_by_partition(scheme, own, mapping, runs, read, tmp_path):
    """Whether that is one, several or none: of a step and of an own asset, of the same partitions or of others."""
    seen: list[Any] = []
    definition = own or partitions_def(scheme)

    @dg.asset(partitions_def=definition, io_manager_key="workflow_io_manager")
    def kept() -> dict[str, Any]:
        return {"n": 1}

    sources = {"step": ["flow", "fetch"], "kept": "kept"}
    ins = {name: dg.AssetIn(key, partition_mapping=mapping) for name, key in sources.items()}

    @dg.asset(ins=ins, partitions_def=definition)
    def reader(step: Any, kept: Any) -> None:
        seen.extend([shown(step), shown(kept)])

    _, bench = beside(scheme, tmp_path, kept, reader)
    for key in runs:
        assert bench.run(key, selection=["flow/fetch"]).success
        assert bench.run(key, selection=["kept"]).success
    for key in runs:
        assert bench.run(key, selection=["reader"]).success
    assert seen == [one for some in read for one in (some, some)]


def test_without_partitions_all_are_read_by_partition(tmp_path):
    """Also where there is but one, in a run of its own as beside the step, whose partition is that of the run."""
    seen: list[Any] = []

    @dg.asset(ins={"fetched": dg.AssetIn(["flow", "fetch"])})
    def reader(fetched: Any) -> None:
        seen.append(shown(fetched))

    _, bench = beside(PartitionScheme(tier=["A"]), tmp_path, reader)
    for key, selection in (("A", ["flow/fetch", "reader"]), (None, ["reader"])):
        assert bench.run(key, selection=selection).success
    assert seen == [["A"], ["A"]]


def shown(found):
    """Return of what partitions an input is; ``one`` if it is the output itself."""
    if found.keys() <= {"n", "capture"} and found:
        return "one"
    return [next(iter(key.values())) if isinstance(key, PartitionKey) else key for key in found]


def test_a_rule_may_not_date_a_scheme_otherwise(tmp_path):
    """A rule that gives another date than the scheme of the partitions is refused, as it is for a step."""
    scheme, key, _ = SCHEMES["a week"]

    @dg.asset(partitions_def=partitions_def(scheme))
    def own(context: dg.AssetExecutionContext) -> None:
        workflow_context(context, AsOf.window_start())

    _, bench = beside(scheme, tmp_path, own)
    done = bench.run(key, selection=["own"])
    (failure,) = bench.events(done, dg.DagsterEventType.STEP_FAILURE)
    assert "gives 2012-10-20, which is not the business date of partition week=2012-10-26" in str(failure)


def warnings_of(bench, done):
    """Return the warnings of ours in a run's log."""
    return [entry.user_message for entry in bench.instance.all_logs(done.run_id) if "dates" in entry.user_message]


def test_keeping_an_output_gives_the_run_no_date(tmp_path):
    """An asset that has said its rule is stored without a word of another date, with or without partitions."""
    rule = AsOf.last_session("XNYS")

    @dg.asset(partitions_def=DAYS, io_manager_key="workflow_io_manager")
    def daily(context: dg.AssetExecutionContext):
        return {"date": workflow_context(context, rule).as_of_date}

    two = dg.MultiPartitionsDefinition({"trade": DAYS, "value": DAYS})

    @dg.asset(partitions_def=two, io_manager_key="workflow_io_manager")
    def traded(context: dg.AssetExecutionContext):
        return {"date": workflow_context(context, AsOf.key("trade")).as_of_date}

    _, bench = beside(None, tmp_path, daily, traded)
    done = bench.run(SATURDAY, selection=["daily"], tags={"batch_id": "b"})
    assert done.success
    assert warnings_of(bench, done) == []
    assert bench.outputs.captures("daily", SATURDAY) == [f"{SATURDAY}|b"]
    done = bench.run({"trade": "2012-10-25", "value": "2012-10-29"}, selection=["traded"], tags={"batch_id": "b"})
    assert done.success
    assert bench.outputs.captures("traded", "2012-10-25|2012-10-29") == ["2012-10-25|2012-10-29|b"]


def test_without_a_partition_the_date_of_the_asset_counts(tmp_path):
    """The capture of an asset without partitions has the date that the asset was given by its rule."""
    fired = {".dagster/scheduled_execution_time": f"{SATURDAY}T12:00:00+00:00", "batch_id": "b"}
    seen: list[Any] = []

    @dg.asset(io_manager_key="workflow_io_manager")
    def own(context: dg.AssetExecutionContext):
        seen.append(workflow_context(context, AsOf.last_session("XNYS", timezone="America/New_York")).capture_id)
        return {}

    _, bench = beside(None, tmp_path, own)
    done = bench.run(selection=["own"], tags=fired)
    assert done.success
    assert warnings_of(bench, done) == []
    assert bench.outputs.captures("own") == seen == ["2012-10-26|b"]


def test_an_output_may_have_its_own_date_as_a_key(tmp_path):
    """In a run of one partition it is what the asset returned; assets that take ranges return one for each."""
    curve = {"2012-10-25": {"rate": 0.9}, "2012-10-26": {"rate": 1.0}}
    one = {"2012-10-26": {"rate": 1.0}}

    @dg.asset(partitions_def=DAYS, io_manager_key="workflow_io_manager")
    def whole(context: dg.AssetExecutionContext):
        return curve

    @dg.asset(partitions_def=DAYS, io_manager_key="workflow_io_manager")
    def single(context: dg.AssetExecutionContext):
        return one

    @dg.asset(partitions_def=DAYS, io_manager_key="workflow_io_manager")
    def named(context: dg.AssetExecutionContext):
        return {PartitionKey(date="2012-10-26"): {"rate": 1.0}}

    with pytest.warns(dg.BetaWarning):

        @dg.asset(
            partitions_def=DAYS,
            io_manager_key="workflow_io_manager",
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def ranged(context: dg.AssetExecutionContext):
            return {key: {"rate": 1.0} for key in context.partition_keys}

    _, bench = beside(None, tmp_path, whole, single, named, ranged)
    names = ["whole", "single", "named", "ranged"]
    assert bench.run("2012-10-26", selection=names[:3]).success
    assert bench.run("2012-10-26", selection=names[3:]).success
    stored = {name: bench.outputs.output(name, "2012-10-26") for name in names}
    assert stored == {"whole": curve, "single": one, "named": {"rate": 1.0}, "ranged": {"rate": 1.0}}


HOURS = dg.HourlyPartitionsDefinition("2012-11-04-00:00", end_date="2012-11-04-03:00", timezone="America/New_York")


@pytest.mark.parametrize(
    "definition",
    [HOURS, dg.MultiPartitionsDefinition({"hour": HOURS, "venue": dg.StaticPartitionsDefinition(["N", "L"])})],
    ids=["hours", "by venue"],
)
def test_an_hour_that_clocks_show_twice_is_read_as_two(definition, tmp_path):
    """Hours of a definition of Dagster's own come in the order of time on the day when clocks go back."""
    keys = [str(key) for key in definition.get_partition_keys()]
    seen: list[str] = []

    @dg.asset(
        partitions_def=definition,
        io_manager_key="workflow_io_manager",
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def ticks(context: dg.AssetExecutionContext):
        return {key: {"key": str(key)} for key in context.partition_keys}

    @dg.asset(ins={"ticks": dg.AssetIn(partition_mapping=dg.AllPartitionMapping())})
    def reader(ticks: dict[PartitionKey, Any]) -> None:
        seen.extend(tick["key"] for tick in ticks.values())

    _, bench = beside(None, tmp_path, ticks, reader)
    assert bench.run(span=(keys[0], keys[-1]), selection=["ticks"]).success
    assert bench.run(selection=["reader"]).success
    hours = [key.split("|")[0].removeprefix("2012-11-04-") for key in seen]
    assert list(dict.fromkeys(hours)) == ["00:00", "01:00", "01:00-0500", "02:00"]
    assert sorted(seen) == sorted(keys)
