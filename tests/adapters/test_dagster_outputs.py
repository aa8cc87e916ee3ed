"""Where outputs are kept, and who sees which of them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg
import pytest

from adapters.dagster_support import Bench
from flowctx import (
    ArtifactError,
    ContextError,
    Daily,
    PartitionKey,
    PartitionScheme,
    PayloadError,
    StepResult,
    Weekly,
    Workflow,
)
from flowctx.core.data.plain import freeze
from flowctx.core.execution.envelope import Envelope
from flowctx.dagster import WorkflowIOManager, asset_key, partition_outputs, partitions_def
from flowctx.dagster.output_store import StoredOutput
from flowctx.dagster.partitions import to_dagster_key

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31", calendar="WEEKDAYS"))
WEEKS = PartitionScheme(week=Weekly(start="2012-10-05", end="2012-10-26"))


@pytest.fixture
def flow():
    made = Workflow("flow", partitions=DAYS, params={"say": "a"})

    @made.step()
    def fetch(ctx):
        return {"day": ctx.as_of_date.day, "say": ctx.params["say"]}

    @made.step()
    def show(ctx):
        return {"saw": ctx.get_output("fetch", "say")}

    @made.step()
    def last(ctx):
        return {"first": ctx.get_output("fetch", "say"), "middle": ctx.get_output("show", "saw")}

    return made


def said(text):
    return {"resources": {"flow_params": {"config": {"say": text}}}}


def test_batches_do_not_destroy_each_others_captures(flow, tmp_path):
    """The newest capture of a partition is what readers get; older ones stay, by their id."""
    bench = Bench(flow, tmp_path)
    for text in ("a", "b"):
        bench.run("2012-10-26", tags={"batch_id": text}, config=said(text))
    outputs, key = bench.outputs, asset_key(flow, "fetch")
    assert outputs.captures(key, "2012-10-26") == ["2012-10-26|a", "2012-10-26|b"]
    assert outputs.output(key, "2012-10-26")["say"] == "b"
    assert outputs.output(key, "2012-10-26", capture_id="2012-10-26|a")["say"] == "a"


def test_a_run_of_a_part_reads_its_own_batch(flow, tmp_path):
    """A later run in an older batch continues with that batch's outputs, near and far; a new batch with the newest."""
    bench = Bench(flow, tmp_path)
    for text in ("a", "b"):
        bench.run("2012-10-26", tags={"batch_id": text}, config=said(text))
    bench.run("2012-10-26", tags={"batch_id": "a"}, selection=["flow/last"])
    assert bench.outputs.output("flow/last", "2012-10-26") == {"first": "a", "middle": "a"}
    bench.run("2012-10-26", tags={"batch_id": "c"}, selection=["flow/last"])
    assert bench.outputs.output("flow/last", "2012-10-26") == {"first": "b", "middle": "b"}


def test_a_part_sees_what_the_step_before_it_saw(flow, tmp_path):
    """Steps further back come from the capture of the step in between, whatever has been captured since."""
    bench = Bench(flow, tmp_path)
    bench.run("2012-10-26", tags={"batch_id": "a"}, config=said("a"))
    bench.run("2012-10-26", tags={"batch_id": "b"}, config=said("b"), selection=["flow/fetch"])
    bench.run("2012-10-26", tags={"batch_id": "c"}, selection=["flow/last"])
    assert bench.outputs.output("flow/last", "2012-10-26") == {"first": "a", "middle": "a"}


def test_a_folder_may_be_named_from_home(monkeypatch, tmp_path):
    """``~`` is the user's home, in a path; a URL stays what it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert WorkflowIOManager(base_path="~/outputs").storage.base == str(tmp_path / "outputs")
    assert WorkflowIOManager(base_path="memory://outputs").storage.base == "memory://outputs"


def test_a_missing_output_says_what_to_materialize(flow, tmp_path):
    """A step without its predecessor's output names partition, asset and command."""
    bench = Bench(flow, tmp_path)
    result = bench.run("2012-10-26", selection=["flow/show"])
    message = result.events_for_node("flow__show")[-1].step_failure_data.user_failure_data.description
    assert "partition '2012-10-26' of asset flow/fetch has no output" in message
    assert "dagster asset materialize -f FILE --select flow/fetch --partition '2012-10-26'" in message


