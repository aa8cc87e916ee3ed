"""How a batch stands, as numbers, as a grid and as a page."""

from __future__ import annotations

import json
import re
from array import array
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from backfill.flows import flow
from flowctx import Backfill, BatchStatus, Daily, File, PartitionScheme, UnknownBatch, Workflow, WorkflowContext, run
from flowctx.backfill import import_engine_runs, render_html
from flowctx.backfill.belonging import Tally, tally
from flowctx.backfill.grid import Grid
from flowctx.backfill.previews import latest_tables
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState, Standing
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
SOME = "date=2012-01-02..2012-01-03"  # 6 partitions


def ran(partition: str, state: str, seconds: float = 1.0, **fields: object) -> PartitionRun:
    given = {"run_id": f"run of {partition}", "engine": "airflow", "last_seen_at": NOW, **fields}
    return PartitionRun(
        partition=partition,
        state=PartitionState(state),
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=seconds),
        **given,  # type: ignore[arg-type]
    )


@pytest.fixture
def ledger() -> Ledger:
    """A batch of six, three of which have run."""
    ledger = open_ledger("memory://")
    ledger.batches.put(Backfill(flow, SOME, "b", ledger=ledger).record())
    ledger.batches.record_outcomes(
        "b", [ran("date=2012-01-02|tier=T1", "ok", 1), ran("date=2012-01-02|tier=T2", "ok", 3)]
    )
    bad = ran("date=2012-01-03|tier=T3", "failed", step="check", error="</script> is no row", engine="dagster")
    ledger.batches.record_outcomes("b", [bad])
    return ledger


def test_counts_engines_and_times(ledger: Ledger) -> None:
    """What ran, where and how long is counted; what did not is missing."""
    status = BatchStatus.of(ledger, "b")
    assert status.counts == {"ok": 2, "failed": 1, "missing": 3}
    assert status.engines == {"airflow": 2, "dagster": 1}
    assert status.seconds == {"p50": 1.0, "p90": 3.0, "p99": 3.0, "max": 3.0}
    assert (status.total, status.missing, status.complete) == (6, 3, False)


def test_a_batch_is_complete_when_all_is_done(ledger: Ledger) -> None:
    """Captured and skipped partitions alone make a batch complete."""
    keys = Backfill(flow, SOME, "b", ledger=ledger).selection
    ledger.batches.record_outcomes("b", [ran(str(key), "ok" if key.tier == "T1" else "skipped") for key in keys])
    assert BatchStatus.of(ledger, "b").complete


def test_partitions_outside_the_selection_do_not_count(ledger: Ledger) -> None:
    """A run that carries the batch id for another partition is not one of the batch."""
    ledger.batches.record_outcomes("b", [ran(f"date=2012-02-0{day}|tier=T1", "ok") for day in (2, 3, 6)])
    for workflow in ((), (flow,)):
        status = BatchStatus.of(ledger, "b", *workflow)
        assert (status.total, status.counts) == (6, {"ok": 2, "failed": 1, "missing": 3})
        assert (status.outside, status.unclear, status.engines) == ({"ok": 3}, 0, {"airflow": 2, "dagster": 1})
        assert status.to_dict()["outside"] == {"ok": 3}
        assert "<td>3 ok</td>" in render_html(status)


def some_tiers(ledger: Ledger) -> Workflow:
    """Make a batch of three of four tiers, two of which it has launched; another ran under an id of its own."""
    tiers = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2", "T3", "T4"]))
    tiers.step("look")(_look)
    plan = Backfill(tiers, "tier=T1|T2|T3", "t", ledger=ledger)
    assert str(plan.selection) == "tier=T1..T3"
    ledger.batches.put(plan.record())
    for key in plan.selection[:2]:
        run(tiers, partition=key, batch_id="t", run_id=plan.job(key, None).run_id, ledger=ledger)
    return tiers


def test_what_a_launch_has_run_is_selected(ledger: Ledger) -> None:
    """Where the text of a selection does not tell what is in a range, the ids of runs do."""
    some_tiers(ledger)
    status = BatchStatus.of(ledger, "t")
    assert (status.counts, status.outside, status.unclear) == ({"ok": 2, "missing": 1}, {}, 0)


