"""What is known of a batch and of its partitions."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import PartitionKey
from flowctx.core.batches.records import Job, PartitionRun, PartitionState, batch_run_id
from flowctx.core.workflow.run_request import NO_REQUEST

NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)
KEY = PartitionKey(date="2012-01-03", symbol="IBM")
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


def test_what_is_done_has_ended():
    """Only a success or a skip, pruned or not, leaves nothing to do; what is launched or running has not ended."""
    assert {str(state) for state in PartitionState if state.done} == {"ok", "skipped", "pruned"}
    assert {state for state in PartitionState if not state.ended} == {PartitionState.LAUNCHED, PartitionState.RUNNING}


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [({"started_at": NOON, "ended_at": NOON + timedelta(minutes=1)}, 60.0), ({"started_at": NOON}, None), ({}, None)],
)
def test_a_run_takes_as_long_as_is_known(fields, seconds):
    """Without a start or an end there is no duration, rather than a wrong one."""
    run = PartitionRun(partition="", state=PartitionState.OK, run_id="r", engine="local", last_seen_at=NOON, **fields)
    assert run.seconds == seconds


def test_a_job_has_the_text_of_its_key():
    """A run without partitions has none."""
    assert Job(key=KEY, run_id="r", params={}, request=NO_REQUEST).partition == "date=2012-01-03|symbol=IBM"
    assert Job(key=None, run_id="r", params={}, request=NO_REQUEST).partition == ""


@given(VALUES, VALUES, VALUES)
def test_a_run_id_is_taken_by_every_engine(workflow, batch_id, value):
    """It has at most 150 of the characters that Airflow takes, no two dots in a row, and can name a file."""
    run_id = batch_run_id(workflow, batch_id, PartitionKey(symbol=value), value)
    assert re.fullmatch(r"[A-Za-z0-9_.:+~-]{1,150}", run_id)
    assert ".." not in run_id


@given(VALUES, VALUES)
def test_one_partition_of_one_batch_has_one_run_id(one, other):
    """Whoever launches a partition gives it the same id, and another batch, workflow or key another one."""
    ids = {
        batch_run_id("flow", batch, PartitionKey(symbol=value), "text")
        for batch in (one, other)
        for value in (one, other)
    }
    assert len(ids) == len({(batch, value) for batch in (one, other) for value in (one, other)})
    assert batch_run_id("flow", one, KEY, "text") == batch_run_id(
        "flow", one, PartitionKey(symbol="IBM", date="2012-01-03"), "text"
    )
    assert batch_run_id("flow", one, KEY, "text") != batch_run_id("wolf", one, KEY, "text")


def test_a_run_id_is_for_people_to_read():
    """The batch and the values stand in it, cut where they are long."""
    assert batch_run_id("prices", "restate 2012", KEY, "2012-01-03|IBM").startswith(
        "batch__restate-2012__2012-01-03~IBM__"
    )
    assert len(batch_run_id("prices", "b" * 200, KEY, "v" * 200)) <= 150
