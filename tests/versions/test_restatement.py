"""A restatement of real prices: what was known before, and exactly what follows from a corrected source."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from flowctx import PartitionScheme, StepResult, StepStatus, VersionChoice, Workflow, diff, outputs, run, stale
from flowctx.core.data.plain import freeze
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord, VersionRead
from flowctx.core.workflow.run_context import begin
from flowctx.ledger import open_ledger
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock
from flowctx.versions.shown import stale_data
from versions.real_chain import SESSIONS, SYMBOLS, adjusted, backfill, market, month, moves, quotes

CORRECTED, FACTOR = "2012-10-10|IBM", 1.01
FIRST, RESTATED = VersionChoice(batch_id="first"), VersionChoice(batch_id="restate")


def computed(corrections):
    """Return what each workflow makes of October, by the text of the partition, without any of it."""
    days = [key.date for key in market.partitions.select("date=2012-10-01..2012-10-31")]
    dates = {
        key.date: market.partitions.as_of_date(key) for key in market.partitions.select("date=2012-10-01..2012-10-31")
    }
    found = {"quotes": {}, "moves": {}, "market": {}}
    for number, day in enumerate(days):
        for symbol in SYMBOLS:
            name = f"{day}|{symbol}"
            found["quotes"][name] = adjusted(symbol, dates[day]) * corrections.get(name, 1.0)
            before = found["quotes"].get(f"{days[number - 1]}|{symbol}") if number else None
            found["moves"][name] = math.log(found["quotes"][name] / before) if before else 0.0
        found["market"][day] = sum(found["moves"][f"{day}|{symbol}"] for symbol in SYMBOLS) / len(SYMBOLS)
    return found | {"month": {"2012-10-31": sum(map(abs, found["market"].values()))}}


@pytest.fixture(scope="module", name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(scope="module")
def ledger(clock):
    """October, and October again with one close that was corrected; half a day lies between."""
    made = MemoryLedger(clock)
    backfill(made, "first", {}, clock=clock)
    clock.advance(timedelta(hours=12))
    backfill(made, "restate", {CORRECTED: FACTOR}, clock=clock)
    return made


@pytest.mark.parametrize(("workflow", "path"), [(quotes, "close"), (moves, "move"), (market, "mean"), (month, "total")])
def test_what_differs_is_exactly_what_follows(ledger, workflow, path):
    """Each value that changes with the corrected close, as computed without any of it, and no other."""
    old, new = computed({})[workflow.name], computed({CORRECTED: FACTOR})[workflow.name]
    found = diff(workflow, FIRST, RESTATED, ledger=ledger, key=["symbol"], step=next(iter(workflow.steps)))
    seen = {
        workflow.partitions.text(step.partition): (change.old, change.new)
        for step in found.steps
        for change in step.changes
        if change.path == path
    }
    assert seen.keys() == {name for name in old if old[name] != new[name]}
    assert len(seen) == {"quotes": 1, "moves": 2, "market": 2, "month": 1}[workflow.name]
    for name, values in seen.items():
        assert values == (pytest.approx(old[name], rel=1e-12), pytest.approx(new[name], rel=1e-12))


def test_a_corrected_row_of_a_table_is_found_by_its_key(ledger):
    """One cell of one row of one partition's table."""
    [step] = diff(quotes, FIRST, RESTATED, ledger=ledger, key=["symbol"]).steps
    [change] = [change for change in step.changes if change.table is not None]
    [cell] = change.table.largest
    close = computed({})["quotes"][CORRECTED]
    assert (change.path, cell.row, cell.column, cell.old) == ("rows", {"symbol": "IBM"}, "close", pytest.approx(close))
    assert cell.delta == pytest.approx(close * (FACTOR - 1))


def test_what_was_known_before_is_still_known(ledger, clock):
    """By time as by batch, the old numbers; now the new ones."""
    old, new = computed({})["moves"], computed({CORRECTED: FACTOR})["moves"]
    texts = moves.partitions.text
    before = outputs(moves, "move", known_at=clock.now() - timedelta(hours=6), ledger=ledger)
    assert {texts(key): output["move"] for key, output in before.items()} == pytest.approx(old)
    assert {
        texts(key): output["move"] for key, output in outputs(moves, "move", ledger=ledger).items()
    } == pytest.approx(new)
    times = (VersionChoice(known_at=clock.now() - timedelta(hours=6)), VersionChoice(known_at=clock.now()))
    assert {step.partition for step in diff(moves, *times, ledger=ledger).steps} == {
        step.partition for step in diff(moves, FIRST, RESTATED, ledger=ledger).steps
    }