def test_a_batch_is_not_complete_while_it_is_unclear_what_has_run(ledger: Ledger) -> None:
    """As many partitions as are selected may be others; then only the workflow says that it is complete."""
    tiers = some_tiers(ledger)
    run(tiers, partition="T4", batch_id="t", ledger=ledger)
    status = BatchStatus.of(ledger, "t")
    assert (status.total, status.counts, status.unclear, status.complete) == (3, {"ok": 3}, 1, False)
    status = BatchStatus.of(ledger, "t", tiers)
    assert (status.counts, status.outside, status.unclear) == ({"ok": 2, "missing": 1}, {"ok": 1}, 0)
    run(tiers, partition="T3", batch_id="t", ledger=ledger)
    status = BatchStatus.of(ledger, "t")
    assert (status.total, status.counts, status.complete) == (3, {"ok": 4}, False)
    assert BatchStatus.of(ledger, "t", tiers).complete


def test_more_partitions_than_are_selected_are_not_all_of_the_batch(ledger: Ledger) -> None:
    """What joined the scheme after the batch may pass for selected; that it is more than the batch has is seen."""
    tiers = Workflow("tiers", partitions=PartitionScheme(tier=["T1"]))
    ledger.batches.put(Backfill(tiers, None, "t", ledger=ledger).record())
    ledger.batches.record_outcomes("t", [ran(f"tier={tier}", "ok") for tier in ("T1", "T2")])
    status = BatchStatus.of(ledger, "t")
    assert (status.total, status.unclear, status.complete) == (1, 1, False)


def test_runs_without_a_partition_are_none_beside_partitions(ledger: Ledger) -> None:
    """What the instances of a mapped group are reduced to is no partition of its batch; a failure of it is listed."""
    reduced = ran("", "failed", occasion="2026-01-09", error="no mean")
    ledger.batches.record_outcomes("mapped", [*(ran(f"tier=T{n}", "ok") for n in range(8)), reduced])
    with pytest.raises(UnknownBatch):
        ledger.batches.get("mapped")
    ledger.batches.put(BatchRecord(batch_id="mapped", workflow="flow", created_at=NOW))
    status = BatchStatus.of(ledger, "mapped")
    assert (status.total, status.counts, status.outside) == (8, {"ok": 8}, {"failed": 1})
    assert [run.error for run in status.failures] == ["no mean"]
    assert not status.complete
    ledger.batches.record_outcomes("mapped", [ran("", "ok", occasion="2026-01-09")])
    assert BatchStatus.of(ledger, "mapped").complete


def test_partitions_of_an_earlier_scheme_are_of_the_batch(ledger: Ledger) -> None:
    """One run with more dimensions, from before the scheme lost one, leaves the others partitions of the batch."""
    ledger.batches.put(BatchRecord(batch_id="nightly", workflow="flow", created_at=NOW))
    days = [ran(f"date=2012-01-0{day}", "failed" if day > 5 else "ok") for day in range(1, 9)]
    ledger.batches.record_outcomes("nightly", [*days, ran("date=2012-01-02|tier=T1", "ok")])
    status = BatchStatus.of(ledger, "nightly")
    assert (status.total, status.counts, status.outside, status.complete) == (9, {"ok": 6, "failed": 3}, {}, False)
    assert tally(ledger.batches, status.batch) == Tally({"ok": 6, "failed": 3})


def test_what_waits_has_run_on_no_engine(ledger: Ledger) -> None:
    """Engines are counted of runs that there are: none of what waits, and of what a worker died before it began."""
    wait = ran("date=2012-01-03|tier=T1", "waiting", engine="local")
    died = ran("date=2012-01-03|tier=T2", "failed", engine="local", attempt=0)
    ledger.batches.record_outcomes("b", [wait, died])
    status = BatchStatus.of(ledger, "b")
    assert (sum(status.counts.values()), status.engines) == (6, {"airflow": 2, "dagster": 1})
    assert {one["partition"]: one["run_id"] for one in status.to_dict()["failures"]} == {
        "date=2012-01-03|tier=T2": None,
        "date=2012-01-03|tier=T3": "run of date=2012-01-03|tier=T3",
    }


