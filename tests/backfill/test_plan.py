"""What a batch asks for, and what launching it would do."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from backfill.flows import flow, numbered
from flowctx import (
    Backfill,
    BatchError,
    BusinessCalendar,
    CalendarError,
    ContextError,
    Daily,
    Hourly,
    NotDue,
    PartitionError,
    PartitionScheme,
    UnknownPartition,
    Weekly,
    Workflow,
    backfill,
)
from flowctx.backfill import JointBackfill, LocalLauncher
from flowctx.backfill.advice import advice
from flowctx.backfill.again import RunsAgain
from flowctx.backfill.selected import scheme_of
from flowctx.backfill.selected_texts import SelectedTexts
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState, batch_run_id
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

SOME = "date=2012-01-02..2012-01-06"
NOW = datetime(2026, 1, 9, tzinfo=UTC)


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def ran(partition: str, state: PartitionState, engine: str = "local") -> PartitionRun:
    return PartitionRun(partition=partition, state=state, run_id="r", engine=engine, last_seen_at=NOW)


def jobs(backfill: Backfill, engine: str = "local", *, retry_failed: bool = False) -> list[str]:
    work = backfill.iter_work(engine, RunsAgain(retry_failed=retry_failed))
    return [str(item.key) for item in work if isinstance(item, Job)]


def test_a_plan_counts_without_running(ledger: Ledger) -> None:
    """The plan says how many partitions, the first and the last, how they stand, and how many would run."""
    ledger.batches.record_outcomes("b", [ran("date=2012-01-02|tier=T1", PartitionState.OK)])
    ledger.batches.record_outcomes("b", [ran("date=2012-01-03|tier=T1", PartitionState.FAILED)])
    backfill = Backfill(flow, SOME, "b", ledger=ledger)
    plan = backfill.plan()
    assert (plan.total, str(plan.first), str(plan.last)) == (15, "date=2012-01-02|tier=T1", "date=2012-01-06|tier=T3")
    assert (plan.states, plan.would_run) == ({PartitionState.OK: 1, PartitionState.FAILED: 1}, 13)
    assert backfill.plan(retry_failed=True).would_run == 14


@pytest.mark.parametrize(
    ("state", "on", "again"),
    [
        (PartitionState.OK, "local", False),
        (PartitionState.SKIPPED, "local", False),
        (PartitionState.FAILED, "local", False),
        (PartitionState.CANCELED, "airflow", True),
        (PartitionState.RUNNING, "local", True),
        (PartitionState.LAUNCHED, "dagster", True),
        (PartitionState.RUNNING, "airflow", False),
    ],
)
def test_what_runs_again(ledger: Ledger, state: PartitionState, on: str, again: bool) -> None:
    """What is done or failed is left; what was interrupted runs again, unless another engine may be at it."""
    ledger.batches.record_outcomes("b", [ran("date=2012-01-02|tier=T1", state, on)])
    engine = "local" if on != "dagster" else "dagster"
    assert ("date=2012-01-02|tier=T1" in jobs(Backfill(flow, SOME, "b", ledger=ledger), engine)) is again


def test_a_failure_is_retried_on_request(ledger: Ledger) -> None:
    """What failed runs again when asked to, and its job knows of the earlier attempt."""
    failed = ran("date=2012-01-02|tier=T1", PartitionState.FAILED)
    ledger.batches.record_outcomes("b", [failed])
    job = next(Backfill(flow, SOME, "b", ledger=ledger).iter_work("local", RunsAgain(retry_failed=True)))
    assert isinstance(job, Job)
    assert job.before == failed


def test_the_same_batch_is_agreed(ledger: Ledger) -> None:
    """The same partitions in other words, with the same parameters, are the same batch."""
    ledger.batches.put(Backfill(flow, "tier=T1|T2", "b", params={"pause": 1}, ledger=ledger).record())
    again = Backfill(flow, "tier=T2,date=..;tier=T1", "b", params={"pause": 1}, ledger=ledger)
    assert again.reconcile().selection == "date=2012-01-02..2012-03-30,tier=T1|T2"


@pytest.mark.parametrize(
    ("selection", "params", "what"),
    [("tier=T1", None, "130 partitions"), ("tier=T1|T2", {"pause": 2}, "the parameters {}"), (None, numbered, "195")],
)
def test_another_batch_of_the_same_id_is_refused(ledger: Ledger, selection: str, params: object, what: str) -> None:
    """Another selection or other parameters under the same id are refused; the message names --extend."""
    ledger.batches.put(Backfill(flow, "tier=T1|T2", "b", ledger=ledger).record())
    with pytest.raises(BatchError, match=r"take another id, or add this to it with extend=True") as refused:
        Backfill(flow, selection, "b", params=params, ledger=ledger).plan()  # type: ignore[arg-type]
    assert what in str(refused.value)


def test_a_batch_of_another_workflow_is_refused(ledger: Ledger) -> None:
    """An id belongs to one workflow."""
    ledger.batches.put(Backfill(flow, SOME, "b", ledger=ledger).record())
    other = Workflow("other", partitions=flow.partitions)
    with pytest.raises(BatchError, match="'b' is one of workflow 'filled', not of 'other'; take another id"):
        Backfill(other, SOME, "b", ledger=ledger).plan()


def test_extending_adds_partitions(ledger: Ledger) -> None:
    """With --extend the batch has the partitions of both selections."""
    ledger.batches.put(Backfill(flow, "date=2012-01-02,tier=T1", "b", ledger=ledger).record())
    extended = Backfill(flow, "date=2012-01-03,tier=T2", "b", params={"pause": 1}, ledger=ledger)
    assert extended.reconcile(extend=True).total == 2
    assert jobs(extended) == ["date=2012-01-02|tier=T1", "date=2012-01-03|tier=T2"]


def test_parameters_of_each_partition(ledger: Ledger) -> None:
    """A function makes the parameters of each partition from its key."""
    backfill = Backfill(flow, "date=2012-01-02", "b", params=numbered, ledger=ledger)
    work = backfill.iter_work("local", RunsAgain())
    assert [item.params for item in work if isinstance(item, Job)] == [{"number": 1}, {"number": 2}, {"number": 3}]
    assert str(backfill.record().params_from).startswith("backfill.flows:numbered@")


def test_a_function_that_fails_names_the_partition(ledger: Ledger) -> None:
    """What goes wrong in making parameters is said with the partition."""
    backfill = Backfill(flow, "date=2012-01-02,tier=T2", "b", params=lambda key: {"x": 1 / 0}, ledger=ledger)
    with pytest.raises(BatchError, match="partition date=2012-01-02.tier=T2 cannot be made: ZeroDivisionError"):
        jobs(backfill)


def test_a_function_that_makes_no_parameters_is_refused_before_there_is_a_batch(url: str) -> None:
    """By the dry run, too, and of several workflows; the batch would have to be asked for with that function."""
    ledger = open_ledger(url)
    wrong = Backfill(flow, SOME, "b", params=lambda key: {"numbr": 1}, ledger=ledger)
    both: tuple[Backfill | JointBackfill, ...] = (wrong, JointBackfill([wrong]))
    for batch in both:
        for ask in (batch.plan, lambda batch=batch: batch.launch(LocalLauncher(ledger, workers=1))):
            with pytest.raises(BatchError, match="parameters of partition .* cannot be made: ContextError: .*'numbr'"):
                ask()
    assert ledger.find_batch("b") is None
    ledger.close()


def test_a_batch_goes_on_where_the_function_knows_nothing_of_what_is_done(url: str) -> None:
    """What its first partition had was needed once; only the function of a batch that is not bound to it is tried."""
    ledger, failing = open_ledger(url), ["date=2012-01-02|tier=T2"]
    known = {"date=2012-01-02|tier=T1": 1, "date=2012-01-02|tier=T2": 2}

    def made(key: object) -> dict[str, object]:
        return {"number": known[str(key)], "fail": failing}

    for expected, how in (({"ok": 1, "failed": 1}, {}), ({"ok": 1}, {"retry_failed": True})):
        batch = Backfill(flow, "date=2012-01-02,tier=T1|T2", "b", params=made, ledger=ledger)
        assert batch.launch(LocalLauncher(ledger, workers=1), **how).ended == expected
        failing.clear()
        known.pop("date=2012-01-02|tier=T1", None)
    ledger.close()


def test_a_function_that_has_changed_is_told(ledger: Ledger) -> None:
    """Its name is the same, so that to ask for the same would say nothing."""
    ledger.batches.put(Backfill(flow, SOME, "b", params=lambda key: {"number": 1}, ledger=ledger).record())
    with pytest.raises(BatchError, match="this asks for .*, which has changed since; ask for the same"):
        Backfill(flow, SOME, "b", params=lambda key: {"number": 2}, ledger=ledger).plan()


def test_parameters_may_not_say_who_the_run_is(ledger: Ledger) -> None:
    """A parameter called batch_id would be taken for the caller's word on an engine."""
    with pytest.raises(ContextError, match="params has batch_id, which say who the run is"):
        Backfill(flow, SOME, "b", params={"batch_id": "c"}, ledger=ledger)


