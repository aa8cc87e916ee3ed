"""Batches in every ledger."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from flowctx import BatchError, BatchStatus, StepStatus, UnknownBatch
from flowctx.core.batches.records import BatchRecord, BatchWorkflow, PartitionRun, PartitionState, Standing
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import FakeClock, make_context
from flowctx.testing.clock import NOON
from query_plans import statements

BATCH = BatchRecord(
    batch_id="b1",
    workflow="flow",
    selection="tier=T1|T2",
    digest="d",
    total=2,
    params={"day": NOON.date()},
    created_at=NOON,
)
MINUTE = timedelta(minutes=1)


def a_note(partition: str, state: PartitionState, **fields: object) -> PartitionRun:
    given = {"run_id": f"run {partition}", "engine": "airflow", "last_seen_at": NOON, **fields}
    return PartitionRun(partition=partition, state=state, **given)  # type: ignore[arg-type]


def a_run(
    ledger: Ledger, tier: str, batch_id: str = "b1", status: RunStatus | None = None, workflow: str = "flow"
) -> RunRecord:
    ctx = make_context(workflow=workflow, run_id=f"r-{tier}", partition={"tier": tier}, batch_id=batch_id)
    run = ledger.begin(RunRecord(workflow=workflow, context=ctx, steps=("a",)))
    if status is not None:
        ledger.finish(run, status, "broken" if status is RunStatus.FAILED else None)
    return run


def test_a_batch_comes_back_as_it_was_put(ledger: Ledger) -> None:
    """What a batch was asked to run is remembered, its parameters with their types."""
    ledger.batches.put(BATCH)
    ledger.batches.put(replace(BATCH, total=3, canceled_at=NOON))
    assert ledger.batches.get("b1") == replace(BATCH, total=3, canceled_at=NOON)
    assert ledger.batches.all() == [replace(BATCH, total=3, canceled_at=NOON)]


def test_a_batch_of_several_workflows_comes_back(ledger: Ledger) -> None:
    """Each workflow has its selection and parameters, and what an engine says is told apart by workflow."""
    other = BatchWorkflow(workflow="other", selection="tier=T1", digest="e", total=1, params={"day": NOON.date()})
    batch = replace(BATCH, others=(other,))
    ledger.batches.put(batch)
    assert ledger.batches.get("b1") == batch
    assert batch.workflows == ("flow", "other")
    notes = [a_note("tier=T1", PartitionState.FAILED, workflow="other"), a_note("tier=T1", PartitionState.LAUNCHED)]
    ledger.batches.record_outcomes("b1", notes)
    ledger.batches.record_outcomes("b1", [a_note("tier=T1", PartitionState.OK, workflow="flow")])  # of the first
    for workflow, state in {"flow": PartitionState.OK, "other": PartitionState.FAILED}.items():
        assert [run.state for run in ledger.batches.iter_outcomes("b1", workflow=workflow)] == [state]
        assert [run.state for run in ledger.batches.iter_outcomes("b1", ["tier=T1"], workflow=workflow)] == [state]


def test_an_unknown_batch_says_where_to_look(ledger: Ledger) -> None:
    """A batch that nobody remembers is an error that names the command that lists them."""
    with pytest.raises(UnknownBatch, match="flowctx batches"):
        ledger.batches.get("b2")


def test_who_lets_go_while_another_asks_leaves_the_lead(postgres_url: str) -> None:
    """Between two statements of the one who asks, the other lets go: the batch is there, and free."""
    one, two = SqlLedger(postgres_url), SqlLedger(postgres_url)
    one.batches.put(BATCH)
    one.batches.acquire_launch_lease("b1", "one", MINUTE)
    left: list[str] = []

    def let_go(*args: object) -> None:
        if "UPDATE flowctx_batch" in str(args[2]) and not left:
            left.append("one")
            one.batches.acquire_launch_lease("b1", "one", timedelta(0))

    event.listen(Engine, "after_cursor_execute", let_go)
    try:
        assert two.batches.acquire_launch_lease("b1", "two", MINUTE) == "two"
    finally:
        event.remove(Engine, "after_cursor_execute", let_go)
    assert left == ["one"]
    one.close()
    two.close()


def test_a_batch_of_which_only_runs_are_known_is_found(ledger: Ledger) -> None:
    """Runs that an engine started under a batch id make a batch, without a plan."""
    a_run(ledger, "T1", "native")
    found = ledger.batches.get("native")
    assert (found.workflow, found.selection, found.total) == ("flow", None, None)
    assert [batch.batch_id for batch in ledger.batches.all()] == ["native"]


def test_one_launcher_leads_at_a_time(ledger: Ledger, clock: FakeClock) -> None:
    """A batch has one launcher until that one lets go, is known to be gone, or its lease has run out."""
    ledger.batches.put(BATCH)
    assert ledger.batches.acquire_launch_lease("b1", "one", MINUTE) == "one"
    assert ledger.batches.acquire_launch_lease("b1", "two", MINUTE) == "one"
    assert ledger.batches.acquire_launch_lease("b1", "two", MINUTE, instead_of="one") == "two"
    clock.advance(MINUTE)
    assert ledger.batches.acquire_launch_lease("b1", "three", MINUTE) == "three"
    assert ledger.batches.acquire_launch_lease("b1", "three", timedelta(0)) == "three"
    assert ledger.batches.acquire_launch_lease("b1", "four", MINUTE) == "four"


def test_a_launcher_that_is_refused_changes_nothing(ledger: Ledger, clock: FakeClock) -> None:
    """Selection, parameters and a cancel of a batch stay as they are when a second launcher is refused."""
    first = ledger.batches.lead("b1", "one", MINUTE, lambda known: BATCH)
    assert (first.launcher, ledger.batches.get("b1")) == ("one", BATCH)
    assert ledger.batches.cancel("b1").canceled_at == clock.now()
    calls: list[object] = []
    refused = ledger.batches.lead("b1", "two", MINUTE, lambda known: calls.append(known) or BATCH)  # type: ignore[func-returns-value]
    assert (refused.launcher, refused.remaining, calls) == ("one", MINUTE, [])
    assert ledger.batches.get("b1") == replace(BATCH, canceled_at=clock.now())


def test_who_leads_begins_a_canceled_batch_again(ledger: Ledger, clock: FakeClock) -> None:
    """The next leader is told what is known, says what is asked for, and the batch is canceled no more."""
    ledger.batches.put(replace(BATCH, canceled_at=NOON))
    ledger.batches.lead("b1", "one", MINUTE, lambda known: replace(known or BATCH, total=3))
    assert ledger.batches.get("b1") == replace(BATCH, total=3)


def test_a_decision_that_is_refused_leaves_the_batch_alone(ledger: Ledger) -> None:
    """A launcher that must not change the batch as it wants leads nothing and has written nothing."""

    def refuse(known: BatchRecord | None) -> BatchRecord:
        raise BatchError("another selection")

    ledger.batches.put(BATCH)
    with pytest.raises(BatchError):
        ledger.batches.lead("b1", "one", MINUTE, refuse)
    assert ledger.batches.lead("b1", "two", MINUTE, lambda known: BATCH).launcher == "two"


def test_outcomes_are_sorted_and_the_best_account_counts(ledger: Ledger) -> None:
    """Notes and recorded runs are merged by partition; success counts whatever was heard later."""
    a_run(ledger, "T2", status=RunStatus.OK)
    a_run(ledger, "T1")
    later = NOON + MINUTE
    ledger.batches.record_outcomes(
        "b1", [a_note(f"tier={tier}", PartitionState.FAILED, last_seen_at=later) for tier in ("T2", "a")]
    )
    ledger.batches.record_outcomes("b1", [a_note("tier=T10", PartitionState.LAUNCHED)])
    found = {run.partition: str(run.state) for run in ledger.batches.iter_outcomes("b1")}
    assert found == {"tier=T1": "running", "tier=T10": "launched", "tier=T2": "ok", "tier=a": "failed"}
    assert list(found) == sorted(found)


def test_the_latest_of_several_failures_counts(ledger: Ledger) -> None:
    """A note that is younger than a recorded run says how the partition stands."""
    a_run(ledger, "T1", status=RunStatus.FAILED)
    ledger.batches.record_outcomes("b1", [a_note("tier=T1", PartitionState.LAUNCHED, last_seen_at=NOON + MINUTE)])
    assert [run.state for run in ledger.batches.iter_outcomes("b1", ["tier=T1"])] == [PartitionState.LAUNCHED]


def test_counts_are_those_of_the_outcomes(ledger: Ledger) -> None:
    """However many accounts there are of a partition, it is counted once, as its outcome stands."""
    ledger.batches.put(BATCH)
    for tier, status in (
        ("one", RunStatus.OK),
        ("two", RunStatus.FAILED),
        ("three", None),
        ("four", RunStatus.SKIPPED),
    ):
        a_run(ledger, tier, status=status)
    ledger.finish(a_run(ledger, "two", workflow="other"), RunStatus.OK)
    notes = [("one", "ok"), ("two", "ok"), ("three", "failed"), ("five", "launched"), ("six", "waiting")]
    ledger.batches.record_outcomes(
        "b1", [a_note(f"tier={tier}", PartitionState(state), run_id=f"r-{tier}") for tier, state in notes]
    )
    found = Counter(str(run.state) for run in ledger.batches.iter_outcomes("b1", workflow="flow"))
    assert ledger.batches.count_outcomes("b1", "flow") == found
    assert sum(found.values()) == 6
    assert ledger.batches.count_outcomes("b1", "other") == {"ok": 1}
    assert ledger.batches.count_outcomes("b2", "flow") == {}
    ctx = make_context(workflow="flow", run_id="r-none", partition=None, batch_id="b1")
    ledger.begin(RunRecord(workflow="flow", context=ctx, steps=("a",)))
    assert ledger.batches.count_outcomes("b1", "flow") == found + Counter(running=1)
    for workflow in ("flow", "other"):
        texts = list(ledger.batches.iter_partitions("b1", workflow))
        assert set(texts) == {run.partition for run in ledger.batches.iter_outcomes("b1", workflow=workflow)}
        assert texts[0] == "" or "" not in texts
        outcomes = ledger.batches.iter_outcomes("b1", workflow=workflow)
        assert list(ledger.batches.iter_standings("b1", workflow)) == list(map(Standing.of, outcomes))


def test_a_run_that_began_again_takes_no_time_in_between(ledger: Ledger, clock: FakeClock) -> None:
    """An engine cleared it days later: what counts is from then on."""
    for seconds, status in ((90, RunStatus.FAILED), (5, RunStatus.OK)):
        run = a_run(ledger, "T1")
        clock.advance(timedelta(seconds=seconds))
        ledger.finish(run, status)
        (outcome,) = ledger.batches.iter_outcomes("b1", workflow="flow")
        (standing,) = ledger.batches.iter_standings("b1", "flow")
        assert (outcome.attempt, outcome.seconds, standing.seconds) == (1, seconds, seconds)
        clock.advance(timedelta(days=2))
    assert BatchStatus.of(ledger, "b1").seconds["max"] == 5
    assert standing.started_at == NOON


def test_partitions_are_found_that_no_launch_has_run(ledger: Ledger) -> None:
    """What is known of partitions by runs of other ids than those that begin so, recorded or only noted, is yielded."""
    ledger.batches.put(BATCH)
    runs = [("T1", "batch__b1__one"), ("T2", "batch__b1__two"), ("T2", "by-hand"), ("T3", "batch__b1%_three")]
    for tier, run_id in runs:
        ctx = make_context(workflow="flow", run_id=run_id, partition={"tier": tier}, batch_id="b1")
        ledger.finish(ledger.begin(RunRecord(workflow="flow", context=ctx, steps=("a",))), RunStatus.FAILED)
    noted = [("tier=T4", "batch__b1__four"), ("tier=T5", "scheduled")]
    ledger.batches.record_outcomes("b1", [a_note(text, PartitionState.OK, run_id=run_id) for text, run_id in noted])
    found = ledger.batches.iter_partitions("b1", "flow", besides="batch__b1__")
    assert sorted(found) == ["tier=T2", "tier=T3", "tier=T5"]
    assert list(ledger.batches.iter_partitions("b2", "flow", besides="batch__b1__")) == []


@pytest.mark.parametrize("other", [None, "b1__x", "b1_", "b"])
def test_what_all_launches_have_run_is_not_read_one_by_one(sql_url: str, other: str | None) -> None:
    """Where as many ids begin so as the batch has runs, and no other batch's can, no id is read; else each is."""
    ledger = SqlLedger(sql_url)
    for batch_id in filter(None, ("b1", other)):
        ledger.batches.put(replace(BATCH, batch_id=batch_id))
    mine = [("T1", "batch__b1__one"), ("T2", "batch__b1__two" if other in (None, "b") else "by-hand")]
    for tier, run_id in mine:
        ctx = make_context(workflow="flow", run_id=run_id, partition={"tier": tier}, batch_id="b1")
        ledger.finish(ledger.begin(RunRecord(workflow="flow", context=ctx, steps=("a",))), RunStatus.OK)
    if other is not None:
        ctx = make_context(workflow="flow", run_id=f"batch__{other}__z", partition={"tier": "T3"}, batch_id=other)
        ledger.finish(ledger.begin(RunRecord(workflow="flow", context=ctx, steps=("a",))), RunStatus.OK)
    with statements(ledger) as asked:
        found = list(ledger.batches.iter_partitions("b1", "flow", besides="batch__b1__"))
    assert found == ([] if other in (None, "b") else ["tier=T2"])
    assert any("substr" in text for text, _ in asked) is (other not in (None, "b"))
    ledger.close()


