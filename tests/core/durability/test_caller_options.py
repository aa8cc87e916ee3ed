"""What a caller may wish of a run."""

from __future__ import annotations

import pytest

from flowctx import ContextError
from flowctx.core.durability.caller_options import wishes


def test_without_wishes_a_run_is_an_ordinary_one():
    """What is not said has its default."""
    assert wishes({}.get) == {
        "resume_from": None,
        "from_step": None,
        "accept_changes": False,
        "on_captured": "recapture",
    }


@pytest.mark.parametrize("value", [True, "true"])
def test_wishes_may_be_text(value):
    """Tags are text, and conf is JSON."""
    found = wishes({"resume_from": "r", "from_step": "s", "accept_changes": value, "on_captured": "skip"}.get)
    assert found == {"resume_from": "r", "from_step": "s", "accept_changes": True, "on_captured": "skip"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"resume_from": 3}, "resume_from is 3; it must be text"),
        ({"resume_from": ""}, "leave it out if there is none"),
        ({"from_step": "load"}, "add resume_from"),
        ({"on_captured": "maybe"}, "on_captured is 'maybe'; it must be 'recapture' or 'skip'"),
        ({"on_captured": ["skip"]}, "it must be 'recapture' or 'skip'"),
        ({"accept_changes": "yes"}, "it must be 'false' or 'true'"),
    ],
)
def test_wrong_wishes_are_refused(said, words):
    """A wish that cannot be is named, with what it can be."""
    with pytest.raises(ContextError, match=words):
        wishes(said.get)