def test_a_capture_that_was_never_made_is_missing(flow, tmp_path):
    """Asking for a capture that is not there names it."""
    bench = Bench(flow, tmp_path)
    bench.run("2012-10-26", tags={"batch_id": "a"})
    with pytest.raises(ArtifactError, match="capture 2012-10-26|z has no output"):
        bench.outputs.output("flow/fetch", "2012-10-26", capture_id="2012-10-26|z")


def test_a_damaged_file_is_named(flow, tmp_path):
    """A file that is no output, or no JSON, is named in the error."""
    bench = Bench(flow, tmp_path)
    bench.run("2012-10-26", tags={"batch_id": "a"})
    path = next(tmp_path.glob("flow/fetch/2012-10-26/@2012*"))
    for data in (b"{", b"{}", b"\xff"):
        path.write_bytes(data)
        with pytest.raises(PayloadError, match="materialize it again"):
            bench.outputs.output("flow/fetch", "2012-10-26")


def test_an_asset_downstream_reads_plain_output(flow, tmp_path):
    """An asset of the user's gets the output of a step as a dict that it may change."""
    seen = []

    @dg.asset(ins={"shown": dg.AssetIn(asset_key(flow, "show"))}, partitions_def=partitions_def(DAYS))
    def report(shown: dict) -> None:
        shown["more"] = 1
        seen.append(shown)

    bench = Bench(flow, tmp_path, report)
    assert bench.run("2012-10-26").success
    assert bench.run("2012-10-26", selection=["report"]).success
    assert seen == [{"saw": "a", "more": 1}] * 2


def test_daily_outputs_feed_a_week(flow, tmp_path):
    """A weekly asset gets the days of its week by partition key, those that were skipped or are missing left out."""
    seen: list[Any] = []

    @dg.asset(
        ins={"fetched": dg.AssetIn(asset_key(flow, "fetch"), metadata={"allow_missing_partitions": True})},
        partitions_def=partitions_def(WEEKS),
    )
    def weekly(fetched) -> None:
        seen.append({key.date: value["day"] for key, value in fetched.items()})

    bench = Bench(flow, tmp_path, weekly)
    for day in ("2012-10-24", "2012-10-26"):
        bench.run(day, selection=["flow/fetch"])
    assert bench.run("2012-10-20", selection=["weekly"]).success
    bench.run("2012-10-15", selection=["flow/fetch"])
    assert bench.run("2012-10-13", selection=["weekly"]).success
    assert seen == [{"2012-10-24": 24, "2012-10-26": 26}, {"2012-10-15": 15}]


def test_an_unpartitioned_asset_gets_every_partition(flow, tmp_path):
    """An asset without partitions gets them all, and an error if one is missing and it did not allow that."""
    seen: list[Any] = []

    @dg.asset(ins={"fetched": dg.AssetIn(asset_key(flow, "fetch"))})
    def whole(fetched) -> None:
        seen.append(len(fetched))

    bench = Bench(flow, tmp_path, whole, backfill_policy=dg.BackfillPolicy.single_run())
    bench.run("2012-10-26", selection=["flow/fetch"])
    failed = bench.run(selection=["whole"])
    assert "partition '2012-10-01' of asset flow/fetch" in str(failed.events_for_node("whole"))
    bench.run(span=("2012-10-01", "2012-10-31"), selection=["flow/fetch"])
    assert bench.run(selection=["whole"]).success
    assert seen == [23]


def test_several_partitions_are_loaded_in_the_order_of_the_scheme(tmp_path):
    """Whatever its dimensions are called, and in whatever order Dagster asks, keys come as the scheme has them."""
    scheme = PartitionScheme(symbol=["MSFT", "FB"], date=Daily(start="2012-10-24", end="2012-10-25"), tier=["T2", "T1"])
    flow = Workflow("flow", partitions=scheme)
    flow.step("fetch")(lambda ctx: {})
    seen = []

    @dg.asset(ins={"found": dg.AssetIn(asset_key(flow, "fetch"), partition_mapping=dg.AllPartitionMapping())})
    def whole(found: dict[PartitionKey, dict]) -> None:
        seen.extend(found)

    bench = Bench(flow, tmp_path, whole)
    written = Envelope(step="fetch")
    for key in reversed(list(scheme)):
        capture = StoredOutput(
            asset_path=("flow", "fetch"),
            key=to_dagster_key(key, scheme),
            partition=key,
            capture_id="b",
            run_id="r",
            envelope=written,
        )
        bench.outputs.storage.outputs.write(capture)
    assert bench.run(selection=["whole"]).success
    assert seen == list(scheme)


