"""What a number was built from, down to the first inputs: partitions, versions, code, parameters, who and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree

import pytest

from flowctx import PartitionScheme, UnknownRun, Workflow, run
from flowctx.core.data.plain import freeze
from flowctx.core.durability.records import RunStatus, VersionRead
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock
from flowctx.testing.records import a_run, a_step
from flowctx.versions.lineage import find_captured, lineage
from flowctx.versions.lineage_drawing import MOST, draw_lineage, lineage_page
from versions.real_chain import SESSIONS, market, moves, quotes

DAYS, SYMBOLS = ("2012-10-01", "2012-10-02"), ("AAPL", "IBM")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def ledger(clock):
    """Two sessions of the chain, each made under one batch id, one close with a parameter."""
    made = MemoryLedger(clock, owner="night shift")
    for workflow in (quotes, moves, market):
        for key in workflow.partitions.select("date=2012-10-01..2012-10-02"):
            params = {"corrections": {"2012-10-02|IBM": 1.5}} if workflow is quotes else {}
            run(workflow, partition=key, batch_id="first", params=params, ledger=made, clock=clock)
    return made


def of(ledger, capture="2012-10-02|first", workflow="market"):
    return lineage(ledger, find_captured(ledger, capture, workflow, None))


def test_everything_that_was_read_is_there_once(ledger):
    """The date's moves, and the closes of it and of the date before, whichever way they were reached."""
    found = of(ledger)
    assert [(source.depth, source.workflow, str(source.partition)) for source in found] == [
        (0, "market", "date=2012-10-02"),
        (1, "moves", "date=2012-10-02|symbol=AAPL"),
        (1, "moves", "date=2012-10-02|symbol=IBM"),
        (2, "quotes", "date=2012-10-02|symbol=AAPL"),
        (2, "quotes", "date=2012-10-01|symbol=AAPL"),
        (2, "quotes", "date=2012-10-02|symbol=IBM"),
        (2, "quotes", "date=2012-10-01|symbol=IBM"),
    ]
    assert [source.problem for source in found] == [None] * 7
    assert {source.revision for source in found} == {1}


def test_each_source_says_who_made_it_when_and_how(ledger):
    """Its run, engine, owner and parameters; the code of each step, and what each has read."""
    told = next(one for one in of(ledger) if str(one.partition) == "date=2012-10-02|symbol=IBM" and one.depth == 2)
    data = told.to_dict()
    assert data["run"]["params"] == {"corrections": {"2012-10-02|IBM": 1.5}}
    assert (data["run"]["by"], data["run"]["engine"], data["run"]["batch_id"]) == ("night shift", "local", "first")
    assert data["run"]["as_of_date"] == "2012-10-02"
    [step] = data["steps"]
    assert (step["step"], step["code"]) == ("close", quotes["close"].code_version)
    [reads] = of(ledger)[0].to_dict()["steps"][0]["inputs"].values()
    assert [read["capture_id"] for read in reads] == ["2012-10-02|AAPL|first", "2012-10-02|IBM|first"]


def test_a_restatement_changes_nothing_of_what_was_read(ledger, clock):
    """Nor does pruning: what something current was built from is never forgotten."""
    run(moves, partition="2012-10-02|IBM", batch_id="restate", ledger=ledger, clock=clock)
    before = of(ledger)
    ledger.prune(clock.now() + timedelta(days=1))
    found = of(ledger)
    assert [source.problem for source in found] == [None] * 7
    assert [source.to_dict() for source in found] == [source.to_dict() for source in before]


def test_a_run_that_is_not_known_any_more_is_said(clock):
    """As older versions pruned what something was built from."""
    ledger = MemoryLedger(clock)
    gone = VersionRead(
        workflow="old", step="a", partition=None, capture_id="c", revision=2, run_key="0" * 32, digest="1" * 32
    )
    begun = ledger.begin(a_run())
    ledger.record(begun, [replace(a_step(), inputs={"input": (gone,)})])
    [_, source] = lineage(ledger, ledger.get_run("run-1"))
    assert (source.capture_id, source.run, source.steps) == ("c", None, [])
    assert "pruned: what it was built from is not known any more" in str(source.problem)
    assert source.to_dict()["run"] is None