def test_partitions_with_several_accounts_are_counted_as_they_stand(ledger: Ledger, clock: FakeClock) -> None:
    """Whatever two runs and an engine say of a partition, counts and standings are those of the outcomes."""
    ledger.batches.put(BATCH)
    ends = (None, RunStatus.OK, RunStatus.FAILED)
    notes = (None, PartitionState.OK, PartitionState.LAUNCHED)
    for number, (first, second, note) in enumerate(itertools.product(ends, (*ends, "none"), notes)):
        for run_id, status in (("one", first), ("two", second)):
            if status != "none":
                clock.advance(2 * MINUTE)  # after the lease of the first
                ctx = make_context(workflow="flow", run_id=run_id, partition={"tier": str(number)}, batch_id="b1")
                run = ledger.begin(
                    RunRecord(workflow="flow", context=ctx, steps=("a", "b"), selected=("a",) * (number % 2))
                )
                if status is not None:
                    ledger.finish(run, RunStatus(status))
        if note is not None:
            ledger.batches.record_outcomes("b1", [a_note(f"tier={number}", note, run_id=("one", "three")[number % 2])])
    found = Counter(str(run.state) for run in ledger.batches.iter_outcomes("b1", workflow="flow"))
    assert ledger.batches.count_outcomes("b1", "flow") == found
    assert sum(found.values()) == number + 1
    outcomes = ledger.batches.iter_outcomes("b1", workflow="flow")
    assert list(ledger.batches.iter_standings("b1", "flow")) == list(map(Standing.of, outcomes))