@pytest.mark.parametrize(
    "dimensions",
    [
        {"tier": ["T1", "T2", "T3", "T4"]},
        {"tier": ["T1"]},
        {"tier": ["T1", "T2", "T3"], "date": Daily(start="2012-01-03", calendar="WEEKDAYS")},
        {"level": ["T1", "T2", "T3"]},
    ],
)
def test_a_finished_batch_stays_what_it_was(ledger: Ledger, dimensions: dict[str, Any]) -> None:
    """A value, a date or a dimension that joins or leaves the scheme later changes no batch that is complete."""
    keys = Backfill(flow, SOME, "b", ledger=ledger).selection
    ledger.batches.record_outcomes("b", [ran(str(key), "ok") for key in keys])
    scheme = PartitionScheme(**{"date": Daily(start="2012-01-02", calendar="WEEKDAYS"), **dimensions})
    later = Workflow(flow.name, partitions=scheme)
    later.step("fill")(lambda ctx: None)
    status = BatchStatus.of(ledger, "b", later)
    assert (status.counts, status.total, status.complete) == ({"ok": len(keys)}, len(keys), True)
    assert status.grid is not None
    assert status.grid.cells.count(b".") == 0


def test_a_batch_without_a_plan_has_what_ran(ledger: Ledger) -> None:
    """Of a batch that an engine started by itself, what ran is all that there is."""
    run(flow, partition="2012-01-02|T1", batch_id="native", ledger=ledger)
    status = BatchStatus.of(ledger, "native", flow)
    assert (status.counts, status.total) == ({"ok": 1}, 1)
    assert status.grid is not None
    assert (status.grid.rows, status.grid.columns) == (["2012-01-02"], ["T1"])


def test_a_batch_without_a_plan_looks_the_same_with_its_workflow(ledger: Ledger) -> None:
    """Nothing is missing of it, so the texts of its partitions tell all: their order, too."""
    scheme = PartitionScheme(venue=["Z", "Y"], book=["Q", "P"])
    other = Workflow("other", partitions=scheme)
    other.step(name="look")(_look)
    for key in list(scheme)[:3]:
        run(other, partition=key, batch_id="native", ledger=ledger)
    grid = BatchStatus.of(ledger, "native").grid
    assert grid is not None
    assert (grid.rows, grid.columns) == (["P", "Q"], ["Y", "Z"])
    assert BatchStatus.of(ledger, "native", other).grid == grid


def test_an_unknown_batch(ledger: Ledger) -> None:
    """A batch that nobody remembers is an error."""
    with pytest.raises(UnknownBatch, match="no batch 'c'"):
        BatchStatus.of(ledger, "c")


def test_the_grid_has_dates_as_rows(ledger: Ledger) -> None:
    """Rows are as-of dates and columns the other values, in the scheme's order."""
    grid = BatchStatus.of(ledger, "b", flow).grid
    assert grid is not None
    assert (grid.rows, grid.columns) == (["2012-01-02", "2012-01-03"], ["T1", "T2", "T3"])
    assert [grid.row(0), grid.row(1)] == [b"oom", b"mmf"]


def test_a_grid_without_dates_has_the_first_dimension_as_rows() -> None:
    """Where there are no dates the first dimension makes the rows; what is not selected is blank."""
    scheme = PartitionScheme(tier=["T2", "T1"], venue=["X", "Y"], lot=["a", "b"])
    grid = Grid.of(scheme, scheme.select("tier=T1,venue=X;tier=T2,venue=Y,lot=b"), [])
    assert (grid.rows, grid.columns) == (["T2", "T1"], ["X|a", "X|b", "Y|b"])
    assert [grid.row(0), grid.row(1)] == [b"  m", b"mm "]


@pytest.mark.parametrize(
    ("texts", "grid"),
    [
        (["date=2012-01-02|tier=T1", "date=2012-01-03|tier=T2"], (["2012-01-02", "2012-01-03"], ["T1", "T2"], b"o  o")),
        (["tier=T2|date=2012-01-03", "date=2012-01-02|tier=T1"], (["2012-01-02", "2012-01-03"], ["T1", "T2"], b"o  o")),
        (["date=2012-01-02|tier=a%2Fb", "nightly", "a=1|a=2"], (["2012-01-02"], ["a/b"], b"o")),
        (["tier=T2", "tier=T1"], (["T2", "T1"], [""], b"oo")),
        (["tier=T%31", "tier=T1"], (["T1"], [""], b"o")),
        (["date=2012-01-02|tier=T1", "tier=T1"], None),
        (["date=2012-01-02|tier=T1", "date=2012-01-02|venue=T1"], None),
        (["nightly"], None),
    ],
)
def test_a_grid_of_what_ran_needs_no_workflow(
    texts: list[str], grid: tuple[list[str], list[str], bytes] | None
) -> None:
    """Its rows and columns are what the texts of the partitions say, whoever wrote them; what is no key is left out."""
    found = Grid.of_runs([Standing.of(ran(text, "ok")) for text in texts])
    assert (found and (found.rows, found.columns, bytes(found.cells))) == grid


