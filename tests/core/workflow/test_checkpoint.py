"""How far a run had come that is continued."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import CheckpointState, ContextError

NAMES = st.text(max_size=5)
CHECKPOINTS = st.builds(
    CheckpointState,
    completed=st.lists(NAMES),
    failed=st.none() | NAMES,
    error=st.none() | NAMES,
    attempt=st.integers(1, 9),
    resumed_from=st.none() | NAMES,
)


@given(CHECKPOINTS)
def test_a_checkpoint_comes_back(checkpoint):
    """What is written as JSON is read back, equal in every field."""
    assert CheckpointState.from_dict(json.loads(json.dumps(checkpoint.to_dict()))) == checkpoint


def test_fields_of_newer_versions_are_ignored():
    """An older reader takes what it knows, and has defaults for the rest."""
    assert CheckpointState.from_dict({"attempt": 2, "mood": "good"}) == CheckpointState(attempt=2)


def test_completed_steps_are_a_tuple():
    """A list is taken, and kept as a value that cannot be changed."""
    assert CheckpointState(completed=["a", "b"]).completed == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"completed": "fetch"}, "completed='fetch' is text; pass the names of steps in a tuple"),
        ({"completed": (1,)}, "must hold names of steps"),
        ({"attempt": 0}, "attempt=0 must be an int from 1"),
        ({"attempt": True}, "attempt=True must be an int from 1"),
        ({"attempt": "2"}, "attempt='2' must be an int"),
        ({"failed": 5}, "failed=5 must be text or None"),
        ({"error": 5}, "error=5 must be text or None"),
        ({"resumed_from": 5}, "resumed_from=5 must be text or None"),
    ],
)
def test_checkpoints_are_checked(fields, message):
    """A checkpoint of the wrong kind is refused where it enters, by the name of the field."""
    with pytest.raises(ContextError, match=message):
        CheckpointState(**fields)