@pytest.mark.parametrize(
    ("ran", "noted"),
    [
        ({"a": 1, "b": 1}, "ab"),
        ({"a": 2, "b": 0}, "ab"),
        ({"a": 2, "b": 1}, "ab"),
        ({"a": 2, "b": 1}, "a"),
        ({"a": 2}, ""),
        ({"a": 0, "b": 0}, "ab"),
        ({"a": 1, "b": 1}, "abc"),
    ],
)
def test_as_many_runs_as_notes_are_not_all_of_one_each(
    ledger: Ledger, clock: FakeClock, ran: dict[str, int], noted: str
) -> None:
    """Each partition is counted once, whether it has a run, several, or only a note."""
    ledger.batches.put(BATCH)
    for tier, number in ran.items():
        for run_id in range(number):
            clock.advance(2 * MINUTE)
            ctx = make_context(workflow="flow", run_id=f"{tier}{run_id}", partition={"tier": tier}, batch_id="b1")
            ledger.finish(ledger.begin(RunRecord(workflow="flow", context=ctx, steps=("a",))), RunStatus.OK)
    notes = [a_note(f"tier={tier}", PartitionState.OK, run_id=f"{tier}0") for tier in noted]
    ledger.batches.record_outcomes("b1", notes)
    known = {*noted, *(tier for tier, number in ran.items() if number)}
    assert ledger.batches.count_outcomes("b1", "flow") == {"ok": len(known)}
    assert [one.partition for one in ledger.batches.iter_standings("b1", "flow")] == [
        f"tier={t}" for t in sorted(known)
    ]


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ({"attempt": 0, "engine": "local", "error": "RunAlive: somebody is at it"}, True),
        ({"attempt": 2, "error": "WorkflowChanged: workflow 'flow' has changed"}, True),
        ({"attempt": 2, "error": "the same in other words"}, False),
        ({"attempt": 0, "error": "WorkflowChanged: before it", "last_seen_at": NOON - MINUTE}, False),
    ],
)
def test_why_what_failed_could_not_go_on_is_told(ledger: Ledger, note: dict[str, object], told: bool) -> None:
    """It stays as it failed; what was heard since is told beside that, until it is launched again."""
    run = a_run(ledger, "T1")
    ledger.record(run, [StepRecord(step="a", status=StepStatus.FAILED, error="no file", started_at=NOON, seconds=1)])
    ledger.finish(run, RunStatus.FAILED, "step 'a': no file")
    how = {"run_id": run.run_id, "last_seen_at": NOON + MINUTE, **note}
    ledger.batches.record_outcomes("b1", [a_note("tier=T1", PartitionState.FAILED, **how)])
    (found,) = ledger.batches.iter_outcomes("b1", workflow="flow")
    assert (found.state, found.error, found.refused) == ("failed", "no file", note["error"] if told else None)