def test_the_page_holds_everything_and_fetches_nothing(ledger: Ledger) -> None:
    """The page is one file: its data, escaped, no address of any other, and each failure's words."""
    html = render_html(BatchStatus.of(ledger, "b", flow))
    assert not re.search(r"""(src|href)=|url\(|@import|https?:""", html)
    data = html.split('type="application/json">')[1].split("</script>")[0]
    found = json.loads(data)
    assert found["failures"][0]["error"] == "</script> is no row"
    assert found["grid"]["cells"] == "oommmf"
    assert found["counts"] == {"ok": 2, "failed": 1, "missing": 3}


def test_the_page_can_be_read_where_scripts_do_not_run(ledger: Ledger) -> None:
    """Without a script, as in a mail, there are still how many partitions stand how, and what failed."""
    page = render_html(BatchStatus.of(ledger, "b", flow))
    plain = page.split("<noscript>")[1].split("</noscript>")[0]
    assert "<td>2 ok, 1 failed, 3 missing</td>" in plain
    assert "<td>&lt;/script&gt; is no row</td>" in plain
    assert "Failures (1)" in plain


def test_the_page_says_why_partitions_were_skipped(ledger: Ledger) -> None:
    """Each reason stands in the page with the number of partitions that it holds for, escaped."""
    page = render_html(BatchStatus.of(ledger, "b", flow))
    assert '<section id="skips" hidden>' in page
    ledger.batches.record_outcomes(
        "b", [ran(f"date=2012-01-03|tier={tier}", "skipped", error="<no> trades") for tier in ("T1", "T2")]
    )
    page = render_html(BatchStatus.of(ledger, "b", flow))
    assert '<section id="skips">' in page
    assert "<td>2</td><td>&lt;no&gt; trades</td>" in page


def test_it_says_why_partitions_are_partial(ledger: Ledger) -> None:
    """Each reason is counted, on the page too; a part that was asked for needs none."""
    why = "airflow calls it done, and the ledger has nothing of it"
    for tier, reason in (("T1", why), ("T2", why), ("T3", None)):
        ledger.batches.record_outcomes("b", [ran(f"date=2012-01-03|tier={tier}", "partial", error=reason, seconds=2)])
    status = BatchStatus.of(ledger, "b")
    assert (status.counts["partial"], status.partial) == (3, {why: 2})
    assert status.to_dict()["partial"] == {why: 2}
    assert why in render_html(status)


def test_the_page_holds_tracebacks() -> None:
    """Where a step failed stands in the page beside its error."""
    ledger, broken = open_ledger("memory://"), Workflow("broken", partitions=PartitionScheme(tier=["T1"]))

    @broken.step()
    def divide(ctx: WorkflowContext) -> dict[str, float]:
        return {"share": 1 / 0}

    run(broken, partition="T1", batch_id="b", ledger=ledger)
    page = render_html(BatchStatus.of(ledger, "b", broken))
    (failure,) = json.loads(page.split('type="application/json">')[1].split("</script>")[0])["failures"]
    assert failure["error"] == "ZeroDivisionError: division by zero"
    assert 'return {"share": 1 / 0}' in failure["traceback"]


def test_the_title_of_the_page_is_escaped(ledger: Ledger) -> None:
    """A batch id is no markup."""
    flow = Workflow("tiers", partitions=PartitionScheme(tier=["T1"]))
    ledger.batches.put(Backfill(flow, None, "<b>&", ledger=ledger).record())
    assert "<title>&lt;b&gt;&amp;</title>" in render_html(BatchStatus.of(ledger, "<b>&"))


@pytest.mark.parametrize(
    ("said", "seconds", "state"), [("failed", 1, "canceled"), ("ok", 1, "canceled"), ("ok", 60, "ok")]
)
def test_what_was_stopped_stays_stopped(ledger: Ledger, said: str, seconds: int, state: str) -> None:
    """An engine that calls a stopped run failed, or even successful, is not believed; one that ran it again is."""
    key = "date=2012-01-03|tier=T1"
    ledger.batches.record_outcomes("b", [ran(key, "canceled", seconds=0)])
    import_engine_runs(ledger.batches, ledger.batches.get("b"), iter([ran(key, said, seconds)]))
    assert [run.state for run in ledger.batches.iter_outcomes("b", [key])] == [state]


