"""One batch of several workflows: each partition after what it reads of the others."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill.desk import desk, month, nav
from backfill.flows import flow
from flowctx import BatchError, Daily, PartitionScheme, Workflow, WorkflowError
from flowctx.backfill import Backfill, JointBackfill, LaunchProgress, LocalLauncher
from flowctx.backfill.again import RunsAgain
from flowctx.backfill.order import InputOrder, batch_inputs
from flowctx.core.batches.records import Job, PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

JANUARY = "date=2013-01"
#: 22 weekdays of two funds, as many sums, and a month.
PARTITIONS = 44 + 22 + 1


def january(ledger: Ledger, *, batch_id: str = "b", **params: object) -> JointBackfill:
    """A batch of the three workflows; in no order at all."""
    plans = [
        Backfill(month, "month=2013-01-31", batch_id, ledger=ledger),
        Backfill(nav, JANUARY, batch_id, params=params, ledger=ledger),
        Backfill(desk, JANUARY, batch_id, ledger=ledger),
    ]
    return JointBackfill(plans)


def launch(ledger: Ledger, workers: int = 1, again: bool = False, **params: object) -> LaunchProgress:
    """Launch the batch here."""
    return january(ledger, **params).launch(LocalLauncher(ledger, workers), retry_failed=again)


def states(ledger: Ledger, workflow: str) -> dict[str, str]:
    """How each partition of a workflow stands."""
    found = ledger.batches.iter_outcomes("b", workflow=workflow)
    return {run.partition: str(run.state) for run in found}


def output(ledger: Ledger, workflow: str, partition: str) -> dict[str, object]:
    """What the first step of a partition has made."""
    (run,) = (
        r
        for r in ledger.list_runs(batch_id="b", limit=500)
        if (r.workflow, str(r.context.partition)) == (workflow, partition)
    )
    return dict(ledger.steps(run.key)[0].output)


def test_a_month_starts_when_its_days_are_done(ledger: Ledger) -> None:
    """Three workflows in one launch: the month has every day, and each day both funds, of the batch's own numbers."""
    progress = launch(ledger, 2, rate=0.02)
    assert (progress.total, progress.ended, progress.complete) == (PARTITIONS, {PartitionState.OK: PARTITIONS}, True)
    last = 200 * 1.02**22
    assert output(ledger, "desk", "date=2013-01-31") == {"total": pytest.approx(last), "funds": 2}
    assert output(ledger, "month", "month=2013-01-31") == {"days": 22, "last": pytest.approx(last)}
    assert ledger.batches.get("b").workflows == ("nav", "desk", "month")
    assert launch(ledger, rate=0.02).ended == {}


def test_a_failed_day_blocks_what_hangs_on_it_in_every_workflow(ledger: Ledger, tmp_path: Path) -> None:
    """The other fund has run to the end; sums and month wait, say for what, and all go on after the day is mended."""
    broken, bad = tmp_path / "broken", "date=2013-01-29|fund=A"
    broken.write_text(bad)
    first = launch(ledger, fail=str(broken))
    assert first.ended == {PartitionState.OK: 41 + 19, PartitionState.FAILED: 1}
    assert first.waiting == 2 + 3 + 1
    reasons = {run.error for run in ledger.batches.iter_outcomes("b", workflow="month")}
    assert reasons == {f"waits for {bad} of nav, which failed at step value"}
    assert states(ledger, "desk")["date=2013-01-30"] == "waiting"
    broken.unlink()
    again = launch(ledger, again=True, fail=str(broken))
    assert again.ended == {PartitionState.OK: 7}
    assert again.complete
    assert output(ledger, "month", "month=2013-01-31")["days"] == 22


def test_nothing_older_stands_in_for_what_the_batch_is_to_make(ledger: Ledger) -> None:
    """A month that is run by itself within the batch fails: its days are of the batch and have not run."""
    from flowctx import run

    assert launch(ledger).complete
    (plan,) = january(ledger, batch_id="c").plans[-1:]
    ledger.batches.put(january(ledger, batch_id="c").record())
    result = run(month, partition=plan.selection[0], batch_id="c", ledger=ledger)
    assert "22 partitions date=2013-01-02" in str(result["report"].error)
    assert "in the same batch 'c', which has not run" in str(result["report"].error)


