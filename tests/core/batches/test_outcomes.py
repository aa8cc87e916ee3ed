"""Which of several accounts of one partition counts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx.core.batches.outcomes import winning_outcome
from flowctx.core.batches.records import PartitionRun, PartitionState

NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)


def account(run_id, state, minute=0, **fields):
    """Return what is said of a run at some minutes after noon."""
    return PartitionRun(
        partition="p",
        state=PartitionState(state),
        run_id=run_id,
        engine="airflow",
        last_seen_at=NOON + timedelta(minutes=minute),
        **fields,
    )


def steps(run_id, state, minute=0, **fields):
    """Return what a run's own steps recorded."""
    return account(run_id, state, minute, recorded=True, **fields)


def test_there_must_be_an_account():
    """Of nothing there is no outcome."""
    with pytest.raises(ValueError, match="empty"):
        winning_outcome([])


@pytest.mark.parametrize(
    ("accounts", "winner"),
    [
        ([account("a", "failed", 1), account("b", "running", 2)], ("b", "running")),
        ([steps("a", "ok", 1), account("b", "failed", 2)], ("a", "ok")),
        ([steps("a", "ok", 1), account("b", "running", 2)], ("a", "ok")),
        ([steps("a", "ok", 1), steps("b", "failed", 2)], ("b", "failed")),
        ([steps("a", "failed", 1), account("b", "launched", 2)], ("b", "launched")),
        ([steps("a", "skipped", 1), account("b", "failed", 2)], ("a", "skipped")),
        ([steps("a", "skipped", 1), account("b", "running", 2)], ("b", "running")),
        ([steps("a", "ok", 1), steps("b", "ok", 2, part=True)], ("b", "ok")),
        ([steps("a", "ok", 1), steps("b", "failed", 2, part=True)], ("a", "ok")),
        ([steps("a", "failed", 1), steps("b", "partial", 2, part=True)], ("b", "partial")),
    ],
)
def test_the_latest_run_that_wrote_the_capture_counts(accounts, winner):
    """What is captured stays so; only while the partition is not done does the word of another run count."""
    for order in (accounts, accounts[::-1]):
        found = winning_outcome(order)
        assert (found.run_id, found.state) == winner


@pytest.mark.parametrize(
    ("recorded", "engine", "state"),
    [
        (steps("a", "ok", 1), account("a", "failed", 2), "ok"),
        (steps("a", "running", 1), account("a", "failed", 2), "failed"),
        (steps("a", "running", 1), account("a", "ok", 2), "partial"),
        (steps("a", "running", 3), account("a", "failed", 2), "running"),
        (steps("a", "running", 1), account("a", "running", 2), "running"),
        (steps("a", "running", 1), account("a", "failed", 2, attempt=0), "running"),
        (steps("a", "ok", 1), account("a", "running", 2), "ok"),
        (steps("a", "ok", 1), account("a", "launched", 2), "ok"),
        (steps("a", "skipped", 1), account("a", "running", 2), "skipped"),
        (steps("a", "skipped", 1), account("a", "launched", 2, attempt=2), "launched"),
        (steps("a", "failed", 1), account("a", "running", 2), "running"),
        (steps("a", "failed", 1), account("a", "canceled", 2), "canceled"),
        (steps("a", "ok", 1), account("a", "canceled", 2), "ok"),
        (steps("a", "failed", 3), account("a", "canceled", 2), "failed"),
    ],
)
def test_two_accounts_of_one_run_are_merged(recorded, engine, state):
    """Its steps say what is done, its engine whether it is over."""
    assert winning_outcome([recorded, engine]).state == state
    assert winning_outcome([engine, recorded]).state == state


def test_a_run_that_begins_again_has_the_capture():
    """What an engine runs again hides what was captured before it as its steps did: the capture was theirs."""
    again = [steps("a", "ok", 1), steps("b", "failed", 2), account("b", "running", 3)]
    assert (winning_outcome(again).run_id, winning_outcome(again).state) == ("b", "running")


@pytest.mark.parametrize("state", ["canceled", "failed", "running"])
def test_what_an_engine_says_late_hides_no_later_capture(state):
    """A run that wrote before another one stays the earlier, whenever its engine is heard of again."""
    late = [steps("a", "canceled", 1), steps("b", "ok", 2), account("a", state, 3)]
    assert (winning_outcome(late).run_id, winning_outcome(late).state) == ("b", "ok")


def test_the_engine_says_why_where_the_steps_do_not():
    """A failure without a reason takes that of the engine; a reason of its own stays."""
    engine = account("a", "failed", 2, error="out of memory", step="load")
    found = winning_outcome([steps("a", "failed", 1), engine])
    assert (found.error, found.step, found.recorded) == ("out of memory", "load", True)
    assert winning_outcome([steps("a", "failed", 1, error="no rows"), engine]).error == "no rows"


@pytest.mark.parametrize("state", ["ok", "skipped", "partial"])
def test_why_a_run_failed_is_not_said_of_one_that_went_on(state):
    """It was noted when a worker died, say: of a run that is ok, an error would be that of an optional step."""
    died = account("a", "failed", 1, attempt=0, error="its worker process ended by signal SIGKILL")
    found = winning_outcome([steps("a", state, 2), died])
    assert (found.state, found.error) == (state, None)


ACCOUNTS = st.lists(
    st.builds(
        account,
        st.sampled_from("abc"),
        st.sampled_from(list(PartitionState)),
        st.integers(0, 99),
        recorded=st.booleans(),
        part=st.booleans(),
    ),
    min_size=1,
    unique_by=(lambda one: (one.run_id, one.recorded), lambda one: one.last_seen_at),
)


@given(ACCOUNTS, st.randoms())
def test_the_order_of_accounts_does_not_matter(accounts, random):
    """Of the same accounts the same one counts, however they are read, and it is one of a run that there is."""
    found = winning_outcome(accounts)
    random.shuffle(accounts)
    assert winning_outcome(accounts) == found
    assert found.run_id in {one.run_id for one in accounts}


@pytest.mark.parametrize("state", ["running", "ok", "failed", "skipped"])
def test_what_was_noted_as_waiting_counts_until_its_run_begins(state):
    """From then on its steps say how it stands, with their own reasons."""
    waiting = account("r1", "waiting", 5, attempt=0, error="waits for another")
    run = steps("r1", state, 3)
    assert winning_outcome([waiting]) is waiting
    assert winning_outcome([waiting, run]) == run