def test_an_engine_that_knows_better_is_believed(ledger: Ledger) -> None:
    """What was launched and has ended since, says the engine, has ended."""
    key = "date=2012-01-03|tier=T1"
    ledger.batches.record_outcomes("b", [ran(key, "launched", last_seen_at=NOW + timedelta(hours=1))])
    assert import_engine_runs(ledger.batches, ledger.batches.get("b"), iter([ran(key, "ok")])) == 1
    assert [run.state for run in ledger.batches.iter_outcomes("b", [key])] == ["ok"]


def test_the_page_shows_tables_in_small(tmp_path: Path) -> None:
    """The tables and files of the partition that was captured last, escaped; what is gone is said in its place."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    tabled = Workflow("tabled", partitions=PartitionScheme(tier=["T1", "T2"]))

    @tabled.step()
    def load(ctx: WorkflowContext) -> dict[str, Any]:
        words = [f"<b>{ctx.partition['tier']}{number}</b>" for number in range(2000)]
        return {"rows": pa.table({"word": words, "n": range(2000)}), "doc": File(__file__)}

    for tier in ("T2", "T1"):
        run(tabled, partition=tier, batch_id="b", ledger=ledger)
    status = BatchStatus.of(ledger, "b", tabled)
    assert 'id="tables"' not in render_html(status)
    page = render_html(status, latest_tables(ledger, status))
    assert "of tier=T1, run " in page
    assert "<th>word string</th><th>n int64</th>" in page
    assert "<td>&lt;b&gt;T10&lt;/b&gt;</td><td>0</td>" in page
    assert "2,000 rows" in page
    assert "load.doc: test_status.py, " in page
    for file in tmp_path.glob("*.artifacts/**/*.parquet"):
        file.unlink()
    assert "if it is gone, run the step that made it again" in render_html(status, latest_tables(ledger, status))
    ledger.close()


def test_a_page_without_tables_has_no_such_section(ledger: Ledger) -> None:
    """What an engine told of, and what was not run here, has no tables to show."""
    status = BatchStatus.of(ledger, "b", flow)
    assert latest_tables(ledger, status) == []
    assert 'id="tables"' not in render_html(status)


def test_runs_of_other_workflows_are_shown_and_do_not_count(ledger: Ledger) -> None:
    """They carry the batch's id and partitions of the same names, and neither do nor undo anything of the batch."""
    other = Workflow("other", partitions=flow.partitions)
    other.step(name="look")(_look)
    for partition in ("2012-01-02|T1", "2012-01-03|T1", "2012-01-03|T3"):
        run(other, partition=partition, batch_id="b", ledger=ledger)
    status = BatchStatus.of(ledger, "b", flow)
    assert status.counts == {"ok": 2, "failed": 1, "missing": 3}
    assert status.others == status.to_dict()["others"] == {"other": {"ok": 3}}
    assert "<td>other</td><td>3 ok</td>" in re.sub(r"\s+<", "<", render_html(status))
    plan = Backfill(flow, SOME, "b", ledger=ledger).plan()
    assert plan.states == {"ok": 2, "failed": 1}
    assert plan.would_run == 3
    assert BatchStatus.of(ledger, "b").others == {"other": {"ok": 3}}


def _look(ctx: WorkflowContext) -> None:
    return None


def test_who_asks_says_whose_a_batch_is_that_nobody_planned(ledger: Ledger) -> None:
    """Of two workflows that were run under one id, each can be shown."""
    other = Workflow("other", partitions=flow.partitions)
    other.step(name="look")(_look)
    run(flow, partition="2012-01-02|T1", batch_id="both", ledger=ledger)
    for partition in ("2012-01-02|T1", "2012-01-03|T1"):
        run(other, partition=partition, batch_id="both", ledger=ledger)
    found = BatchStatus.of(ledger, "both", other)
    assert (found.batch.workflow, found.total, list(found.others)) == ("other", 2, [flow.name])
    found = BatchStatus.of(ledger, "both", flow)
    assert (found.batch.workflow, found.total, found.others) == (flow.name, 1, {"other": {"ok": 2}})


