"""The same partitions here and on both engines: what is equal is, and the first step that differs is named."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from shutil import copytree
from types import SimpleNamespace

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
import pyarrow as pa
import pytest

from adapters.parity_flows import ordered_set, planted
from flowctx import (
    Daily,
    EngineError,
    FlowctxError,
    InputMissing,
    LedgerError,
    LedgerUnavailable,
    PartitionError,
    PartitionScheme,
    PlainDataError,
    StepStatus,
    Workflow,
    WorkflowError,
    run,
)
from flowctx.core.data.tables import take_table
from flowctx.core.durability.records import RunStatus
from flowctx.examples.prices import prices
from flowctx.ledger.memory import MemoryLedger
from flowctx.parity import assert_parity, verify
from flowctx.parity.causes import cause_of
from flowctx.parity.comparing import Comparer
from flowctx.parity.processes import Processes
from flowctx.parity.recorded import Place, Recorded, order_changes, run_changes
from flowctx.parity.running import run_side
from flowctx.parity.shown import report, to_data
from versions.real_chain import market, moves, quotes

#: What is planted, and then: which engine differs, in which values, and what explains it.
PLANTED = [
    ("engines_name", "airflow", ["output.engine"], None),
    ("engines_name", "dagster", ["output.engine"], None),
    ("key_order", "dagster", ["output.quote, order of keys"], "the order of keys, which whoever loops over them sees"),
    ("float_sum", "airflow", ["output.total"], "the last bits of floats, as when they are added in another order"),
    ("dates", "dagster", ["output.rows"], "units of time (at); NaN against null (x)"),
    (
        "layouts",
        "dagster",
        ["output.indexed", "output.numbers"],
        "an index column (__index_level_0__); types of numbers (a)",
    ),
    ("failing", "airflow", ["status", "error", "category"], None),
    ("retried", "dagster", ["attempts"], None),
    ("skipped", "dagster", ["status", "error"], None),
]


def test_the_example_is_equal(ledger):
    """Real prices, an ordinary and a skipped partition; the user's own ledger is not touched."""
    found = assert_parity(prices, "date=2004-08-18..2004-08-19,symbol=GOOG")
    assert found.statuses == {"skipped": 1, "ok": 1}
    assert os.environ["FLOWCTX_LEDGER_URL"] == ledger.url
    assert not os.path.exists(ledger.url.removeprefix("sqlite:///"))


@pytest.mark.parametrize(("name", "engine", "paths", "cause"), PLANTED)
def test_what_differs_on_one_engine_is_named(name, engine, paths, cause):
    """The step, the engine, each value here and there, and what explains it; not the step after it."""
    found = verify(planted(name), on=[engine])
    [one] = found.disagreements
    assert (one.step, one.engine, one.cause) == ("odd", engine, cause)
    assert [change.path for change in one.changes] == paths
    assert f"step 'odd' differs on {engine.capitalize()}" in report(found)
    assert all(f"    {path}" in report(found) for path in paths)
    assert json.dumps(to_data(found)["disagreements"][0]["changes"])


def test_a_step_that_is_not_deterministic_is_told_apart():
    """Two runs here differ; neither it nor what follows it is the engine's doing."""
    with pytest.raises(AssertionError, match="step 'odd' is not deterministic, .* two runs here differ"):
        assert_parity(planted("clock"), on=["dagster"])
    found = verify(planted("clock"), on="dagster", ignore="after")
    [one] = found.disagreements
    assert (one.step, one.engine, one.deterministic) == ("odd", "here again", False)
    assert [change.path for change in one.changes] == ["output.at"]
    assert verify(planted("clock"), on=["dagster"], ignore=["odd.at", "after"]).equal