@settings(max_examples=15)
@given(st.integers(), st.sets(st.integers(0, PARTITIONS - 1), max_size=3))
def test_none_begins_before_what_it_reads_and_just_those_wait_that_have_to(seed: int, places: set[int]) -> None:
    """Whatever ends in which order, with four under way at a time, over all three workflows."""
    joint = january(open_ledger("memory://"))
    work = list(joint.iter_work("local", RunsAgain()))
    failing = {(work[place].workflow, work[place].partition) for place in places}
    expected: dict[tuple[str, str], str] = {}
    for item in work:
        assert isinstance(item, Job)
        before = [expected[one] for one in _reads(joint, item) if one in expected]
        waits = any(state != "ok" for state in before)
        subject = (item.workflow, item.partition)
        expected[subject] = "waiting" if waits else "failed" if subject in failing else "ok"
    dice, found, under_way = random.Random(seed), dict[tuple[str, str], str](), list[Job]()
    order = InputOrder(joint.workflows, iter(work), "local")
    items = iter(order)
    while (item := next(items, "end") if len(under_way) < 4 else None) != "end" or under_way:
        if isinstance(item, Job):
            assert {found.get(one) for one in _reads(joint, item) if one in expected} <= {"ok"}
            under_way.append(item)
        elif isinstance(item, PartitionRun):
            found[item.workflow, item.partition] = str(item.state)
        elif under_way:
            job = under_way.pop(dice.randrange(len(under_way)))
            subject = (job.workflow, job.partition)
            found[subject] = "failed" if subject in failing else "ok"
            state = PartitionState(found[subject])
            how = {"run_id": job.run_id, "engine": "local", "last_seen_at": datetime.now(UTC)}
            order.ended(PartitionRun(partition=job.partition, workflow=job.workflow, state=state, **how))  # type: ignore[arg-type]
    assert found == expected


def _reads(joint: JointBackfill, job: Job) -> set[tuple[str, str]]:
    """What a partition reads of the batch's workflows."""
    place = [workflow.name for workflow in joint.workflows].index(job.workflow)
    read = batch_inputs(joint.workflows)[place]
    return {(joint.workflows[one.source].name, str(key)) for one in read for key in one.mapping.keys(job.key)}


def test_a_plan_counts_each_workflow(ledger: Ledger) -> None:
    """The whole, and each workflow in the order of what they read."""
    plan = january(ledger).plan()
    assert (plan.total, plan.would_run) == (PARTITIONS, PARTITIONS)
    assert {name: one.total for name, one in plan.by_workflow.items()} == {"nav": 44, "desk": 22, "month": 1}
    assert (str(plan.first), str(plan.last)) == ("date=2013-01-02|fund=A", "month=2013-01-31")


def test_a_batch_of_several_is_launched_with_all_of_them(ledger: Ledger) -> None:
    """A workflow that is left out, added or launched alone is refused; with extend= it is added, and stays."""
    nav_plan, desk_plan = (Backfill(flow, JANUARY, "b", ledger=ledger) for flow in (nav, desk))
    ledger.batches.put(nav_plan.record())
    with pytest.raises(BatchError, match="is one of nav, and this asks for nav, desk; add the others .*--extend"):
        JointBackfill([nav_plan, desk_plan]).reconcile()
    ledger.batches.put(JointBackfill([nav_plan, desk_plan]).reconcile(extend=True))
    with pytest.raises(BatchError, match="is one of the workflows nav, desk; launch it with all of them"):
        nav_plan.reconcile()
    with pytest.raises(BatchError, match="is one of nav, desk, and this asks for desk; name them all"):
        JointBackfill([desk_plan]).reconcile()
    with pytest.raises(BatchError, match="'b' has 22 partitions .* and this asks for 21 "):
        JointBackfill([nav_plan, Backfill(desk, "date=2013-01-03..2013-01-31", "b", ledger=ledger)]).reconcile()