def test_the_page_of_a_hundred_thousand_partitions_is_small(ledger: Ledger) -> None:
    """Each cell is a letter and a short number in one text, whatever the size; nothing of it is masked or lost."""
    rows, columns = [f"{number:04}" for number in range(2000)], [f"c{number}" for number in range(50)]
    cells = bytearray(b"oosmf" * 20_000)
    seconds = array("f", [0.25, 12.3456, -1.0, -1.0, 3600.0] * 20_000)
    grid = Grid("date", ("column",), dated=True, rows=rows, columns=columns, cells=cells, seconds=seconds)
    page = render_html(replace(BatchStatus.of(ledger, "b", flow), grid=grid))
    found = json.loads(page.split('type="application/json">')[1].split("</script>")[0])["grid"]
    assert (found["rows"], found["columns"], found["cells"]) == (rows, columns, cells.decode())
    assert found["milliseconds"] == ",".join(["250", "12346", "", "", "3600000"] * 20_000)
    assert len(page) < 1_000_000


def test_each_of_several_workflows_of_what_nobody_planned_is_shown() -> None:
    """Which batch it is, whoever asks says; each that is named counts, and what is named by nobody is told of."""
    ledger, names = open_ledger("memory://"), ("one", "two", "three")
    flows = [Workflow(name, partitions=PartitionScheme(tier=["T1", "T2"])) for name in names]
    for workflow in flows:
        workflow.step(name="look")(_fails_for_t2 if workflow.name == "two" else _look)
        for tier in ("T1", "T2"):
            run(workflow, partition=tier, batch_id="b", ledger=ledger)
    status = BatchStatus.of(ledger, "b", flows[0], flows[1])
    assert [(one.batch.workflow, one.counts) for one in status.by_workflow] == [
        ("one", {"ok": 2}),
        ("two", {"ok": 1, "failed": 1}),
    ]
    assert (status.counts, status.total, status.complete) == ({"ok": 3, "failed": 1}, 4, False)
    assert (status.others, [run.title for run in status.failures]) == ({"three": {"ok": 2}}, ["tier=T2 of two"])
    assert BatchStatus.of(ledger, "b", flows[0], flows[0]).by_workflow == ()


def test_what_never_ran_is_not_complete() -> None:
    """Nobody planned it, and none of its runs is of the workflow that is named, or of one of those."""
    ledger, flows = open_ledger("memory://"), [Workflow(name) for name in ("one", "two")]
    for workflow in flows:
        workflow.step(name="look")(_look)
    run(flows[0], batch_id="b", ledger=ledger)
    assert BatchStatus.of(ledger, "b", flows[0]).complete
    assert not BatchStatus.of(ledger, "b", flows[1]).complete
    assert not BatchStatus.of(ledger, "b", *flows).complete
    run(flows[1], batch_id="b", ledger=ledger)
    assert BatchStatus.of(ledger, "b", *flows).complete


def test_partitions_without_a_date_are_counted_by_business_date() -> None:
    """A later date does not hide that an earlier one has failed; whoever planned the batch planned partitions."""
    ledger = open_ledger("memory://")
    tiers = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2"]), params={"bad": ""})
    tiers.step(name="look")(_fails_if_bad)
    for day, tier, bad in (("08", "T1", "yes"), ("09", "T1", ""), ("08", "T2", ""), ("09", "T2", "")):
        run(tiers, partition=tier, as_of_date=f"2026-01-{day}", batch_id="b", params={"bad": bad}, ledger=ledger)
    status = BatchStatus.of(ledger, "b", tiers)
    assert status.counts == {"ok": 2}
    assert status.dates == {"2026-01-08": {"failed": 1, "ok": 1}, "2026-01-09": {"ok": 2}} == status.to_dict()["dates"]
    assert not status.complete
    run(tiers, partition="T1", as_of_date="2026-01-08", batch_id="b", ledger=ledger)
    assert BatchStatus.of(ledger, "b", tiers).complete
    run(tiers, partition="T1", as_of_date="2026-01-09", batch_id="c", ledger=ledger)
    run(tiers, partition="T1", as_of_date="2026-01-09", batch_id="c", ledger=ledger)
    assert BatchStatus.of(ledger, "c", tiers).dates == {}


def _fails_for_t2(ctx: WorkflowContext) -> None:
    if ctx.partition is not None and ctx.partition.tier == "T2":
        raise ValueError("no rows")


def _fails_if_bad(ctx: WorkflowContext) -> None:
    if ctx.params["bad"]:
        raise ValueError("no rows")