def test_outcomes_of_some_partitions(ledger: Ledger) -> None:
    """Only the partitions that are asked for come back, and of this batch alone."""
    for tier in ("T1", "T2", "T3"):
        a_run(ledger, tier)
    a_run(ledger, "T4", "other")
    found = ledger.batches.iter_outcomes("b1", ["tier=T3", "tier=T1", "tier=T4"])
    assert [run.partition for run in found] == ["tier=T1", "tier=T3"]


def test_workflows_of_one_batch_are_told_apart(ledger: Ledger) -> None:
    """A partition of another workflow is not this one's, although it has the same name and the same batch id."""
    ledger.batches.put(BATCH)
    a_run(ledger, "T1", status=RunStatus.FAILED)
    a_run(ledger, "T1", status=RunStatus.OK, workflow="other")
    a_run(ledger, "T2", status=RunStatus.OK, workflow="other")
    ledger.batches.record_outcomes("b1", [a_note("tier=T3", PartitionState.LAUNCHED)])

    def outcomes(workflow: str, partitions: list[str] | None = None) -> dict[str, str]:
        found = ledger.batches.iter_outcomes("b1", partitions, workflow=workflow)
        return {run.partition: str(run.state) for run in found}

    assert outcomes("flow") == {"tier=T1": "failed", "tier=T3": "launched"}
    assert outcomes("other") == {"tier=T1": "ok", "tier=T2": "ok"}
    assert outcomes("flow", ["tier=T1", "tier=T2"]) == {"tier=T1": "failed"}
    assert outcomes("none") == {}
    assert ledger.batches.runs_by_workflow("b1") == {"flow": {"failed": 1}, "other": {"ok": 2}}
    assert ledger.batches.runs_by_workflow("b2") == {}