@pytest.mark.parametrize("batch_id", ["", " ", "x" * 101, "a\nb", 7])
def test_a_batch_id_is_short_printable_text(ledger: Ledger, batch_id: object) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(BatchError, match="such as 'restate-2012'"):
        Backfill(flow, SOME, batch_id, ledger=ledger)  # type: ignore[arg-type]


def test_a_workflow_without_partitions_has_nothing_to_fill(ledger: Ledger) -> None:
    """The message says what to declare."""
    with pytest.raises(BatchError, match=r"has no partitions to fill; declare them: Workflow\(..., partitions=...\)"):
        Backfill(Workflow("loose"), None, "b", ledger=ledger)


def test_a_wrong_selection_shows_the_nearest(ledger: Ledger) -> None:
    """A value that the scheme does not have is refused when the batch is made."""
    with pytest.raises(UnknownPartition, match="T4"):
        Backfill(flow, "tier=T4", "b", ledger=ledger)


def test_run_ids_are_for_every_engine() -> None:
    """A run id is readable, short enough for a folder's name, has no odd characters, and differs for each partition."""
    scheme = PartitionScheme(tier=["a/../b|c" * 10, "a/../b|d" * 10])
    one, other = (batch_run_id("flow", "restate 2012/é", key, scheme.text(key)) for key in scheme)
    assert one != other
    assert len(one) <= 150
    assert not set(one) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.~:+-")
    assert ".." not in one