# -- what is stale ----------------------------------------------------------------------------------------------------


def correct(ledger, clock, batch_id="correction", factor=FACTOR):
    """Capture the one close again, and nothing that reads it."""
    params = {"corrections": {CORRECTED: factor}}
    run(quotes, partition=CORRECTED, batch_id=batch_id, params=params, ledger=ledger, clock=clock)


def stale_texts(workflow, ledger, **how):
    """Return the texts of the stale partitions."""
    return [workflow.partitions.text(one.partition) for one in stale(workflow, ledger=ledger, **how)]


def october(clock):
    """Return a ledger with October once."""
    made = MemoryLedger(clock)
    backfill(made, "first", {}, clock=clock)
    return made


def test_stale_is_exactly_what_is_downstream(clock):
    """Over workflows, with the way to what was captured again; after mending each in order, nothing is."""
    ledger = october(clock)
    for workflow in (quotes, moves, market, month):
        assert stale(workflow, ledger=ledger) == []
    before = clock.now()
    clock.advance(timedelta(hours=1))
    correct(ledger, clock)
    expected = {
        quotes: [],
        moves: ["2012-10-10|IBM", "2012-10-11|IBM"],
        market: ["2012-10-10", "2012-10-11"],
        month: ["2012-10-31"],
    }
    assert {workflow: stale_texts(workflow, ledger) for workflow in expected} == expected
    [found] = stale(month, ledger=ledger)
    assert [link.read.text for link in found.chain] == [
        "market date=2012-10-10",
        "moves date=2012-10-10|symbol=IBM",
        "quotes date=2012-10-10|symbol=IBM",
    ]
    assert found.chain[-1].now == "2012-10-10|IBM|correction"
    assert found.reason.endswith(
        "quotes date=2012-10-10|symbol=IBM was captured again by 2012-10-10|IBM|correction after 2012-10-10|IBM|first, "
        "with other content"
    )
    mended = {}
    for workflow in (moves, market, month):
        mended[workflow] = stale_texts(workflow, ledger)
        for text in mended[workflow]:
            run(workflow, partition=text, batch_id="refresh", ledger=ledger, clock=clock).raise_for_failure()
        assert stale(workflow, ledger=ledger) == []
    assert mended == {workflow: expected[workflow] for workflow in mended}
    new = computed({CORRECTED: FACTOR})
    for workflow, step, name in ((moves, "move", "move"), (market, "mean", "mean"), (month, "total", "total")):
        now = outputs(workflow, step, ledger=ledger)
        then = outputs(workflow, step, ledger=ledger, known_at=before)
        texts = workflow.partitions.text
        assert {texts(key): output[name] for key, output in now.items()} == pytest.approx(new[workflow.name])
        assert {texts(key): output[name] for key, output in then.items()} == pytest.approx(computed({})[workflow.name])


def test_what_was_to_read_what_was_known_then_is_not_stale(clock):
    """Nor is what it has read stale for it, however far, nor what reads it; what was made beside it is."""
    ledger = october(clock)
    before = clock.now()
    clock.advance(timedelta(hours=1))
    correct(ledger, clock)
    then = {"ledger": ledger, "clock": clock, "batch_id": "then", "known_at": before}
    run(moves, partition="2012-10-10|IBM", **then).raise_for_failure()
    assert stale_texts(moves, ledger) == ["2012-10-11|IBM"]
    assert stale_texts(market, ledger) == ["2012-10-11"]
    run(month, partition="2012-10-31", **then).raise_for_failure()
    assert stale_texts(month, ledger) == []


def test_the_same_content_makes_nothing_stale(clock):
    """Neither the same close again, nor one that is near where that counts as the same."""
    ledger = october(clock)
    correct(ledger, clock, factor=1.0)
    assert stale(month, ledger=ledger) == []
    correct(ledger, clock, batch_id="near", factor=1.0 + 1e-12)
    assert stale_texts(moves, ledger, rtol=1e-9) == []
    assert stale_texts(moves, ledger) == ["2012-10-10|IBM", "2012-10-11|IBM"]
    assert stale_texts(market, ledger, rtol=1e-9) == []


