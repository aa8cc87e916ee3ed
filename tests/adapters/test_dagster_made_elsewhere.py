"""Partitions made on Dagster and then elsewhere: who reads them on Dagster gets what the ledger calls current."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from adapters.dagster_support import Bench
from flowctx import ArtifactError, Daily, PartitionKey, PartitionScheme, StepResult, Weekly, Workflow, resume, run
from flowctx.dagster import asset_key, partition_mapping, partitions_def
from flowctx.dagster.recorded_outputs import OutputPlace, RecordedOutputs

WEEKS = Weekly(start="2012-10-05", end="2012-10-26")
DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
#: Each scheme with one of its partitions, and that as Dagster has it.
CASES: dict[str, tuple[PartitionScheme | None, str | None, Any]] = {
    "none": (None, None, None),
    "day": (DAYS, "2012-10-26", "2012-10-26"),
    "week": (PartitionScheme(week=WEEKS), "2012-10-26", "2012-10-20"),
    "folded": (PartitionScheme(venue=["N", "L"], tier=["T1", "T2"]), "L|T2", "L~T2"),
    "both": (
        PartitionScheme(week=WEEKS, venue=["N"], tier=["T1"]),
        "2012-10-26|N|T1",
        {"week": "2012-10-20", "venue~tier": "N~T1"},
    ),
}


class Made:
    """A workflow of three steps with a number, an asset of one's own that reads the first, and what that has read."""

    def __init__(self, scheme: PartitionScheme | None, tmp_path: Any) -> None:
        self.number, self.seen = 0, list[int]()
        self.flow = Workflow("flow", partitions=scheme)
        self.flow.step("one")(lambda ctx: {"n": self.number} if self.number else StepResult.skip("a holiday"))
        self.flow.step("two")(lambda ctx: {"n": ctx.get_output("one", "n")})
        self.flow.step("three")(lambda ctx: {"n": [ctx.get_output("one", "n"), ctx.get_output("two", "n")]})

        @dg.asset(ins={"one": dg.AssetIn(asset_key(self.flow, "one"))}, partitions_def=partitions_def(scheme))
        def own(one: dict[str, Any]) -> None:
            self.seen.append(one["n"])

        self.bench = Bench(self.flow, tmp_path, own)

    def on_dagster(self, number: int, key: Any, batch_id: str, *steps: str) -> str:
        """Make the partition, or some steps of it, on Dagster, and return the id of the run."""
        self.number = number
        chosen = [dg.AssetKey(["flow", step]) for step in steps or self.flow.steps]
        date = {} if key else {"flowctx/as_of_date": "2012-10-26"}
        done = self.bench.run(key, tags={"batch_id": batch_id, **date}, selection=chosen)
        assert done.success
        return done.run_id

    def here(self, number: int, partition: str | None, batch_id: str) -> None:
        """Make the partition in this process, as a launch in bulk does in its own."""
        self.number = number
        run(self.flow, partition=partition, batch_id=batch_id, as_of_date=None if partition else "2012-10-26")

    def read(self, key: Any, batch_id: str | None = None) -> int | None:
        """Return what the asset of one's own gets; None if its run fails."""
        before = len(self.seen)
        done = self.bench.run(key, tags={"batch_id": batch_id} if batch_id else {}, selection=["own"])
        assert done.success is (len(self.seen) > before)
        return self.seen[-1] if done.success else None


@pytest.mark.parametrize("case", CASES)
def test_readers_get_their_batch_else_what_is_current(case, ledger, tmp_path):
    """Whatever the scheme and wherever it was made; a batch that is written again gets no older number."""
    scheme, partition, key = CASES[case]
    made = Made(scheme, tmp_path)
    made.here(5, partition, "before")
    assert made.read(key, "before") == 5
    made.on_dagster(10, key, "a")
    assert [made.read(key, batch) for batch in ("before", "a", None)] == [5, 10, 10]
    made.here(20, partition, "b")
    assert [made.read(key, batch) for batch in ("a", "b", None)] == [10, 20, 20]
    made.here(30, partition, "b")
    made.on_dagster(40, key, "a", "one")
    assert [made.read(key, batch) for batch in ("a", "b")] == [40, 30]


def test_a_batch_that_is_written_again_elsewhere_is_read_as_it_is_now(ledger, tmp_path):
    """The file of a capture that another run has written since is not read, by assets and by steps."""
    made = Made(DAYS, tmp_path)
    made.on_dagster(10, "2012-10-26", "a")
    made.here(20, "2012-10-26", "a")
    assert [made.read("2012-10-26", batch) for batch in ("a", None)] == [20, 20]
    made.on_dagster(0, "2012-10-26", "a", "three")
    assert made.bench.outputs.output("flow/three", "2012-10-26") == {"n": [20, 20]}
    made.on_dagster(30, "2012-10-26", "a")
    assert [made.read("2012-10-26", batch) for batch in ("a", None)] == [30, 30]