def test_a_million_partitions_begin_at_once_and_flat(ledger: Ledger) -> None:
    """The first of a million jobs is there without listing them, and a hundred thousand take no memory together."""
    scheme = PartitionScheme(date=Daily(start="2000-01-01", end="2010-12-31"), n=[f"{n:03}" for n in range(250)])
    backfill = Backfill(Workflow("large", partitions=scheme), None, "b", ledger=ledger)
    assert len(backfill.selection) == 1_004_500
    tracemalloc.start()
    work = backfill.iter_work("local", RunsAgain())
    for _ in range(20_000):
        next(work)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("left", [40, 5, -1])
def test_a_batch_goes_up_to_the_end_of_its_calendar(ledger: Ledger, left: int) -> None:
    """Dates that are known are launched, before the calendar ends and after it; what is not due or known is refused."""
    today = datetime.now(UTC).date()
    days = [today + timedelta(days=n) for n in range(-20, left + 1)]
    scheme = PartitionScheme(date=Daily(start=days[0], calendar=BusinessCalendar.from_sessions("DESK", days)))
    ending = Workflow("ending", partitions=scheme)
    ending.step(name="s")(lambda ctx: {})
    due = Backfill(ending, f"date={days[0]}..{today - timedelta(days=1)}", "due", ledger=ledger)
    due.check_due(datetime.now(UTC))
    assert jobs(due) == [f"date={day}" for day in days if day < today]
    if left > 0:
        early = Backfill(ending, f"date={today - timedelta(days=1)}..{days[-1]}", "early", ledger=ledger)
        with pytest.raises(BatchError, match=f"{left + 1} of the {left + 2} partitions are not due yet, date={today}"):
            early.check_due(datetime.now(UTC))
    with pytest.raises((CalendarError, UnknownPartition), match=f"known .*to {days[-1]}|known from .* to {days[-1]}"):
        Backfill(ending, f"date={days[-1] + timedelta(days=1)}", "unknown", ledger=ledger)


