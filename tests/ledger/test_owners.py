"""One owner of a run, of a capture and of a batch: of all who want it at once one gets it, and the others are told."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from durable_flow import effects
from flowctx import RunAlive, RunExists, StepStatus, Superseded, resume, run
from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.records import CaptureKey, RunRecord, RunStatus, StepRecord
from flowctx.ledger import open_ledger
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import make_context
from flowctx.testing.clock import NOON
from postgres import postgres_database
from racing import Racers, halting, same_capture

#: How many times each race is run; ``FLOWCTX_TEST_ROUNDS=20`` for the long run.
ROUNDS = int(os.environ.get("FLOWCTX_TEST_ROUNDS", "3"))
#: How many race, and how many times.
RACES = [(2, 4 * ROUNDS), (16, ROUNDS)]


@pytest.fixture(scope="module", name="all_racers")
def _all_racers():
    """Sixteen processes that race in all tests."""
    racers = Racers([2, 16])
    yield racers
    racers.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def race_url(request, tmp_path_factory):
    """The URL of a database of either kind, in which all races are."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('races') / 'ledger.db'}"
        return
    with postgres_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture
def go(all_racers, race_url, count):
    """A function that has so many processes do something at once, and returns what became of it for each."""
    return partial(all_racers.go, count, race_url)


@pytest.fixture
def notes(tmp_path):
    return lambda name: str(tmp_path / name)


def losers(outcomes, *errors):
    """Return how many were told that they lost, by one of these errors."""
    return sum(outcome.split(":")[0] in errors for outcome in outcomes)


def kinds(outcomes):
    """Count outcomes of each kind."""
    return dict(Counter(outcome.split(":")[0] for outcome in outcomes))


def race_to_resume(go, url, count, rounds, notes):
    ledger = open_ledger(url)
    for number in range(rounds):
        run_id = f"resumed-{count}-{number}"
        run(halting, run_id=run_id, params={"effects": notes(run_id)}, ledger=ledger)
        outcomes = go("resume", run_id)
        lost = losers(outcomes, "Superseded", "RunAlive")
        # Who comes when it is all over is given the finished run, and has run nothing.
        assert outcomes.count("ok") + lost == count, outcomes
        assert effects(notes(run_id)) == ["a", "b", "c"], outcomes
        assert ledger.get_run(run_id).attempt == 2
    ledger.close()


def race_to_run(go, url, count, rounds, notes):
    ledger = open_ledger(url)
    for number in range(rounds):
        run_id = f"run-{count}-{number}"
        outcomes = go("run", run_id, notes(run_id))
        assert kinds(outcomes) == {"ok": 1, "RunExists": count - 1}
        assert effects(notes(run_id)) == ["a", "b", "c"]
    ledger.close()


@pytest.mark.parametrize(("count", "rounds"), RACES)
def test_of_many_who_resume_a_run_one_does(go, race_url, notes, count, rounds):
    """Each remaining step runs once; the others are told before their first step."""
    race_to_resume(go, race_url, count, rounds, notes)


@pytest.mark.parametrize(("count", "rounds"), RACES)
def test_of_many_who_begin_a_run_one_does(go, race_url, notes, count, rounds):
    """Each step of a run id that several begin at once runs once; the others are told that it exists."""
    race_to_run(go, race_url, count, rounds, notes)


@pytest.mark.parametrize(("count", "rounds"), RACES)
def test_nobody_resumes_a_run_that_is_alive(go, race_url, notes, count, rounds):
    """Of many who resume a run that somebody is at, each is told so, and no step runs."""
    ledger = open_ledger(race_url)
    for number in range(rounds):
        alive = a_run(f"alive-{count}-{number}", params={"effects": notes(f"alive-{count}-{number}"), "halt": False})
        ledger.begin(alive, lease=timedelta(hours=1))
        outcomes = go("resume", alive.run_id)
        assert losers(outcomes, "RunAlive") == count, outcomes
        assert effects(notes(alive.run_id)) == []
    ledger.close()


@pytest.mark.parametrize(("count", "rounds"), RACES)
def test_of_many_who_want_a_capture_one_gets_it(go, race_url, count, rounds):
    """A capture is granted once; one whose lease ran out, once more, and who held it is told."""
    ledger = open_ledger(race_url)
    for number in range(rounds):
        outcomes = go("claim", f"claimed-{count}-{number}")
        assert kinds(outcomes) == {"token 1": 1, "CaptureHeld": count - 1}
        key = CaptureKey(idempotency_key=f"stale-{count}-{number}", capture_id=f"stale-{count}-{number}")
        ledger.claim(key, holder="stale", lease=-timedelta(minutes=1))  # it ran out a minute ago
        former, *rivals = go("take over", key.capture_id)
        assert former == "complete" or former.startswith("Superseded"), former
        assert kinds(rivals) == {"token 2": 1, **({"CaptureHeld": count - 2} if count > 2 else {})}
        (capture,) = ledger.captures(idempotency_key=key.idempotency_key)
        assert (capture.holder, str(capture.state)) == (f"racer {rivals.index('token 2') + 1}", "held")
    ledger.close()


@pytest.mark.parametrize(("count", "rounds"), RACES)
def test_of_many_who_take_a_capture_over_one_writes_it(go, race_url, count, rounds):
    """Of runs that want the capture of one that stalled, one begins; the stalled one is refused from then on."""
    ledger = open_ledger(race_url)
    for number in range(rounds):
        name = f"stalled-{count}-{number}"
        stalled = ledger.begin(same_capture(name, name), lease=-timedelta(minutes=1))  # it ran out a minute ago
        former, *rivals = go("begin instead", stalled.run_id)
        assert former == "recorded" or former.startswith("Superseded"), former
        assert kinds(rivals) == {"True": 1, **({"CaptureHeld": count - 2} if count > 2 else {})}
        assert ledger.get_run(stalled.run_id).status is RunStatus.FAILED
        with pytest.raises(Superseded):
            ledger.record(stalled, [StepRecord(step="a", status=StepStatus.OK, started_at=NOON)])
    ledger.close()


@pytest.mark.parametrize(("count", "rounds"), RACES)
def test_of_many_who_launch_a_batch_one_leads(go, race_url, count, rounds):
    """A batch that several launch at once asks for what its leader asks for; who is refused has changed nothing."""
    ledger = open_ledger(race_url)
    for number in range(rounds):
        outcomes = go("lead", f"batch-{count}-{number}")
        assert kinds(outcomes) == {"leads": 1, "Refused": count - 1}
        assert ledger.batches.get(f"batch-{count}-{number}").selection == f"by {outcomes.index('leads')}"
    ledger.close()


@pytest.mark.parametrize(("count", "rounds"), RACES)
def test_no_launch_that_is_refused_erases_a_cancel(go, race_url, count, rounds):
    """A cancel that comes with launches of a batch that somebody leads stays, and so does what the leader asked for."""
    ledger = open_ledger(race_url)
    batch = BatchRecord(batch_id="", workflow="flow", selection="by the leader", created_at=NOON)
    for number in range(rounds):
        batch = replace(batch, batch_id=f"canceled-{count}-{number}")
        ledger.batches.lead(batch.batch_id, "leader", timedelta(hours=1), lambda known, batch=batch: batch)
        outcomes = go("lead or cancel", batch.batch_id)
        assert kinds(outcomes) == {"canceled": 1, "Refused": count - 1}
        found = ledger.batches.get(batch.batch_id)
        assert (found.selection, found.canceled_at is not None) == ("by the leader", True)
    ledger.close()


# -- a run that is alive ----------------------------------------------------------------------------------------------


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
