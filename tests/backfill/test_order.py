"""The order of a batch whose partitions read each other, without anything being run."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import Backfill, Daily, PartitionScheme, Workflow
from flowctx.backfill import order
from flowctx.backfill.order import InputOrder, own_mappings
from flowctx.core.batches.records import Job, PartitionRun, PartitionState

DATES = Daily(start="2012-01-02", end="2012-01-13", calendar="WEEKDAYS")


def flow_of(*inputs: Any, fund: Any = ("A", "B", "C"), dated_first: bool = False) -> Workflow:
    """A workflow whose only step reads itself: by how many dates back, and of which fund."""
    parts = {"date": DATES, "fund": list(fund)} if dated_first else {"fund": list(fund), "date": DATES}
    flow = Workflow("flow", partitions=PartitionScheme(**parts))
    items = {}
    for number, (back, whose) in enumerate(inputs):
        item = flow.output("value").previous(back)
        items[f"i{number}"] = item.where(fund=whose) if whose else item
    flow.step(name="value", inputs=items)(lambda ctx, **found: None)
    return flow


def work_of(flow: Workflow, selection: str | None = None, **known: str) -> tuple[list[Any], InputOrder]:
    """The jobs of a batch, those known left out, and their order."""
    backfill = Backfill(flow, selection, "b", ledger="memory://")
    items: list[Any] = []
    for key in backfill.selection.by_date():
        state = known.get(str(key))
        job = backfill.job(key, None)
        items.append(ended(job, PartitionState(state)) if state else job)
    return items, InputOrder([flow], iter(items), "local")


def ended(job: Job, state: PartitionState, step: str | None = None) -> PartitionRun:
    """How a job ended."""
    return PartitionRun(
        partition=job.partition,
        state=state,
        run_id=job.run_id,
        engine="local",
        last_seen_at=datetime.now(UTC),
        step=step,
    )


def batch(flow: Workflow, seed: int, failing: set[str], selection: str | None = None) -> dict[str, str]:
    """Run a batch with some jobs under way at a time, which end in any order; return what became of each."""
    _, wanted = work_of(flow, selection)
    dice, found, under_way = random.Random(seed), {}, []
    mappings, selected = (
        own_mappings(flow),
        {str(k) for k in Backfill(flow, selection, "b", ledger="memory://").selection},
    )
    work = iter(wanted)
    while True:
        item = next(work, "end") if len(under_way) < 4 else None
        if isinstance(item, Job):
            before = {str(key) for mapping in mappings for key in mapping.keys(item.key)} & selected
            assert all(found.get(other) == "ok" for other in before), "it began before what it reads was done"
            under_way.append(item)
        elif isinstance(item, PartitionRun):
            found[item.partition] = str(item.state)
        if item == "end" and not under_way:
            return found
        if under_way and not isinstance(item, PartitionRun) and (len(under_way) == 4 or not isinstance(item, Job)):
            job = under_way.pop(dice.randrange(len(under_way)))
            found[job.partition] = "failed" if job.partition in failing else "ok"
            wanted.ended(ended(job, PartitionState(found[job.partition])))


def expected(flow: Workflow, failing: set[str], selection: str | None = None) -> dict[str, str]:
    """What becomes of each partition, by the words of the rule."""
    keys = list(Backfill(flow, selection, "b", ledger="memory://").selection.by_date())
    found: dict[str, str] = {}
    for key in keys:
        before = [str(other) for mapping in own_mappings(flow) for other in mapping.keys(key)]
        waits = any(found.get(other, "ok") != "ok" for other in before)
        found[str(key)] = "waiting" if waits else "failed" if str(key) in failing else "ok"
    return found


INPUTS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, "A", ["A", "B"]])), min_size=1, max_size=2)


@settings(max_examples=40)
@given(INPUTS, st.booleans(), st.integers(), st.data())
def test_a_partition_begins_when_what_it_reads_is_done_and_waits_for_what_failed(inputs, dated_first, seed, data):
    """Whatever ends in which order: none begins too early, none is forgotten, and just those wait that have to."""
    flow = flow_of(*inputs, dated_first=dated_first)
    keys = [str(key) for key in flow.partitions]
    failing = set(data.draw(st.lists(st.sampled_from(keys), max_size=3)))
    selection = data.draw(st.sampled_from([None, "date=2012-01-03..2012-01-10/2", "date=2012-01-04..;fund=B"]))
    assert batch(flow, seed, failing, selection) == expected(flow, failing, selection)


@settings(max_examples=20)
@given(INPUTS, st.integers())
def test_few_jobs_are_held_back(inputs, seed):
    """With room for three, all partitions still come to be done."""
    flow, most = flow_of(*inputs), order.MAX_HELD
    order.MAX_HELD = 3
    try:
        assert set(batch(flow, seed, set()).values()) == {"ok"}
    finally:
        order.MAX_HELD = most


def test_chains_run_side_by_side_whatever_the_schemes_order():
    """With funds before dates in the scheme, the first jobs are one of each fund."""
    _, wanted = work_of(flow_of((1, None)))
    first = list(itertools.takewhile(bool, wanted))
    assert [job.partition for job in first] == [f"date=2012-01-02|fund={fund}" for fund in "ABC"]


def test_what_waits_says_for_what():
    """The reason is the partition that failed, however far back it is, and its step."""
    items, wanted = work_of(flow_of((1, None), fund=["A"]), "date=2012-01-02..2012-01-05")
    work = iter(wanted)
    assert next(work) is items[0]
    assert next(work) is None
    wanted.ended(ended(items[0], PartitionState.FAILED, step="value"))
    waiting = list(work)
    assert {run.error for run in waiting} == {"waits for date=2012-01-02|fund=A, which failed at step value"}
    assert [(run.state, run.attempt, run.run_id) for run in waiting] == [
        (PartitionState.WAITING, 0, job.run_id) for job in items[1:]
    ]


def test_of_several_failures_each_waits_for_its_own():
    """What failed last is not what all of a fund wait for."""
    failed = {"date=2012-01-04|fund=A": "failed"}
    items, wanted = work_of(flow_of((1, None), fund=["A"]), "date=2012-01-02..2012-01-05", **failed)
    work = iter(wanted)
    assert [next(work), next(work)] == [items[0], items[2]]
    wanted.ended(ended(items[0], PartitionState.FAILED))
    assert {run.partition: run.error for run in work} == {
        "date=2012-01-03|fund=A": "waits for date=2012-01-02|fund=A, which failed",
        "date=2012-01-05|fund=A": "waits for date=2012-01-04|fund=A, which failed",
    }


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("failed", "date=2012-01-02|fund=A, which failed"),
        ("running", "date=2012-01-02|fund=A, under way elsewhere"),
    ],
)
def test_what_is_passed_over_and_not_done_is_waited_for(state, reason):
    """A failure of an earlier launch, and a run on another engine, stand in the way as well."""
    _, wanted = work_of(
        flow_of((1, None), fund=["A"]), "date=2012-01-02..2012-01-03", **{"date=2012-01-02|fund=A": state}
    )
    passed, waiting = list(wanted)
    assert (str(passed.state), waiting.error) == (state, f"waits for {reason}")


def test_what_is_done_already_is_not_waited_for():
    """The rest goes on after it."""
    _, wanted = work_of(
        flow_of((1, None), fund=["A"]), "date=2012-01-02..2012-01-03", **{"date=2012-01-02|fund=A": "ok"}
    )
    assert [type(item) for item in wanted] == [PartitionRun, Job]


def test_inputs_of_other_workflows_and_of_none_need_no_order():
    """Only what a batch makes itself has to come first."""
    flow = Workflow("other", partitions=PartitionScheme(date=DATES))
    flow.step(name="value", inputs={"i": flow_of((1, None)).output("value")})(lambda ctx, *, i: None)
    assert own_mappings(flow) == []