@pytest.mark.parametrize("end", [None, timedelta(days=90)])
def test_the_last_dates_are_those_that_are_due(ledger: Ledger, end: timedelta | None) -> None:
    """``last:3`` counts back from the latest date that is due, so that nothing is asked for too early."""
    last = None if end is None else datetime.now(UTC).date() + end
    days = Daily(start="2012-01-02", end=last, calendar="WEEKDAYS")
    flow = Workflow("endless", partitions=PartitionScheme(date=days))
    flow.step("only")(lambda ctx: None)
    before = days.latest_due(datetime.now(UTC))
    plan = Backfill(flow, "date=last:3", "b", ledger=ledger).plan()
    assert plan.total == 3
    assert plan.last is not None
    assert plan.last.date in {str(before), str(days.latest_due(datetime.now(UTC)))}


def test_the_last_hours_are_those_that_are_due(ledger: Ledger) -> None:
    """``last:3`` counts hours as it counts days."""
    flow = Workflow("hours", partitions=PartitionScheme(h=Hourly(start="2026-01-02", timezone="America/New_York")))
    flow.step("only")(lambda ctx: None)
    before = flow.partitions.cadence.latest_due(datetime.now(UTC))
    plan = Backfill(flow, "h=last:3", "b", ledger=ledger).plan()
    assert plan.total == 3
    assert plan.last is not None
    after = flow.partitions.cadence.latest_due(datetime.now(UTC))
    assert plan.last.h in {flow.partitions.cadence.text(hour) for hour in (before, after)}


def test_the_last_dates_are_those_that_are_due_of_each_delay(ledger: Ledger) -> None:
    """Where delays differ, each value counts from its own latest date, so that all of it can run."""
    delays = {"tier": {"T,1": timedelta(weeks=2), "OTC": timedelta(weeks=4)}}
    scheme = PartitionScheme(week=Weekly(start="2026-01-02", delay=delays), tier=["T,1", "OTC"])
    flow = Workflow("weeks", partitions=scheme)
    flow.step("only")(lambda ctx: None)
    plan = Backfill(flow, "week=last:2", "b", ledger=ledger)
    plan.check_due(datetime.now(UTC))
    found = [(str(key.tier), date.fromisoformat(key.week)) for key in plan.selection]
    (early, first), (late, second), *_ = sorted(found, key=lambda one: (one[0], one[1]))[::2]
    assert [len(found), early, late] == [4, "OTC", "T,1"]
    assert second - first == timedelta(weeks=2)
    assert len(Backfill(flow, "week=last:2,tier=OTC", "b", ledger=ledger).selection) == 2


def later_by(weeks: int) -> Workflow:
    """Return a workflow of two tiers, of which one is due so many weeks after the other."""
    delays = {"tier": {"T1": timedelta(0), "OTC": timedelta(weeks=weeks)}}
    days = Daily(start="2026-01-02", calendar="EVERY_DAY", delay=delays)
    flow = Workflow("days", partitions=PartitionScheme(date=days, tier=["T1", "OTC"]))
    flow.step("only")(lambda ctx: None)
    return flow