def test_a_selection_without_an_end_has_a_last_date():
    """It is advised where dates go on for ever, and taken; a workflow without partitions has none."""
    flow = Workflow("endless", partitions=PartitionScheme(date=Daily(start="2026-01-05"), fund=["A", "B"]))
    flow.step("only")(lambda ctx: {})
    with pytest.raises(PartitionError, match=r"pass until= \(--until DATE\)"):
        verify(flow, "fund=A", on=["dagster"])
    assert verify(flow, "fund=A", until="2026-01-06", on=["dagster"]).statuses == {"ok": 2}
    with pytest.raises(PartitionError, match=r"has no partitions; leave out until= \(--until\)"):
        verify(planted("clock"), until="2026-01-06", on=["dagster"])


@pytest.mark.parametrize("name", ["nosuch", "nosuch.at", "od.at"])
def test_a_step_that_may_differ_and_is_none_is_refused(name):
    """Before anything runs: it would pass without a word."""
    with pytest.raises(WorkflowError, match=rf"^'{name}', which may differ, is nothing of workflow .*: .*odd, after"):
        verify(planted("clock"), on=["dagster"], ignore=[name])


def test_a_value_that_may_differ_and_is_none_is_refused():
    """What is of the run, or of the end of a step, may differ, too; of a step without an output nothing is known."""
    known = ["capture_id", "params.x", "odd", "odd.status", "odd.at", "odd.at[3].x", "odd.output, order of keys"]
    Comparer(workflow=planted("clock"), ignore=[*known, "after.x"]).check_names({"odd": {"at"}})
    with pytest.raises(WorkflowError, match=r"'odd.att', which may differ, is in no output of step 'odd'; it has at$"):
        Comparer(workflow=planted("clock"), ignore=["odd.att"]).check_names({"odd": {"at"}})


def test_a_key_that_no_table_has_is_refused():
    """The tables are equal, but somebody believes that their rows were found by the key."""
    with pytest.raises(PlainDataError, match="no table that is compared has a column 'nosuch' to be a key; they have"):
        verify(planted("layouts"), on=["dagster"], key="nosuch")


def test_the_order_of_a_set_is_told_apart():
    """Processes have each their own, so that two runs here differ; the count of what is in it does not."""

    def twice(work, sides):
        engine = sides.pop("dagster")
        problems = Processes("adapters.parity_flows:ordered_set")(work, sides)
        copytree(sides["here again"][1], engine[1], dirs_exist_ok=True)  # an engine with the order of the second
        return problems

    found = verify(ordered_set, on=["dagster"], run_sides=lambda work, sides: twice(work, dict(sides)))
    [one] = found.disagreements
    assert (one.step, one.engine) == ("odd", "here again")
    assert {change.path.partition("[")[0] for change in one.changes} == {"output.symbols"}


def test_the_order_of_columns_alone_is_a_difference():
    """Of a table in plain data, too; it has the same cells, so that only its digest is another one."""
    plain = {"a": [1, 2], "b": ["x", "y"]}
    here, there = (take_table(pa.table(some), "t") for some in (plain, dict(reversed(plain.items()))))
    [one] = order_changes({"t": here}, {"t": there}, "output")
    assert (one.path, one.old, one.new) == ("output.t, order of columns", "a, b", "b, a")
    assert cause_of({"t": here}, {"t": there}, [one]) == "the order of columns"
    assert not list(order_changes({"t": here}, {"t": here}, "output"))