def test_what_was_read_and_is_not_known_any_more_counts_as_other(clock):
    """A capture that was written over in place holds no longer what was read."""
    ledger = october(clock)
    correct(ledger, clock, batch_id="first")
    assert stale_texts(moves, ledger) == ["2012-10-10|IBM", "2012-10-11|IBM"]
    assert "was captured again in place after 2012-10-10|IBM|first" in stale(moves, ledger=ledger)[0].reason


@pytest.fixture(params=["memory", "sqlite"])
def restated(request, tmp_path):
    """Return a ledger, what reads a source, and a function that makes the source, which may fail after its value."""
    ledger = MemoryLedger() if request.param == "memory" else open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    source, reader = (Workflow(name, partitions=PartitionScheme(date=SESSIONS)) for name in ("source", "reader"))
    source.step(name="value")(lambda ctx: {"v": ctx.params["v"]})
    source.step(name="check")(lambda ctx: StepResult.fail("wrong") if ctx.params.get("bad") else {})
    reader.step(name="copy", inputs={"read": source.output("value")})(lambda ctx, read: dict(read))
    day = "2012-10-01"
    return (
        ledger,
        reader,
        lambda batch_id, **params: run(source, partition=day, batch_id=batch_id, params=params, ledger=ledger),
    )


def test_what_was_built_on_what_is_gone_is_stale(restated):
    """Where a source is written over in its batch and fails, nothing is current, and that is said."""
    ledger, reader, make = restated
    last = Workflow("last", partitions=PartitionScheme(date=SESSIONS))
    last.step(name="end", inputs={"read": reader.output("copy")})(lambda ctx, read: dict(read))
    make("first", v=1.0)
    for workflow in (reader, last):
        run(workflow, partition="2012-10-01", ledger=ledger).raise_for_failure()
    assert make("first", v=1.0, bad=True).status == "failed"
    assert stale(reader, ledger=ledger) == []  # what was read is as it was
    assert make("first", v=2.0, bad=True).status == "failed"
    [found], [after] = stale(reader, ledger=ledger), stale(last, ledger=ledger)
    gone = "source date=2012-10-01: what 2012-10-01|first held is there no more, and nothing has taken its place"
    assert (found.reason, after.reason) == (gone, f"reader date=2012-10-01 is stale: {gone}")
    assert [(link["captured_again"], link["gone"]) for link in stale_data(after)["chain"]] == [
        (None, False),
        (None, True),
    ]
    make("first", v=2.0).raise_for_failure()
    assert "was captured again in place" in stale(reader, ledger=ledger)[0].reason


def test_what_is_older_is_not_called_a_new_capture(restated):
    """What was current before is current again where the version that was read is gone."""
    ledger, reader, make = restated
    make("first", v=1.0)
    make("second", v=2.0)
    run(reader, partition="2012-10-01", ledger=ledger).raise_for_failure()
    assert make("second", v=3.0, bad=True).status == "failed"
    [found] = stale(reader, ledger=ledger)
    assert found.reason == (
        "source date=2012-10-01: what 2012-10-01|second held is there no more, and 2012-10-01|first, which is older, "
        "is current"
    )