@pytest.mark.parametrize("weeks", [4, 5000])
def test_dates_that_are_named_stay_beside_the_last_ones(ledger: Ledger, weeks: int) -> None:
    """Those after the latest due one of their own delay, too, and those of a value of which none is due."""
    flow = later_by(weeks)
    named = datetime.now(UTC).date() - timedelta(days=4)
    found = jobs(Backfill(flow, f"date={named},tier=OTC;date=last:1,tier=T1", "b", ledger=ledger))
    assert f"date={named}|tier=OTC" in found
    assert len(found) == 2
    alternatives = jobs(Backfill(flow, f"date=last:1|{named}", "c", ledger=ledger))
    assert {f"date={named}|tier=OTC", f"date={named}|tier=T1"} < set(alternatives)
    assert f"date={named}|tier=OTC" in jobs(Backfill(flow, f"tier=last:1,date={named}", "d", ledger=ledger))


def test_a_range_ends_with_what_is_due_of_the_values_that_it_names(ledger: Ledger) -> None:
    """Of another value, of which nothing is due in it, it selects nothing, and spoils nothing."""
    flow = later_by(4)
    start = datetime.now(UTC).date() - timedelta(days=4)
    found = jobs(Backfill(flow, f"date={start}..,tier=T1;date=last:2,tier=OTC", "b", ledger=ledger))
    assert f"date={start}|tier=T1" in found
    assert sum(key.endswith("OTC") for key in found) == 2
    (alone,) = jobs(Backfill(flow, f"date={start}..,tier=OTC;date=last:1,tier=T1", "c", ledger=ledger))
    assert alone.endswith("tier=T1")


def test_the_last_dates_of_a_value_without_any_are_not_due(ledger: Ledger) -> None:
    """Of another value some are; of both, those of that one are selected."""
    delays = {"tier": {"T1": timedelta(0), "OTC": timedelta(weeks=5000)}}
    days = Daily(start="2026-01-02", calendar="EVERY_DAY", delay=delays)
    flow = Workflow("days", partitions=PartitionScheme(date=days, tier=["T1", "OTC"]))
    flow.step("only")(lambda ctx: None)
    with pytest.raises(NotDue, match="tier=OTC counts from the latest date that is due, and none is yet"):
        Backfill(flow, "date=last:5,tier=OTC", "b", ledger=ledger)
    found = jobs(Backfill(flow, "date=last:2", "b", ledger=ledger))
    assert [key.rpartition("|")[2] for key in found] == ["tier=T1"] * 2


def test_a_scheme_that_has_changed_is_named_as_the_cause(ledger: Ledger) -> None:
    """Where a batch asks for the same text, the refusal says that the workflow's values are not what they were."""

    def tiers(*values: str) -> Workflow:
        flow = Workflow("tiers", partitions=PartitionScheme(date=Daily(start="2012-01-02"), tier=list(values)))
        flow.step("only")(lambda ctx: None)
        return flow

    select = "date=2012-01-02..2012-01-03"
    ledger.batches.put(Backfill(tiers("T1", "T2"), select, "b", ledger=ledger).record())
    with pytest.raises(BatchError, match="a dimension or the calendar of the workflow has changed since"):
        Backfill(tiers("T1"), select, "b", ledger=ledger).reconcile()