def test_what_was_noted_before_a_batch_is_known_is_its_own(ledger: Ledger) -> None:
    """An engine's own backfill is noted before anybody says whose it is; a later word about it wins."""
    ledger.batches.record_outcomes("b1", [a_note("tier=T1", PartitionState.OK, workflow="flow")])
    assert [run.state for run in ledger.batches.iter_outcomes("b1", workflow="flow")] == [PartitionState.OK]
    ledger.batches.put(BATCH)
    assert [run.state for run in ledger.batches.iter_outcomes("b1", workflow="flow")] == [PartitionState.OK]
    assert not list(ledger.batches.iter_outcomes("b1", workflow="other"))
    later = a_note("tier=T1", PartitionState.OK, last_seen_at=NOON + MINUTE, run_id="again")
    ledger.batches.record_outcomes("b1", [later])
    assert [run.run_id for run in ledger.batches.iter_outcomes("b1", workflow="flow")] == ["again"]


def test_a_failure_names_its_step(ledger: Ledger) -> None:
    """The first step that failed, and its error, are part of what became of a partition."""
    run = a_run(ledger, "T1")
    step = StepRecord(step="a", status=StepStatus.FAILED, error="no rows", started_at=NOON)
    ledger.record(run, [step])
    ledger.finish(run, RunStatus.FAILED)
    (found,) = ledger.batches.iter_outcomes("b1")
    assert (found.step, found.error, found.state) == ("a", "no rows", PartitionState.FAILED)