@pytest.mark.parametrize("claimed", [True, False])
def test_what_is_as_it_was_is_not_stale_where_something_older_is_current(restated, claimed):
    """Neither while a later step of it is made anew, nor of a run of some steps, which claims no capture."""
    ledger, reader, make = restated
    make("first", v=1.0)
    if claimed:
        make("second", v=2.0)
    else:
        source = reader["copy"].inputs["read"].workflow
        key = source.partition_key("2012-10-01")
        ctx = begin("source", run_id="p", scheme=source.partitions, partition=key, batch_id="second")
        part = ledger.begin(RunRecord(workflow="source", context=ctx, steps=tuple(source.steps), selected=("value",)))
        value = {"status": StepStatus.OK, "output": freeze({"v": 2.0}), "started_at": ledger.now()}
        ledger.record(part, [StepRecord(step="value", **value)])
        ledger.finish(part, RunStatus.PARTIAL)
    made = run(reader, partition="2012-10-01", batch_id="second", ledger=ledger)
    assert made.context.get_output("copy", "v") == 2.0
    if claimed:
        assert make("second", v=2.0, bad=True).status == "failed"
    assert stale(reader, ledger=ledger) == []
    if not claimed:
        ledger.record(part, [StepRecord(step="value", **value | {"output": freeze({"v": 3.0})})])
        [found] = stale(reader, ledger=ledger)
        assert "what 2012-10-01|second held is there no more, and 2012-10-01|first, which is older" in found.reason
    make("third", v=4.0)
    [found] = stale(reader, ledger=ledger)
    assert "was captured again by 2012-10-01|third after 2012-10-01|second" in found.reason


class Counting(MemoryLedger):
    """Counts how often it is asked what runs have recorded."""

    asked = 0

    def digests_of(self, steps, run_keys):
        self.asked += 1
        return super().digests_of(steps, run_keys)


def test_runs_of_some_steps_are_looked_up_together(clock):
    """What was read of runs that claimed no capture is asked for at once, and is stale where it is not as it was."""
    ledger = Counting(clock)
    reader = Workflow("reader", partitions=PartitionScheme(date=SESSIONS))
    reader.step(name="copy")(lambda ctx: {})
    days = list(reader.partitions.select("date=2012-10-01..2012-10-26"))
    for number, day in enumerate(days):
        run(reader, partition=day, ledger=ledger, clock=clock)
        [made] = ledger.list_runs(workflow="reader", partition=day)
        [step] = ledger.steps(made.key)
        facts = {"capture_id": f"c{number}", "revision": 1, "run_key": f"{number:032}", "digest": None}
        read = VersionRead(workflow="source", step="value", partition=day, **facts)
        begun = ledger.begin(made)
        ledger.record(begun, [replace(step, inputs={"read": (replace(read, digest="1" * 32) if number else read,)})])
        ledger.finish(begun, RunStatus.OK)
    assert [one.partition for one in stale(reader, ledger=ledger)] == days[1:]
    assert ledger.asked == 1


def test_a_changed_step_is_reported_apart(clock):
    """The code of a step is no input: it is said only when asked for."""
    ledger = october(clock)
    step = market.steps["direction"]
    market._steps["direction"] = replace(step, version="2")
    try:
        assert stale(market, ledger=ledger) == []
        found = stale(market, "date=2012-10-01..2012-10-03", code=True, ledger=ledger)
    finally:
        market._steps["direction"] = step
    assert [(one.code, one.chain) for one in found] == [(("direction",), ())] * 3
    assert found[0].reason == "the code of direction has changed"


def test_a_chain_within_one_workflow_is_followed_to_its_end(clock):
    """What reads the date before is stale for every date after; of a long chain, its first and last links are told."""
    ledger = MemoryLedger(clock)
    nav = Workflow("nav", partitions=PartitionScheme(date=SESSIONS), params={"add": 1.0})

    @nav.step(inputs={"before": nav.output("value").previous()})
    def value(ctx, *, before):
        return {"nav": (before["nav"] if before else 0.0) + ctx.params["add"]}

    days = list(nav.partitions.select("date=2012-10-01..2012-11-30"))
    for key in days:
        run(nav, partition=key, batch_id="first", ledger=ledger, clock=clock)
    run(nav, partition=days[3], batch_id="restate", params={"add": 2.0}, ledger=ledger, clock=clock)
    found = stale(nav, ledger=ledger)
    assert [one.partition for one in found] == days[4:]
    assert [len(one.chain) for one in found] == [1, 2, 3, 4, 5, *(6 for _ in days[9:])]
    assert [one.left_out for one in found] == [0, 0, 0, 0, 0, *range(len(days[9:]))]
    assert [link.read.partition for link in found[-1].chain] == [*days[-2:-7:-1], days[3]]
    assert f"{days[-6]} is stale: … 32 more links …: nav {days[3]} was captured again by" in found[-1].reason
    assert stale_data(found[-1])["left_out"] == 32
    assert len(stale(nav, "date=2012-11-30", ledger=ledger)) == 1