def test_dates_and_ids_of_runs_are_compared():
    """A run of another date has another window, capture and key; that each side has its own batch is no change."""
    flow = Workflow("dated", partitions=PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-09")))
    flow.step("only")(lambda ctx: {})
    sides = []
    for batch, day in (("b1", "2026-01-05"), ("b2", "2026-01-06"), ("b3", "2026-01-05")):
        ledger = MemoryLedger()
        key = flow.partition_key(run(flow, partition=day, batch_id=batch, ledger=ledger).context.partition)
        sides.append(Recorded.of(Place.of(ledger, batch), flow, key))
    found = {change.path.partition(".")[0] for change in run_changes(sides[0], sides[1])}
    assert found == {"partition", "as_of_date", "idempotency_key", "capture_id", "window", "due"}
    assert run_changes(sides[0], sides[2]) == []
    [one] = run_changes(sides[0], Recorded(batch_id="b4", steps={}, outputs={}))
    assert (one.path, one.old, one.new) == ("run", "ok", "none recorded")


def test_a_run_that_ended_otherwise_is_a_difference():
    """Whose steps are all equal: it failed or was never finished, or its capture is not complete."""
    flow = Workflow("ended")
    flow.step("only")(lambda ctx: {})
    ledger = MemoryLedger()
    run(flow, batch_id="b", ledger=ledger)
    here = Recorded.of(Place.of(ledger, "b"), flow, None)
    assert here.capture == "complete"
    there = replace(here, run=replace(here.run, status=RunStatus.RUNNING), capture="held")
    [one] = Comparer(workflow=flow).disagreements(None, here, here, {"airflow": there}, {})
    assert (one.step, one.text) == (None, "the run differs on Airflow")
    found = [(change.path, change.old, change.new) for change in one.changes]
    assert found == [("run", "ok", "running"), ("capture", "complete", "held")]
    may_differ = Comparer(workflow=flow, ignore=["run", "capture"])
    assert not list(may_differ.disagreements(None, here, here, {"airflow": there}, {}))
    failed = replace(there, steps={"only": replace(here.steps["only"], status=StepStatus.FAILED)}, outputs={})
    [one] = Comparer(workflow=flow).disagreements(None, here, here, {"airflow": failed}, {})
    assert [one.step, *(change.path for change in one.changes)] == ["only", "status"]


def test_what_is_read_of_others_is_copied(ledger):
    """The runs read what the user's ledger has, in ledgers of their own: there nothing is superseded."""
    for symbol in ("AAPL", "IBM"):
        for day in ("2012-10-01", "2012-10-02"):
            run(quotes, partition=f"{day}|{symbol}", batch_id="first")
        run(moves, partition=f"2012-10-02|{symbol}", batch_id="first")
    before = ledger.list_runs()
    assert_parity(moves, "date=2012-10-02,symbol=AAPL|IBM", on=["dagster"])
    assert_parity(market, "date=2012-10-02", on=["airflow"])
    assert ledger.list_runs() == before
    with pytest.raises(InputMissing, match=r"not in the ledger: 2 partitions of workflow 'moves' to read .*"):
        verify(market, "date=2012-10-03")


def test_a_version_without_the_step_is_not_copied(ledger):
    """Nor is the older one that has it, which no run would read; an input that never was there is left out."""
    scheme = PartitionScheme(date=Daily(start="2026-01-05"))
    old, new, reader = (Workflow(name, partitions=scheme) for name in ("lost", "lost", "reads_lost"))
    old.step("a")(lambda ctx: {})
    new.step("a2")(lambda ctx: {})
    reader.step("copy", inputs={"lost": old.output("a").optional()})(lambda ctx, *, lost: {"there": lost is not None})
    run(new, partition="2026-01-05", batch_id="first")
    run(old, partition="2026-01-06", batch_id="first")
    run(new, partition="2026-01-06", batch_id="second")
    assert_parity(reader, "date=2026-01-05", on=["dagster"])
    with pytest.raises(InputMissing, match="date=2026-01-06, of which .* has no step 'a': it has 'a2'; capture"):
        verify(reader, "date=2026-01-06")


def test_large_outputs_are_read_from_the_users_artifacts(ledger, monkeypatch, tmp_path):
    """Tables too; what is copied is written elsewhere, and nothing is added there."""
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(tmp_path / "store"))
    large, reader = Workflow("large"), Workflow("reader")
    large.step("load")(lambda ctx: {"rows": list(range(20_000)), "t": pa.table({"a": list(range(90_000))})})

    @reader.step(inputs={"loaded": large.output("load")})
    def use(ctx, *, loaded):
        return {
            "rows": len(loaded["rows"]),
            "sum": sum(loaded["t"].to_arrow()["a"].to_pylist()),
            "all": loaded["t"],
            "again": loaded["rows"],
        }

    run(large, batch_id="first").raise_for_failure()
    kept = sorted((tmp_path / "store").rglob("*"))

    def here_alone(work, sides):
        return {name: run_side(work, "local", folder) for name, (_, folder) in sides.items()}

    found = verify(reader, on=["dagster"], run_sides=here_alone)
    assert (found.equal, found.statuses) == (True, {"ok": 1})
    assert sorted((tmp_path / "store").rglob("*")) == kept
    assert len(kept) > 1