def test_many_outcomes_come_page_by_page(ledger: Ledger) -> None:
    """All of thousands of partitions come back, each once."""
    notes = [a_note(f"n={number:05}", PartitionState.OK) for number in range(4500)]
    ledger.batches.record_outcomes("b1", notes)
    assert [run.partition for run in ledger.batches.iter_outcomes("b1")] == [note.partition for note in notes]


# -- forgetting -------------------------------------------------------------------------------------------------------


def known_batches(ledger: Ledger) -> set[str]:
    return {batch.batch_id for batch in ledger.batches.all()}


def test_old_batches_are_forgotten_with_their_notes(ledger: Ledger, clock: FakeClock) -> None:
    """A batch of which no run and no young note is left is forgotten; one whose capture is current stays, with it."""
    for name in ("gone", "kept", "young"):
        ledger.batches.put(replace(BATCH, batch_id=name))
    a_run(ledger, "T1", "kept", RunStatus.OK)
    a_run(ledger, "T2", "gone", RunStatus.FAILED)
    for name in ("kept", "gone"):
        ledger.batches.record_outcomes(name, [a_note(f"tier={tier}", PartitionState.OK) for tier in ("T1", "T2")])
    clock.advance(timedelta(days=90))
    note = a_note("tier=T1", PartitionState.LAUNCHED, last_seen_at=clock.now())
    ledger.batches.record_outcomes("young", [note])
    before = clock.now() - timedelta(days=30)
    would, _ = ledger.would_prune(before)
    assert known_batches(ledger) == {"gone", "kept", "young"}
    assert ledger.prune(before) == would
    assert (would.runs, would.batches) == (1, 1)
    assert known_batches(ledger) == {"kept", "young"}
    assert [run.partition for run in ledger.batches.iter_outcomes("kept")] == ["tier=T1"]
    assert list(ledger.batches.iter_outcomes("gone")) == []


def test_a_batch_that_somebody_launches_is_not_forgotten(ledger: Ledger, clock: FakeClock) -> None:
    """As long as its launcher gives signs of life, a batch stays, and what was noted of it."""
    ledger.batches.lead("b1", "one", MINUTE, lambda known: BATCH)
    ledger.batches.record_outcomes("b1", [a_note("tier=T1", PartitionState.LAUNCHED)])
    clock.advance(timedelta(days=90))
    ledger.batches.acquire_launch_lease("b1", "one", MINUTE)
    assert ledger.prune(clock.now()).batches == 0
    assert len(list(ledger.batches.iter_outcomes("b1"))) == 1
    clock.advance(2 * MINUTE)
    assert ledger.prune(clock.now()).batches == 1
    assert known_batches(ledger) == set()