def test_plans_that_are_no_batch_are_refused(ledger: Ledger) -> None:
    """None, one twice, two ids, and a first one that is in no plan."""
    plan = Backfill(nav, JANUARY, "b", ledger=ledger)
    for plans, words in (
        ([], "needs a workflow"),
        ([plan, plan], "'nav' stands twice"),
        ([plan, Backfill(desk, JANUARY, "c", ledger=ledger)], "one batch id and one ledger"),
    ):
        with pytest.raises(BatchError, match=words):
            JointBackfill(plans)
    with pytest.raises(BatchError, match="first='desk' is none of the workflows nav; name one of them"):
        JointBackfill([plan], first=desk)
    with pytest.raises(BatchError, match="none of the workflows nav has a step 'nothing'"):
        JointBackfill([plan]).launch(LocalLauncher(ledger, 1), from_step="nothing")


def test_workflows_in_a_circle_are_refused_in_a_sentence() -> None:
    """Two that read each other's same date cannot be in order."""
    days = PartitionScheme(date=Daily(start="2013-01-02", end="2013-01-04"))
    one, other = Workflow("one", partitions=days), Workflow("other", partitions=days)
    one.step(name="s", inputs={"i": other.output("s")})(lambda ctx, *, i: None)
    other.step(name="s", inputs={"i": one.output("s")})(lambda ctx, *, i: None)
    ledger = open_ledger("memory://")
    with pytest.raises(WorkflowError, match="read each other in a circle: one reads other reads one"):
        JointBackfill([Backfill(flow, None, "b", ledger=ledger) for flow in (one, other)])


def test_workflows_without_dates_come_before_or_after_those_with_dates() -> None:
    """What is read by every date comes first, what reads every date last, and a chain between two goes date by date."""
    days = PartitionScheme(date=Daily(start="2013-01-02", end="2013-01-04"))
    tiers = PartitionScheme(tier=["T1"])
    names = {"static": tiers, "a": days, "b": days}
    flows = {name: Workflow(name, partitions=scheme) for name, scheme in names.items()}
    flows["static"].step(name="s")(lambda ctx: None)
    read = {"x": flows["static"].output("s").where(tier="T1"), "y": flows["b"].output("s").previous()}
    flows["a"].step(name="s", inputs=read)(lambda ctx, *, x, y: None)
    flows["b"].step(name="s", inputs={"i": flows["a"].output("s")})(lambda ctx, *, i: None)
    ledger = open_ledger("memory://")
    chosen = [flows[name] for name in ("b", "a", "static")]
    work = JointBackfill([Backfill(flow, None, "b", ledger=ledger) for flow in chosen]).iter_work("local", RunsAgain())
    order = [f"{item.workflow} {item.partition.rpartition('=')[2]}" for item in work]
    assert order[0] == "static T1"
    assert order[1:] == [f"{flow} 2013-01-0{day}" for day in (2, 3, 4) for flow in ("a", "b")]


def test_a_batch_says_of_which_workflow_it_keeps_the_parameters(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """Where one keeps them, and another runs with what was given, the batch as a whole has not kept its own."""

    def fill(fail: list[str], rate: float) -> LaunchProgress:
        batches = ((flow, "date=2012-01-02,tier=T1", {"fail": fail}), (nav, "date=2013-01-02", {"rate": rate}))
        plans = [Backfill(one, some, "b", params=params, ledger=ledger) for one, some, params in batches]
        return JointBackfill(plans).launch(LocalLauncher(ledger, 1), retry_failed=True, extend=True)

    assert fill(["date=2012-01-02|tier=T1"], 0.0).failed == 1
    mixed = fill([], 0.1)
    assert (mixed.complete, mixed.params_kept) == (True, False)
    assert [line.partition(" runs")[0] for line in caplog.messages] == ["batch b: nothing of nav"]
    assert fill([], 0.2).params_kept