def test_no_room_for_the_sides_is_said(monkeypatch, tmp_path):
    """It is no fault of a ledger of the user's; where there is room, errors are what they were."""

    def full(work, sides):
        raise LedgerUnavailable("the ledger of a side cannot be written (database or disk is full)")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    flow = Workflow("plain")
    flow.step("only")(lambda ctx: {})
    with pytest.raises(LedgerUnavailable, match="the ledger of a side"):
        verify(flow, on=["dagster"], run_sides=full)
    monkeypatch.setattr("flowctx.parity.verifying.disk_usage", lambda folder: SimpleNamespace(free=4096))
    words = rf"temporary files in {tmp_path} cannot be written \(4,096 bytes are free\); set TMPDIR to a folder"
    with pytest.raises(FlowctxError, match=words) as raised:
        verify(flow, on=["dagster"], run_sides=full)
    assert not isinstance(raised.value, LedgerError)
    assert not list(tmp_path.iterdir())
    with pytest.raises(PartitionError, match="has no partitions"):
        verify(flow, "date=last:5")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(FlowctxError, match=r"temporary files in .*gone cannot be written \(No such file"):
        verify(flow, on=["dagster"])


def test_what_cannot_be_compared_is_refused(monkeypatch):
    """One sentence, before anything runs."""
    flow = Workflow("plain")
    flow.step("only")(lambda ctx: {})
    with pytest.raises(WorkflowError, match="there is no engine 'prefect' to compare with; there are airflow, dagster"):
        verify(flow, on=["prefect"])
    with pytest.raises(WorkflowError, match="say which engines a run here is compared with: airflow, dagster"):
        verify(flow, on=[])
    with pytest.raises(PartitionError, match=r"workflow 'plain' has no partitions; leave out select= \(--select\)"):
        verify(flow, "date=last:5")
    with pytest.raises(PartitionError, match=r"of 'daily_prices' are compared: select='date=last:5' \(--select\)"):
        verify(prices)
    tiers = Workflow("tiers", partitions=PartitionScheme(tier=["T1"]))
    tiers.step("only")(lambda ctx: {})
    with pytest.raises(PartitionError, match="'last:5' in 'last:5' has no '='; write tier="):
        verify(tiers, "last:5")
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    with pytest.raises(LedgerError, match=r"reads outputs of other partitions, which are in a ledger; pass ledger="):
        verify(market, "date=2012-10-02")


@pytest.mark.parametrize("selected", ["last:2", "date=last:2"])
def test_the_latest_dates_are_those_that_are_due(selected):
    """Also where dates go on for ever."""
    flow = Workflow("endless", partitions=PartitionScheme(date=Daily(start="2026-01-05")))
    flow.step("only")(lambda ctx: {"day": ctx.as_of_date})
    ran = []

    def enough(work, sides):
        ran.extend(key.date for key in work.keys)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        verify(flow, selected, on=["dagster"], run_sides=enough)
    due = flow.partitions.cadence.latest_due(datetime.now(UTC))
    assert ran == [str(due - timedelta(days=1)), str(due)]


def test_a_process_that_cannot_run_its_side_says_why(tmp_path):
    """Its own sentence, or the last lines that it wrote."""
    flow = Workflow("gone")
    flow.step("only")(lambda ctx: {})
    with pytest.raises(EngineError, match="the runs here could not be made: there is no module 'no_such_module'"):
        verify(flow, on=["dagster"], run_sides=Processes("no_such_module:gone"))