@pytest.mark.parametrize("first", [10, 0], ids=["ok", "skipped"])
@pytest.mark.parametrize("case", ["none", "day"])
def test_a_run_that_was_resumed_here_is_read_as_it_is_now(case, first, ledger, tmp_path):
    """The files of a run of Dagster's are older than what it did when it went on here, under the same id."""
    scheme, _, key = CASES[case]
    made = Made(scheme, tmp_path)
    run_id = made.on_dagster(first, key, "a")
    made.number = 20
    assert resume(run_id, made.flow, from_step="one").status == "ok"
    assert [made.read(key, batch) for batch in ("a", None)] == [20, 20]
    made.on_dagster(0, key, "a", "three")
    assert made.bench.outputs.output("flow/three", key) == {"n": [20, 20]}
    assert made.read(key, "a") == 20


def test_a_capture_that_is_made_again_just_now_is_waited_for(ledger, tmp_path):
    """Its reader is told that it is under way, and not to make it again."""
    flow, errors = Workflow("flow", partitions=DAYS), []

    @flow.step()
    def one(ctx):
        if ledger.get_run(ctx.run_id).context.checkpoint is not None:
            (failed,) = bench.run(**how, selection=["own"]).get_step_failure_events()
            errors.append(failed.step_failure_data.error_display_string)
        return {"n": 1}

    flow.step("two")(lambda ctx: {"n": 2})

    @dg.asset(ins={"two": dg.AssetIn(asset_key(flow, "two"))}, partitions_def=partitions_def(DAYS))
    def own(two: dict[str, Any]) -> None:
        pass

    bench, how = Bench(flow, tmp_path, own), {"key": "2012-10-26", "tags": {"batch_id": "a"}}
    first = bench.run(**how)
    assert resume(first.run_id, flow, from_step="one").status == "ok"
    assert ["it is under way, and step 'two' is not done there; try again when it is" in error for error in errors] == [
        True
    ]


@pytest.mark.parametrize("way", ["resume", "run"])
def test_a_step_that_failed_when_it_was_made_again_has_no_output(way, ledger, tmp_path):
    """The older file of a step is not read beside new outputs of those before it, and the message says what to do."""
    flow, number, seen = Workflow("flow", partitions=DAYS), [10], []
    flow.step("one")(lambda ctx: {"n": number[0]})
    flow.step("two")(lambda ctx: {"n": ctx.get_output("one", "n")} if number[0] != 20 else StepResult.fail("no rows"))
    ins = {step: dg.AssetIn(asset_key(flow, step)) for step in flow.steps}

    @dg.asset(ins=ins, partitions_def=partitions_def(DAYS))
    def own(one: dict[str, Any], two: dict[str, Any]) -> None:
        seen.append((one["n"], two["n"]))

    bench, how = Bench(flow, tmp_path, own), {"key": "2012-10-26", "tags": {"batch_id": "a"}}
    first = bench.run(**how)
    number[0] = 20
    if way == "resume":
        resume(first.run_id, flow, from_step="one")
    else:
        run(flow, partition="2012-10-26", batch_id="a")
    for tags in ({"batch_id": "a"}, {}):
        (failed,) = bench.run("2012-10-26", tags=tags, selection=["own"]).get_step_failure_events()
        error = failed.step_failure_data.error_display_string
        assert "since it was stored: step 'two' failed there; make it again" in error
    number[0] = 30
    assert bench.run(**how).success
    assert seen == [(10, 10), (30, 30)]


def test_the_capture_before_one_that_failed_is_current(ledger, tmp_path):
    """The file of a capture that failed when it was made again is newer, and is none of any capture now."""
    made = Made(DAYS, tmp_path)
    made.here(5, "2012-10-26", "before")
    made.on_dagster(10, "2012-10-26", "a")
    assert made.read("2012-10-26") == 10
    broken = Workflow("flow", partitions=DAYS)
    broken.step("one")(lambda ctx: StepResult.fail("no rows"))
    run(broken, partition="2012-10-26", batch_id="a")
    assert [made.read("2012-10-26", batch) for batch in ("a", None)] == [None, 5]