def test_what_was_written_over_in_place_is_said(ledger, clock):
    """An engine may run the same run again: then its record is another than the one that was read."""
    [made] = ledger.list_runs(workflow="quotes", capture_id="2012-10-02|IBM|first")
    [step] = ledger.steps(made.key)
    begun = ledger.begin(made)
    ledger.record(begun, [replace(step, output=freeze({"close": 1.0}))])
    ledger.finish(begun, RunStatus.OK)
    [told] = [source for source in of(ledger) if source.problem]
    assert (told.workflow, str(told.partition)) == ("quotes", "date=2012-10-02|symbol=IBM")
    assert "written over since it was read" in str(told.problem)


@pytest.mark.parametrize("factor", [2.0, "no number"])
def test_what_another_run_of_the_batch_has_written_over_is_said(ledger, clock, factor):
    """Whether that run is complete, or has failed: the capture that was read holds something else."""
    params = {"corrections": {"2012-10-02|IBM": factor}}
    run(quotes, partition="2012-10-02|IBM", batch_id="first", params=params, ledger=ledger, clock=clock)
    [told] = [source for source in of(ledger) if source.problem]
    assert (told.workflow, str(told.partition)) == ("quotes", "date=2012-10-02|symbol=IBM")
    assert "written over since it was read" in str(told.problem)


def test_only_what_the_steps_that_were_read_rest_on_counts(ledger, clock):
    """Inputs of other steps of the same run are left out."""
    both = Workflow("both", partitions=PartitionScheme(date=SESSIONS))
    both.step(name="one", after=[], inputs={"m": market.output("mean")})(lambda ctx, m: {"m": m["mean"]})
    both.step(name="two", after=[], inputs={"q": quotes.output("close")})(lambda ctx, q: {"n": len(q)})
    last = Workflow("last", partitions=PartitionScheme(date=SESSIONS))
    last.step(name="end", inputs={"two": both.output("two")})(lambda ctx, two: dict(two))
    for workflow in (both, last):
        run(workflow, partition="2012-10-01", batch_id="b", ledger=ledger, clock=clock).raise_for_failure()
    assert {source.workflow for source in of(ledger, "2012-10-01|b", "last")} == {"last", "both", "quotes"}


def test_a_capture_is_found_by_its_id_or_its_run(ledger):
    """Of several workflows the one that is named; nothing is an error that says so."""
    made = find_captured(ledger, "2012-10-02|first", None, None)
    assert made.workflow == "market"
    assert find_captured(ledger, made.run_id, None, None) == made
    with pytest.raises(UnknownRun, match="is one of several workflows; say which: --workflow moves or quotes"):
        find_captured(ledger, "2012-10-02|IBM|first", None, None)
    with pytest.raises(UnknownRun, match="'nothing'"):
        find_captured(ledger, "nothing", None, None)


def test_the_drawing_has_a_box_for_each_capture_and_a_line_for_each_reading(ledger):
    """In a page that fetches nothing; who, when and the parameters are in the boxes' titles."""
    page = lineage_page(of(ledger))
    drawing = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + len("</svg>")])
    boxes = drawing.findall("g")
    assert len(boxes) == 7
    assert len(drawing.findall("path")) == 2 + 4
    assert {box.find("rect").get("x") for box in boxes} == {"6", "326", "646"}
    [first] = [box.find("title").text for box in boxes if box.find("rect").get("x") == "6"]
    assert first.startswith("market\ndate=2012-10-02\n2012-10-02|first, revision 1\nlocal, ")
    assert "by night shift" in first
    assert "http" not in page.replace("http-equiv", "")


def test_a_drawing_of_many_captures_says_how_many_more_there_are(ledger):
    """So many of each column are drawn; names from data do no harm, and what is gone is marked."""
    found = of(ledger)
    many = [replace(found[1], run_key=str(n), workflow="<b>", problem="pruned", steps=[]) for n in range(MOST + 3)]
    drawn = draw_lineage([found[0], *many])
    assert "and 3 more" in drawn
    assert "<b>" not in drawn
    assert drawn.count('class="problem"') == MOST
