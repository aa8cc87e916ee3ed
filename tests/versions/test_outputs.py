"""Outputs of many partitions: which version of each is read, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowctx import (
    Backfill,
    ContextError,
    Daily,
    InputMissing,
    LedgerError,
    Outputs,
    PartitionError,
    PartitionKey,
    PartitionScheme,
    PlainDataError,
    StepResult,
    UnknownBatch,
    UnknownPartition,
    VersionChoice,
    VersionGone,
    Workflow,
    WorkflowContext,
    WorkflowError,
    backfill,
    diff,
    outputs,
    read_input,
    replay,
    resume,
    run,
    stale,
)
from flowctx.artifacts.rows_as_parquet import write_rows
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock, make_context
from flowctx.testing.clock import NOON
from flowctx.versions import diff_replay
from flowctx.versions.outputs import output_pages
from flowctx.versions.rows import rows
from flowctx.versions.waiting_rows import csv_blocks

SCHEME = PartitionScheme(date=Daily(start="2026-01-05"), fund=["GROWTH", "INCOME"])
nav = Workflow("nav", partitions=SCHEME, params={"nav": 100.0})


@nav.step()
def value(ctx: WorkflowContext) -> StepResult:
    """The parameter; of a negative one, nothing."""
    if ctx.params["nav"] < 0:
        return StepResult.skip("no price")
    day = ctx.as_of_date
    rows = pa.table({"asset": ["a", "b"], "price": [ctx.params["nav"], 1.0]})
    return StepResult.ok({"nav": ctx.params["nav"], "of": {"day": day}, "holdings": rows})


@nav.step()
def later(ctx: WorkflowContext) -> StepResult:
    """Fail if the parameter says so."""
    return StepResult.fail("no", category="DATA_QUALITY") if ctx.params["nav"] == 13 else StepResult.ok({})


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def ledger(clock):
    return MemoryLedger(clock)


def make(ledger, clock, key, nav_value, batch_id="b1"):
    """Make one partition, a minute after the one before."""
    clock.advance(timedelta(minutes=1))
    return run(nav, partition=key, params={"nav": float(nav_value)}, batch_id=batch_id, ledger=ledger, clock=clock)


def navs(found):
    """Return the values by the text of the partition."""
    return {nav.partitions.text(key): output["nav"] for key, output in found.items()}


def test_outputs_come_in_the_order_of_the_scheme(ledger, clock):
    """Whatever the order in which they were captured; what was skipped, failed or never ran is left out."""
    for key, number in [
        ("2026-01-06|INCOME", 2),
        ("2026-01-05|INCOME", 1),
        ("2026-01-05|GROWTH", -1),
        ("2026-01-07|GROWTH", 13),
    ]:
        make(ledger, clock, key, number)
    assert navs(outputs(nav, "value", ledger=ledger)) == {"2026-01-05|INCOME": 1, "2026-01-06|INCOME": 2}
    assert navs(outputs(nav, "value", "date=2026-01-06..2026-01-09", ledger=ledger)) == {"2026-01-06|INCOME": 2}
    assert len(outputs(nav, "value", "fund=GROWTH", until="2026-01-31", ledger=ledger)) == 0


def test_versions_are_those_of_a_batch_a_revision_or_a_time(ledger, clock):
    """A restatement is a version beside the one before, and each of them is read by what names it."""
    make(ledger, clock, "2026-01-05|GROWTH", 1)
    make(ledger, clock, "2026-01-06|GROWTH", 2)
    before = clock.now()
    make(ledger, clock, "2026-01-05|GROWTH", 5, "restate")
    both = {"2026-01-05|GROWTH": 5, "2026-01-06|GROWTH": 2}
    assert navs(outputs(nav, "value", ledger=ledger)) == both
    assert navs(outputs(nav, "value", batch_id="restate", ledger=ledger)) == {"2026-01-05|GROWTH": 5}
    assert navs(outputs(nav, "value", revision=1, ledger=ledger)) == {"2026-01-05|GROWTH": 1, "2026-01-06|GROWTH": 2}
    assert navs(outputs(nav, "value", revision=2, ledger=ledger)) == {"2026-01-05|GROWTH": 5}
    assert navs(outputs(nav, "value", known_at=before, ledger=ledger)) == {
        "2026-01-05|GROWTH": 1,
        "2026-01-06|GROWTH": 2,
    }
    assert navs(outputs(nav, "value", known_at=before.isoformat(), ledger=ledger))["2026-01-05|GROWTH"] == 1
    assert len(outputs(nav, "value", known_at=NOON, ledger=ledger)) == 0
    assert navs(outputs(nav, "value", known_at=clock.now(), ledger=ledger)) == both


def test_the_last_word_may_be_that_there_is_nothing(ledger, clock):
    """A skip hides what was captured before it from then on, and not before."""
    make(ledger, clock, "2026-01-05|GROWTH", 1)
    before = clock.now()
    make(ledger, clock, "2026-01-05|GROWTH", -1, "restate")
    assert (
        len(outputs(nav, "value", ledger=ledger))
        == len(outputs(nav, "value", known_at=clock.now(), ledger=ledger))
        == 0
    )
    assert navs(outputs(nav, "value", known_at=before, ledger=ledger)) == {"2026-01-05|GROWTH": 1}


def test_one_table_of_all_has_the_dimensions_as_columns(ledger, clock):
    """The tables of many partitions are one, in the order of the scheme."""
    make(ledger, clock, "2026-01-06|GROWTH", 2)
    make(ledger, clock, "2026-01-05|GROWTH", 1)
    frame = outputs(nav, "value", ledger=ledger).table("holdings").to_arrow()
    assert frame.column_names == ["date", "fund", "asset", "price"]
    assert frame.to_pylist()[0] == {"date": "2026-01-05", "fund": "GROWTH", "asset": "a", "price": 1.0}
    assert frame["price"].to_pylist() == [1.0, 1.0, 2.0, 1.0]


def test_the_table_of_all_is_taken_by_other_libraries_as_it_is(ledger, clock):
    """DuckDB and polars need nothing of pyarrow's or pandas' between."""
    for key, number in (("2026-01-06|GROWTH", 2), ("2026-01-05|GROWTH", 1)):
        make(ledger, clock, key, number)
    joined = outputs(nav, "value", ledger=ledger).table("holdings")
    rows = [(row["date"], row["fund"]) for row in joined.head(joined.rows)]
    assert duckdb.connect().sql("select date, fund from joined").fetchall() == rows
    assert polars.DataFrame(joined).select("date", "fund").rows() == rows


def test_plain_outputs_are_rows_too(ledger, clock):
    """The dimensions and then the values, of nested ones by the way to each; tables are left out."""
    make(ledger, clock, "2026-01-05|GROWTH", 1)
    day = datetime(2026, 1, 5, tzinfo=UTC).date()
    assert list(rows(outputs(nav, "value", ledger=ledger))) == [
        {"date": "2026-01-05", "fund": "GROWTH", "nav": 1.0, "of.day": day}
    ]


def test_an_empty_dict_is_a_value(tmp_path):
    """In each form: a partition that has it is told from one that has nothing there."""
    key = PartitionKey(tier="T1")
    found = list(rows(Outputs({key: {"limits": {"hard": {}, "soft": []}, "breaches": {}}})))
    assert found == [{"tier": "T1", "limits.hard": {}, "limits.soft": [], "breaches": {}}]
    assert "".join(csv_blocks(found)).splitlines() == ["tier,limits.hard,limits.soft,breaches", "T1,{},[],{}"]
    with (tmp_path / "x.parquet").open("wb") as file:
        write_rows(found, file)
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == [found[0] | {"limits.hard": "{}", "breaches": "{}"}]


REPEATED = datetime(2026, 11, 1, 1, tzinfo=ZoneInfo("America/New_York"))


@pytest.mark.parametrize(
    ("own", "value"),
    [
        ("2026-11-01T01:00-04:00", REPEATED),
        ("2026-11-01T01:00-05:00", REPEATED.replace(fold=1)),
        ("2026-11-01T01:00-04:00", REPEATED.astimezone(UTC)),
        ("2026-11-01", date(2026, 11, 1)),
        ("2026-11-01", datetime.combine(date(2026, 11, 1), time(), REPEATED.tzinfo)),
    ],
)
def test_a_value_may_be_the_day_or_hour_of_its_partition(own, value):
    """In whatever zone; another one is refused."""
    assert list(rows(Outputs({PartitionKey(at=own): {"at": value, "x": 1}}))) == [{"at": own, "x": 1}]
    with pytest.raises(PlainDataError, match="has a value 'at' that is not the partition's own"):
        list(rows(Outputs({PartitionKey(at=own): {"at": value + timedelta(days=1)}})))
    with pytest.raises(PlainDataError, match="has a value 'at' that is not the partition's own"):
        list(rows(Outputs({PartitionKey(at="2026-11-01T01:00-05:00"): {"at": REPEATED}})))


def test_a_value_of_a_dimensions_name_has_to_be_the_partitions_own():
    """Two values for one column are refused."""
    key = PartitionKey(tier="T1")
    assert list(rows(Outputs({key: {"tier": "T1", "x": 1}}))) == [{"tier": "T1", "x": 1}]
    with pytest.raises(PlainDataError, match="output of tier=T1 has a value 'tier' that is not the partition's own"):
        list(rows(Outputs({key: {"tier": "T2"}})))


def test_a_pruned_version_is_an_error_and_never_the_next_older_one(ledger, clock):
    """By time, by batch and by revision: what was there and is pruned is said to be."""
    for number, batch in enumerate(["b1", "b2", "b3"]):
        make(ledger, clock, "2026-01-05|GROWTH", number, batch)
    make(ledger, clock, "2026-01-06|GROWTH", 1, "b2")
    ledger.prune(clock.now() + timedelta(days=1))
    for which in ({"known_at": clock.now() - timedelta(minutes=2)}, {"batch_id": "b2"}, {"revision": 2}):
        with pytest.raises(VersionGone, match=r"date=2026-01-05\|fund=GROWTH: capture .* \(revision 2, .*was pruned"):
            outputs(nav, "value", ledger=ledger, **which)
    assert navs(outputs(nav, "value", "date=2026-01-05", ledger=ledger)) == {"2026-01-05|GROWTH": 2}


def test_a_version_that_was_written_over_is_an_error(ledger, clock):
    """Two runs of one batch write one capture: what it held between them is not known any more."""
    make(ledger, clock, "2026-01-05|GROWTH", 1, "b0")
    make(ledger, clock, "2026-01-05|GROWTH", 2)
    between = clock.now()
    make(ledger, clock, "2026-01-05|GROWTH", 3)
    with pytest.raises(
        VersionGone, match=r"capture 2026-01-05\|GROWTH\|b1 .*written over.*restate under a batch id of its own"
    ):
        outputs(nav, "value", known_at=between, ledger=ledger)
    assert navs(outputs(nav, "value", known_at=clock.now(), ledger=ledger)) == {"2026-01-05|GROWTH": 3}
    earlier = between - timedelta(minutes=1)
    assert navs(outputs(nav, "value", known_at=earlier, ledger=ledger)) == {"2026-01-05|GROWTH": 1}


def test_a_version_that_is_written_over_while_it_is_read_is_an_error(ledger, clock):
    """Outputs are loaded when they are looked at: what another run makes then is not what was meant."""
    made, _ = (make(ledger, clock, f"2026-01-05|{fund}", 1) for fund in ("GROWTH", "INCOME"))
    found = outputs(nav, "value", ledger=ledger)
    read = read_input(make_context(as_of_date="2026-01-05"), nav.output("value"), ledger=ledger)
    resume(made.run_id, nav, from_step="value", params={"nav": 2.0}, ledger=ledger).raise_for_failure()
    with pytest.raises(VersionGone, match="written over while it was read; read it again"):
        navs(found)
    with pytest.raises(InputMissing, match="captured again, with other content; read it again"):
        navs(read)
    assert navs(outputs(nav, "value", ledger=ledger)) == {"2026-01-05|GROWTH": 2, "2026-01-05|INCOME": 1}


def test_bad_requests_are_one_sentence(ledger, clock, monkeypatch):
    """Each says what is wrong and what to do."""
    make(ledger, clock, "2026-01-05|GROWTH", 1)
    loose = Workflow("loose")
    loose.step(name="only")(lambda ctx: {})
    with pytest.raises(UnknownBatch, match="remembers no batch 'no'; see: flowctx batches"):
        outputs(nav, "value", batch_id="no", ledger=ledger)
    with pytest.raises(WorkflowError, match="has no step 'worth'; it has value, later"):
        outputs(nav, "worth", ledger=ledger)
    with pytest.raises(PartitionError, match="'loose' has no partitions"):
        outputs(loose, "only", ledger=ledger)
    with pytest.raises((UnknownPartition, PartitionError), match="WEALTH"):
        outputs(nav, "value", "date=2026-01-05,fund=WEALTH", ledger=ledger)
    with pytest.raises(ContextError, match="batch_id= .--batch. and revision= .--revision. exclude each other"):
        outputs(nav, "value", batch_id="b1", revision=1, ledger=ledger)
    with pytest.raises(ContextError, match="revisions count from 1"):
        outputs(nav, "value", revision=0, ledger=ledger)
    with pytest.raises(ContextError, match="has no time zone"):
        outputs(nav, "value", known_at="2026-01-05T12:00", ledger=ledger)
    with pytest.raises(ContextError, match="known_at='yesterday' is no time"):
        outputs(nav, "value", known_at="yesterday", ledger=ledger)
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    with pytest.raises(LedgerError, match="pass ledger= or set FLOWCTX_LEDGER_URL"):
        outputs(nav, "value")


@pytest.mark.parametrize(
    "ask",
    [
        lambda name, ledger: outputs(name, "value", ledger=ledger),
        lambda name, ledger: diff(name, VersionChoice(revision=1), ledger=ledger),
        lambda name, ledger: diff_replay(name, "r1", ledger=ledger),
        lambda name, ledger: stale(name, ledger=ledger),
        lambda name, ledger: Backfill(name, None, "b1", ledger=ledger),
        lambda name, ledger: backfill(name, batch_id="b1", ledger=ledger),
        lambda name, ledger: run(name, ledger=ledger),
        lambda name, ledger: resume("r1", name, ledger=ledger),
        lambda name, ledger: replay("r1", "value", name, ledger=ledger),
    ],
    ids=["outputs", "diff", "diff_replay", "stale", "Backfill", "backfill", "run", "resume", "replay"],
)
def test_a_workflow_is_passed_and_not_its_name(ledger, ask):
    """The error says what to write, whichever call it is."""
    with pytest.raises(WorkflowError, match="'flows:nav' is a text and no workflow; .* from flows import nav$"):
        ask("flows:nav", ledger)


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ({"revision": "2"}, "revision='2' is a str; pass a whole number, such as 2"),
        ({"revision": True}, "revision=True is a bool; pass a whole number"),
        ({"revision": 2.0}, "revision=2.0 is a float"),
        ({"batch_id": 2}, "batch_id=2 is an int; pass its id as text"),
        ({"known_at": "2026-01-05T10:00Z"}, "known_at='2026-01-05T10:00Z' is a str; pass a datetime with its zone"),
    ],
)
def test_a_choice_of_another_type_is_refused(which, says):
    """The error names what was passed, and what to pass."""
    with pytest.raises(ContextError, match=re.escape(says)):
        VersionChoice(**which)


def test_a_version_that_is_compared_is_a_choice(ledger):
    """The id of a batch alone does not say that it is one."""
    with pytest.raises(ContextError, match=re.escape("pass a choice: VersionChoice(batch_id='first')")):
        diff(nav, "first", ledger=ledger)
    with pytest.raises(ContextError, match=re.escape("after='second' is a str")):
        diff(nav, VersionChoice(batch_id="first"), "second", ledger=ledger)


@pytest.mark.parametrize("seconds", [1, 10**8])
def test_what_will_be_known_is_not_known_yet(ledger, clock, seconds):
    """A time that lies ahead of the ledger's clock is refused by all that take one; the time that it shows is not."""
    make(ledger, clock, "2026-01-05|GROWTH", 1)
    ahead = clock.now() + timedelta(seconds=seconds)
    then, now = VersionChoice(known_at=ahead), VersionChoice(known_at=clock.now())
    ctx = make_context(as_of_date="2026-01-05", metadata={"known_at": ahead.isoformat()})
    for asked in (
        lambda: outputs(nav, "value", known_at=ahead, ledger=ledger),
        lambda: next(output_pages(nav, "value", known_at=ahead, ledger=ledger)),
        lambda: diff(nav, then, ledger=ledger),
        lambda: diff(nav, now, then, ledger=ledger),
        lambda: read_input(ctx, nav.output("value").where(fund="GROWTH"), ledger=ledger),
        lambda: run(nav, partition="2026-01-06|GROWTH", known_at=ahead, ledger=ledger, clock=clock),
        lambda: run(nav, partition="2026-01-06|GROWTH", known_at=ahead, clock=clock),
    ):
        with pytest.raises(
            ContextError, match=rf"lies ahead: it is {re.escape(clock.now().isoformat())} by (the l|th)"
        ):
            asked()
    assert diff(nav, now, now, ledger=ledger).equal


@pytest.mark.parametrize("minutes", [-5, 5])
def test_the_ledgers_clock_says_what_lies_ahead(clock, minutes):
    """Not that of the machine, which may be fast or slow."""
    ledger = MemoryLedger(clock)
    here = FakeClock()
    here.advance(clock.now() + timedelta(minutes=minutes) - here.now())
    made = run(nav, partition="2026-01-05|GROWTH", known_at=clock.now(), ledger=ledger, clock=here)
    assert made.status == "ok"
    with pytest.raises(ContextError, match="lies ahead"):
        run(nav, partition="2026-01-05|GROWTH", known_at=clock.now() + timedelta(seconds=1), ledger=ledger, clock=here)


@pytest.mark.parametrize(
    "output",
    [{"limits.low": 1, "limits": {"low": 2}}, {"a": {"b": {"c": 1}, "b.c": 1}}],
)
def test_values_that_would_share_a_column_are_refused(output):
    """One of them would be lost in silence, and which one would depend on their order."""
    for one in (output, dict(reversed(output.items()))):
        with pytest.raises(PlainDataError, match="output of tier=T1 has two values that would both be the column '"):
            list(rows(Outputs({PartitionKey(tier="T1"): one})))