def test_a_corrected_calendar_is_named_as_the_cause(ledger: Ledger) -> None:
    """Also where as many dates are selected; a batch that a version before has planned goes on, with its own digest."""
    holidays = BusinessCalendar.from_holidays("HK", ["2026-01-01"])

    def days(calendar: BusinessCalendar) -> Workflow:
        scheme = PartitionScheme(date=Daily(start="2026-01-02", calendar=calendar), fund=["A"])
        flow = Workflow("days", partitions=scheme)
        flow.step("only")(lambda ctx: None)
        return flow

    asked = Backfill(days(holidays), "date=2026-09-01..2026-09-30", "b", ledger=ledger)
    corrected = days(holidays.with_holidays(["2026-09-10"]).with_sessions(["2026-09-12"]))
    ledger.batches.put(asked.record())
    with pytest.raises(BatchError, match="a dimension or the calendar of the workflow has changed since"):
        Backfill(corrected, "date=2026-09-01..2026-09-30", "b", ledger=ledger).reconcile()
    ledger.batches.put(replace(asked.record(), digest="7a67785b0654401bfb22ab6412f2e7f1"))
    assert asked.reconcile().digest == asked.record().digest


def test_runs_of_a_dag_of_ones_own_go_on_in_airflow() -> None:
    """No command is advised where there is no workflow to name."""
    batch = BatchRecord(batch_id="b", workflow="own", engine="airflow", created_at=NOW)
    failed = replace(ran("", PartitionState.FAILED, "airflow"), step="load")
    assert advice([failed], batch) == [
        "1 without category: once what their errors say is corrected: clear the steps that are not complete, and what "
        "follows them, in these runs in Airflow"
    ]


def test_texts_are_selected_as_their_keys_are() -> None:
    """However many are asked of, a text is selected if its key is, in whatever order; other text is not."""
    scheme = PartitionScheme(tier=["T1", "T2"], lot=[str(number) for number in range(100)])
    selection = scheme.select("tier=T1,lot=10..99")
    texts = SelectedTexts(selection)
    for key in [*scheme.keys(), *scheme.keys()]:
        assert (str(key) in texts) == (key in selection)
        assert (f"tier={key.tier}|lot={key.lot}" in texts) == (key in selection)
    assert not [text for text in ("", "nightly", "lot=10", "tier=T3|lot=10") if text in texts]


@pytest.mark.parametrize("retry_skipped", [False, True])
def test_what_is_done_may_be_counted_without_a_word(ledger: Ledger, retry_skipped: bool) -> None:
    """A launch takes its first job at once, however much is done; what failed is told, and all runs as otherwise."""
    backfill = Backfill(flow, SOME, "b", ledger=ledger)
    keys = list(map(str, backfill.selection))
    states = [PartitionState.OK, PartitionState.SKIPPED, PartitionState.FAILED, PartitionState.CANCELED]
    ledger.batches.put(backfill.record())
    ledger.batches.record_outcomes("b", [ran(key, state) for key, state in zip(keys[:12], 3 * states, strict=True)])
    again = RunsAgain(retry_skipped=retry_skipped)
    every, done = list(backfill.iter_work("local", again)), dict[PartitionState, int]()
    over = [one for one in every if isinstance(one, PartitionRun) and one.state.done]
    assert list(backfill.iter_work("local", again, done=done)) == [one for one in every if one not in over]
    assert done == Counter(one.state for one in over) == Counter(states[: 1 if retry_skipped else 2] * 3)


def test_a_batch_of_nothing_is_refused(ledger: Ledger) -> None:
    """Whoever asks for no partition has made a mistake: nothing is recorded, and nothing passes for a success."""
    scheme = scheme_of(flow)
    with pytest.raises(BatchError, match="nothing of workflow 'filled' is selected; a batch needs a partition"):
        Backfill(flow, scheme.select("tier=T1") - scheme.select("tier=T1"), "b", ledger=ledger)
    with pytest.raises(PartitionError, match="the scheme holds no as-of date up to 2011-12-31"):
        backfill(flow, batch_id="b", until="2011-12-31", ledger=ledger)
    assert ledger.find_batch("b") is None


def test_until_cuts_a_selection_that_is_made(ledger: Ledger) -> None:
    """As it cuts the text of one."""
    some = scheme_of(flow).select("date=2012-01-02|2012-01-05,tier=T1")
    assert str(Backfill(flow, some, "b", until="2012-01-04", ledger=ledger).selection) == "date=2012-01-02,tier=T1"