@pytest.mark.parametrize("place", ["first", "second", "third"])
def test_nothing_older_is_read_where_the_current_version_was_pruned(place, ledger, tmp_path):
    """The first one is kept, and the third failed when it was made again; a file of the second one is still it."""
    made = Made(DAYS, tmp_path)
    for number, batch_id in enumerate(("first", "second", "third"), 1):
        if batch_id == place:
            made.on_dagster(number, "2012-10-26", batch_id)
        else:
            made.here(number, "2012-10-26", batch_id)
    ledger.batches.keep("first")
    ledger.prune(ledger.now() + timedelta(days=1))
    assert made.read("2012-10-26") == 3
    broken = Workflow("flow", partitions=DAYS)
    broken.step("one")(lambda ctx: StepResult.fail("no rows"))
    run(broken, partition="2012-10-26", batch_id="third")
    assert [made.read("2012-10-26", batch) for batch in ("first", None)] == [1, 2 if place == "second" else None]
    own = OutputPlace(asset_path=("flow", "own"), key="2012-10-26", scheme=DAYS)  # which is no step of the workflow
    assert RecordedOutputs(ledger, None).newer(own, None) is None
    made.here(4, "2012-10-26", "fourth")
    assert made.read("2012-10-26") == 4


def test_without_partitions_a_batch_has_the_date_that_it_began_last(ledger, tmp_path):
    """While that one is not done, none is read; of an asset that is no step of the workflow, nothing is said."""
    made = Made(None, tmp_path)
    one, own = (OutputPlace(asset_path=("flow", name), key=None) for name in ("one", "own"))
    recorded = RecordedOutputs(ledger, None)
    for number, day in enumerate(("2012-10-26", "2012-10-25"), 1):
        made.number = number
        run(made.flow, batch_id="b", as_of_date=day)
    assert recorded.of_batch(one, "b").envelope.output == {"n": 2}
    broken = Workflow("flow")
    broken.step("one")(lambda ctx: StepResult.fail("no rows"))
    run(broken, batch_id="b", as_of_date="2012-10-26", run_id="late")
    with pytest.raises(ArtifactError, match="has no output in batch 'b': its run late failed"):
        recorded.of_batch(one, "b")
    assert recorded.of_batch(own, "b") is None


def test_a_part_on_dagster_is_read_as_it_was_made_last(ledger, tmp_path):
    """Steps that a later run has made on Dagster are newer than the capture that is current."""
    made = Made(DAYS, tmp_path)
    made.here(10, "2012-10-26", "a")
    made.on_dagster(20, "2012-10-26", "b", "one")
    assert made.read("2012-10-26") == 20
    made.here(30, "2012-10-26", "c")
    assert made.read("2012-10-26") == 30


def test_a_step_alone_is_made_of_what_is_current(ledger, tmp_path):
    """In a batch of its own, near and far."""
    made = Made(DAYS, tmp_path)
    made.on_dagster(10, "2012-10-26", "a")
    made.here(20, "2012-10-26", "b")
    made.on_dagster(0, "2012-10-26", "c", "three")
    assert made.bench.outputs.output("flow/three", "2012-10-26") == {"n": [20, 20]}


def test_a_skip_elsewhere_hides_what_is_older(ledger, tmp_path):
    """A reader of the partition is told that there is nothing, and why."""
    made = Made(DAYS, tmp_path)
    made.on_dagster(10, "2012-10-26", "a")
    made.here(0, "2012-10-26", "b")
    assert made.read("2012-10-26") is None
    assert made.read("2012-10-26", "a") == 10


def test_a_version_without_the_step_is_no_older_one(ledger, tmp_path):
    """Where the current capture was made without the step, its reader is told, and gets nothing older."""
    made = Made(DAYS, tmp_path)
    made.on_dagster(10, "2012-10-26", "a")
    other = Workflow("flow", partitions=DAYS)
    other.step("two")(lambda ctx: {})
    run(other, partition="2012-10-26", batch_id="b")
    assert made.read("2012-10-26") is None
    assert made.read("2012-10-26", "a") == 10


def test_a_week_reads_the_days_of_its_batch(ledger, tmp_path):
    """Partitions of another asset are found by the batch of who reads them, too."""
    scheme = PartitionScheme(week=WEEKS)
    days = Workflow("days", partitions=PartitionScheme(date=Daily(start="2012-10-22", end="2012-10-26")))
    days.step("one")(lambda ctx: {"batch": ctx.batch_id})
    seen: list[Any] = []
    mapping = partition_mapping(days.partitions, scheme)

    @dg.asset(
        ins={"one": dg.AssetIn(["days", "one"], partition_mapping=mapping)}, partitions_def=partitions_def(scheme)
    )
    def week(one: dict[PartitionKey, Any]) -> None:
        seen.append({found["batch"] for found in one.values()})

    bench = Bench(days, tmp_path, week)
    for batch in ("a", "b"):
        for key in days.partitions:
            run(days, partition=key, batch_id=batch)
    for batch in ("a", "b"):
        assert bench.run("2012-10-20", tags={"batch_id": batch}, selection=["week"]).success
    assert seen == [{"a"}, {"b"}]
