"""One owner of a run, of a capture and of a batch: of all who want it at once one gets it, and the others are told."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from durable_flow import effects
from flowctx import RunAlive, RunExists, StepStatus, Superseded, resume, run
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.ledger import open_ledger
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import FakeClock, make_context
from flowctx.testing.clock import NOON
from racing import halting, racers

#: How many race, and how many times.
FEW = [(2, 4), (16, 2)]
MANY = [(2, 20), (16, 20)]


@pytest.fixture
def notes(tmp_path):
    return lambda name: str(tmp_path / name)


def losers(outcomes, *errors):
    """Return how many were told that they lost, by one of these errors."""
    return sum(outcome.split(":")[0] in errors for outcome in outcomes)


def race_to_resume(url, count, rounds, notes):
    ledger = open_ledger(url)
    with racers(url, count) as go:
        for number in range(rounds):
            run_id = f"resumed-{number}"
            run(halting, run_id=run_id, params={"effects": notes(run_id)}, ledger=ledger)
            outcomes = go("resume", run_id)
            told = losers(outcomes, "Superseded", "RunAlive")
            # Who comes when it is all over is given the finished run, and has run nothing.
            assert outcomes.count("ok") + told == count, outcomes
            assert effects(notes(run_id)) == ["a", "b", "c"], outcomes
            assert ledger.get_run(run_id).attempt == 2
    ledger.close()


def race_to_run(url, count, rounds, notes):
    ledger = open_ledger(url)
    with racers(url, count) as go:
        for number in range(rounds):
            run_id = f"run-{number}"
            outcomes = go("run", run_id, notes(run_id))
            assert Counter(outcome.split(":")[0] for outcome in outcomes) == {"ok": 1, "RunExists": count - 1}
            assert effects(notes(run_id)) == ["a", "b", "c"]
    ledger.close()


@pytest.mark.parametrize(("count", "rounds"), FEW)
def test_of_many_who_resume_a_run_one_does(sql_url, notes, count, rounds):
    """Each remaining step runs once; the others are told before their first step."""
    race_to_resume(sql_url, count, rounds, notes)


@pytest.mark.parametrize(("count", "rounds"), FEW)
def test_of_many_who_begin_a_run_one_does(sql_url, notes, count, rounds):
    """Each step of a run id that several begin at once runs once; the others are told that it exists."""
    race_to_run(sql_url, count, rounds, notes)


@pytest.mark.parametrize(("count", "rounds"), FEW)
def test_of_many_who_claim_a_capture_one_gets_it(sql_url, count, rounds):
    """A capture is granted once, at its first token."""
    with racers(sql_url, count) as go:
        for number in range(rounds):
            outcomes = go("claim", f"claimed-{number}")
            assert Counter(outcome.split(":")[0] for outcome in outcomes) == {"token 1": 1, "CaptureHeld": count - 1}


@pytest.mark.parametrize(("count", "rounds"), FEW)
def test_of_many_who_launch_a_batch_one_leads(sql_url, count, rounds):
    """A batch that several launch at once asks for what its leader asks for; who is refused has changed nothing."""
    ledger = open_ledger(sql_url)
    with racers(sql_url, count) as go:
        for number in range(rounds):
            outcomes = go("lead", f"batch-{number}")
            assert Counter(outcome.split(":")[0] for outcome in outcomes) == {"leads": 1, "Refused": count - 1}
            assert ledger.batches.get(f"batch-{number}").selection == f"by {outcomes.index('leads')}"
    ledger.close()


@pytest.mark.e2e
@pytest.mark.parametrize(("count", "rounds"), MANY)
def test_twenty_rounds_of_each_race(sql_url, notes, count, rounds):
    """Twenty rounds of each race end as one does."""
    race_to_resume(sql_url, count, rounds, notes)
    race_to_run(sql_url, count, rounds, notes)
    test_of_many_who_claim_a_capture_one_gets_it(sql_url, count, rounds)
    test_of_many_who_launch_a_batch_one_leads(sql_url, count, rounds)


# -- a run that is alive ----------------------------------------------------------------------------------------------


@pytest.fixture
def clock():
    return FakeClock()


def a_run(run_id="r1", **fields):
    return RunRecord(
        workflow="halting", context=make_context(workflow="halting", run_id=run_id, **fields), steps=("a",)
    )


def test_a_run_that_is_alive_is_not_resumed(sql_url, notes, clock):
    """Who is at a run, since when and until when is said; taken over, it goes on here and its owner is refused."""
    ledger = SqlLedger(sql_url, clock=clock, owner="process 7 on elsewhere")
    params = {"effects": notes("r1"), "halt": False}
    begun = ledger.begin(a_run(params=params))
    with pytest.raises(RunAlive, match="process 7 on elsewhere is at it since 2026-01-09 12:00:00 UTC.*--take-over"):
        resume("r1", halting, ledger=ledger)
    assert effects(notes("r1")) == []
    assert resume("r1", halting, ledger=ledger, take_over=True).status == "ok"
    with pytest.raises(Superseded):
        ledger.record(begun, [StepRecord(step="a", status=StepStatus.OK, started_at=NOON)])
    ledger.close()


def test_a_run_whose_lease_ran_out_is_resumed(sql_url, notes, clock):
    """A run that has given no sign of life for the time of its lease is anybody's to continue."""
    ledger = SqlLedger(sql_url, clock=clock)
    params = {"effects": notes("r1"), "halt": False}
    ledger.begin(a_run(params=params))
    clock.advance(timedelta(seconds=59))
    with pytest.raises(RunAlive):
        resume("r1", halting, ledger=ledger)
    clock.advance(timedelta(seconds=2))
    assert resume("r1", halting, ledger=ledger).status == "ok"
    ledger.close()


def test_a_run_that_exists_is_not_begun_again(sql_url, clock):
    """A caller who asks for a run of its own is refused one that is there, whoever began it and however it stands."""
    ledger = SqlLedger(sql_url, clock=clock)
    run_there = ledger.begin(a_run())
    with pytest.raises(RunExists, match=r"is under way: process \d+ on .* since 2026-01-09 12:00:00 UTC"):
        ledger.begin(a_run(), exclusive=True)
    ledger.finish(run_there, RunStatus.OK)
    with pytest.raises(RunExists, match="flowctx resume r1"):
        ledger.begin(a_run(), exclusive=True)
    ledger.close()


def test_likeness_is_no_ownership(sql_url, clock):
    """A rival's row that looks exactly as ours would is not taken for ours."""
    ledger, rival = SqlLedger(sql_url, clock=clock), SqlLedger(sql_url, clock=clock)
    before = ledger.begin(a_run())
    again = RunRecord(workflow="halting", context=before.context, attempt=2, steps=("a",))
    rival.begin(again, resumes=before)
    with pytest.raises(Superseded):
        ledger.begin(again, resumes=before)
    for one in (ledger, rival):
        one.close()


def test_a_plan_that_is_out_of_date_is_refused(sql_url, clock):
    """A run that has come further since it was read is not continued by the old plan, which would repeat a step."""
    ledger = SqlLedger(sql_url, clock=clock)
    begun = ledger.begin(a_run())
    ledger.record(begun, [StepRecord(step="a", status=StepStatus.OK, started_at=NOON)])
    following = RunRecord(workflow="halting", context=begun.context, attempt=2)
    with pytest.raises(Superseded, match="has come further since it was read"):
        ledger.begin(following, resumes=begun, seen={})
    assert ledger.statuses(begun.key) == {"a": StepStatus.OK}
    ledger.begin(following, resumes=begun, seen={"a": StepStatus.OK})
    ledger.close()