def test_batches_that_engines_started_are_told_from_planned_ones(ledger: Ledger, clock: FakeClock) -> None:
    """Batches without a plan come with the first of their runs, in the order of time, each once."""
    ledger.batches.put(replace(BATCH, batch_id="planned", created_at=NOON - MINUTE))
    for number, name in enumerate(["native-b", "native-a", "planned"]):
        for tier in ("T1", "T2"):
            ctx = make_context(
                workflow="flow",
                run_id=f"{name}-{tier}",
                partition={"tier": tier},
                batch_id=name,
                started_at=NOON + number * MINUTE,
            )
            ledger.begin(RunRecord(workflow="flow", context=ctx))
    found = ledger.batches.all()
    assert [batch.batch_id for batch in found] == ["native-a", "native-b", "planned"]
    assert [batch.batch_id for batch in ledger.batches.all(limit=1)] == ["native-a"]
    assert ledger.batches.get("native-b").created_at == NOON


# -- what was pruned --------------------------------------------------------------------------------------------------


def prune_versions(ledger: Ledger, clock: FakeClock, *tiers: str) -> None:
    """Prune versions of tiers in a batch, each of which has another version since."""
    for batch_id, tier in itertools.product(("b1", "restated"), tiers):
        ctx = make_context(workflow="flow", run_id=batch_id, partition={"tier": tier}, batch_id=batch_id)
        ledger.finish(ledger.begin(RunRecord(workflow="flow", context=ctx, steps=("a",))), RunStatus.OK)
    clock.advance(timedelta(days=90))
    assert ledger.prune(clock.now()).runs == len(tiers)


def test_a_partition_that_was_pruned_is_done(ledger: Ledger, clock: FakeClock) -> None:
    """Its outcome says so, unless a run of it is recorded or done; counts and standings are the same."""
    ledger.batches.put(replace(BATCH, created_at=NOON + timedelta(days=100)))
    tiers = [*(str(state) for state in PartitionState), "T1", "T2"]
    prune_versions(ledger, clock, *tiers)
    notes = [a_note(f"tier={state}", state) for state in PartitionState if state is not PartitionState.PRUNED]
    for noted in ([], notes):
        ledger.batches.record_outcomes("b1", noted)
        a_run(ledger, "T2", status=RunStatus.FAILED)
        for texts in (None, [f"tier={tier}" for tier in tiers]):
            outcomes = list(ledger.batches.iter_outcomes("b1", texts, workflow="flow"))
            assert list(ledger.batches.iter_outcomes("b1", texts)) == outcomes
            found = {run.partition: run for run in outcomes}
            assert found["tier=T2"].state is PartitionState.FAILED
            assert (found["tier=T1"].state, found["tier=T1"].has_run) == (PartitionState.PRUNED, False)
            kept = {"ok", "skipped"} if noted else set()
            pruned = {tier for tier in tiers if found[f"tier={tier}"].state is PartitionState.PRUNED}
            assert pruned == {*tiers} - {*kept, "T2"}
        assert ledger.batches.count_outcomes("b1", "flow") == Counter(str(run.state) for run in outcomes)
        assert list(ledger.batches.iter_standings("b1", "flow")) == list(map(Standing.of, outcomes))
        assert set(ledger.batches.iter_partitions("b1", "flow", besides="batch__")) == found.keys()
    assert ledger.batches.count_outcomes("b1", "other") == {}


def test_a_batch_with_what_was_pruned_is_whole(ledger: Ledger, clock: FakeClock) -> None:
    """Its status counts it as done, and says that it was pruned."""
    ledger.batches.put(replace(BATCH, created_at=NOON + timedelta(days=100)))
    prune_versions(ledger, clock, "T1")
    a_run(ledger, "T2", status=RunStatus.OK)
    status = BatchStatus.of(ledger, "b1")
    assert (dict(status.counts), status.complete, dict(status.engines)) == ({"ok": 1, "pruned": 1}, True, {"local": 1})