def test_assets_of_the_users_may_keep_their_outputs_here(tmp_path):
    """A dict that an asset returns is captured like a step's; in a range run, one for each partition."""
    days = partitions_def(DAYS)

    @dg.asset(partitions_def=days, io_manager_key="workflow_io_manager")
    def single(context: dg.AssetExecutionContext):
        return {"key": context.partition_key}

    with pytest.warns(dg.BetaWarning):

        @dg.asset(
            partitions_def=days,
            io_manager_key="workflow_io_manager",
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def ranged(context: dg.AssetExecutionContext):
            return {
                PartitionKey(date=key) if key.endswith("6") else key: {"key": key} for key in context.partition_keys
            }

    bench = Bench(_empty(), tmp_path, single, ranged)
    bench.run("2012-10-26", tags={"batch_id": "b"}, selection=["single"])
    bench.run(span=("2012-10-25", "2012-10-26"), selection=["ranged"])
    assert bench.outputs.output("single", "2012-10-26", capture_id="2012-10-26|b") == {"key": "2012-10-26"}
    assert bench.outputs.output("ranged", "2012-10-25") == {"key": "2012-10-25"}
    assert bench.outputs.output("ranged", "2012-10-26") == {"key": "2012-10-26"}


def test_a_range_must_be_complete(tmp_path):
    """An asset that returns too few partitions of a range is told which is missing."""
    with pytest.warns(dg.BetaWarning):

        @dg.asset(
            partitions_def=partitions_def(DAYS),
            io_manager_key="workflow_io_manager",
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def ranged(context: dg.AssetExecutionContext):
            return {"2012-10-25": {}}

    bench = Bench(_empty(), tmp_path, ranged)
    result = bench.run(span=("2012-10-25", "2012-10-26"), selection=["ranged"])
    assert "'2012-10-26' is missing" in str(result.events_for_node("ranged"))
    assert not list(tmp_path.rglob("@*"))


def test_a_range_may_leave_partitions_out(tmp_path):
    """A partition of which an asset says that there is nothing is not materialised, and its readers are told why."""
    days = partitions_def(DAYS)
    with pytest.warns(dg.BetaWarning):

        @dg.asset(
            partitions_def=days, io_manager_key="workflow_io_manager", backfill_policy=dg.BackfillPolicy.single_run()
        )
        def holes(context: dg.AssetExecutionContext):
            found = {key: {"key": key} for key in context.partition_keys if key != "2012-10-25"}
            first = PartitionKey(date="2012-10-25")
            yield from partition_outputs(context, {**found, first: StepResult.skip("a holiday")})

    seen = []

    with pytest.warns(dg.BetaWarning):

        @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
        def reads(context: dg.AssetExecutionContext, holes):
            seen.append(sorted(output["key"] for output in holes.values()))

    bench = Bench(_empty(), tmp_path, holes, reads)
    done = bench.run(span=("2012-10-24", "2012-10-26"), selection=["holes", "reads"])
    assert {key for key in bench.materializations(done) if key[0] == "holes"} == {
        ("holes", "2012-10-24"),
        ("holes", "2012-10-26"),
    }
    assert seen == [["2012-10-24", "2012-10-26"]]
    with pytest.raises(ArtifactError, match="was skipped: a holiday; it has no output"):
        bench.outputs.output("holes", "2012-10-25")
    assert bench.run("2012-10-25", selection=["holes"]).success
    assert bench.instance.get_materialized_partitions(dg.AssetKey("holes")) == {"2012-10-24", "2012-10-26"}


def test_a_skip_that_dagster_would_call_materialised_is_refused(tmp_path):
    """An asset that returns a skip among its outputs is told how to leave a partition out."""

    @dg.asset(partitions_def=partitions_def(DAYS), io_manager_key="workflow_io_manager")
    def holes(context: dg.AssetExecutionContext):
        return {context.partition_key: StepResult.skip("a holiday")}

    bench = Bench(_empty(), tmp_path, holes)
    result = bench.run("2012-10-25", selection=["holes"])
    assert "yield from partition_outputs(context" in str(result.events_for_node("holes"))


def _empty():
    flow = Workflow("other")

    @flow.step()
    def nothing(ctx):
        return None

    return flow


@pytest.mark.parametrize(
    "key", [None, "2012-10-26", "2012-10-26|IBM", "../../etc", "..|.", "a/b|@latest.json", "C:\\x|%2F"]
)
@pytest.mark.parametrize("base", ["tmp", "memory://outputs"])
def test_any_key_is_kept_inside_the_folder(key, base, tmp_path):
    """Keys of every shape come back, on a local folder and on another file system, and never leave it."""
    outputs = WorkflowIOManager(base_path=str(tmp_path / "kept") if base == "tmp" else base)
    envelope = Envelope(step="s", output=freeze({"key": key}))
    capture = StoredOutput(
        asset_path=("a", "b"), key=key, partition=None, capture_id=f"{key}|x", run_id="r", envelope=envelope
    )
    outputs.storage.outputs.write(capture)
    assert outputs.storage.outputs.read(("a", "b"), key) == capture
    assert outputs.captures(["a", "b"], key) == [f"{key}|x"]
    assert [path.name for path in tmp_path.iterdir()] in ([], ["kept"])


def test_long_capture_ids_have_files_too(tmp_path):
    """Capture ids of any length and alphabet are told apart."""
    outputs = WorkflowIOManager(base_path=str(tmp_path))
    ids = ["x" * 400 + "|b", "y" * 400 + "|b", "Ω" * 100 + "|b", "."]
    for capture_id in ids:
        envelope = Envelope(step="s", output=freeze({"id": capture_id}))
        outputs.storage.outputs.write(
            StoredOutput(
                asset_path=("a",), key=None, partition=None, capture_id=capture_id, run_id="r", envelope=envelope
            )
        )
    assert [outputs.output("a", capture_id=capture_id)["id"] for capture_id in ids] == ids


@pytest.mark.parametrize("letters", [1, 23, 24, 25, 30, 99])
def test_a_batch_in_any_script_is_read_by_its_own(flow, letters, tmp_path):
    """A batch whose name is long as part of a file's name is found by its runs, and not taken for another one."""
    seen = []

    @dg.asset(ins={"fetched": dg.AssetIn(asset_key(flow, "fetch"))}, partitions_def=partitions_def(DAYS))
    def report(fetched: dict) -> None:
        seen.append(fetched["say"])

    bench = Bench(flow, tmp_path, report)
    batches = ["a" + "Ж" * letters, "b" + "Ж" * letters]
    for batch in batches:
        bench.run("2012-10-26", tags={"batch_id": batch}, config=said(batch), selection=["flow/fetch"])
    for batch in batches:
        assert bench.run("2012-10-26", tags={"batch_id": batch}, selection=["report"]).success
    assert seen == batches


def test_readers_never_see_half_of_a_file(tmp_path):
    """While many threads write captures of one partition, a reader always gets a whole one."""
    outputs = WorkflowIOManager(base_path=str(tmp_path))

    def write(n):
        envelope = Envelope(step="s", output=freeze({"rows": [n] * 2000}))
        outputs.storage.outputs.write(
            StoredOutput(
                asset_path=("a",), key="k", partition=None, capture_id=str(n % 5), run_id="r", envelope=envelope
            )
        )

    write(0)
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(write, n) for n in range(200)]
        while not all(done.done() for done in writes):
            assert len(set(outputs.output("a", "k")["rows"])) == 1
    assert not list(tmp_path.rglob("*.part"))
    for done in writes:
        done.result()


def test_outside_of_a_run_it_needs_a_folder():
    """Without a folder and without a run there is nowhere to look; the error says what to pass."""
    with pytest.raises(ContextError, match="pass base_path="):
        WorkflowIOManager().output("a")


def test_without_a_folder_outputs_are_in_the_instance_storage(flow, tmp_path):
    """By default outputs are kept where Dagster keeps its own."""
    bench = Bench(flow, tmp_path)
    bench.outputs = WorkflowIOManager()
    assert bench.run("2012-10-26").success
    path = bench.instance.storage_directory()
    assert WorkflowIOManager(base_path=f"{path}/flowctx").output("flow/fetch", "2012-10-26")["day"] == 26


def test_large_outputs_become_artifacts(flow, tmp_path, monkeypatch):
    """With an artifact store, an output over the limit is kept there once, and read from there."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(tmp_path / "artifacts"))
    bench = Bench(flow, tmp_path / "outputs")
    assert bench.run("2012-10-26", config=said("x" * 60_000)).success
    assert len(bench.outputs.output("flow/last", "2012-10-26")["first"]) == 60_000
    assert max(path.stat().st_size for path in (tmp_path / "outputs").rglob("@2012*")) < 2_000
    assert len(list((tmp_path / "artifacts").rglob("*.json"))) == 3
