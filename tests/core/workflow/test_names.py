"""Names that both engines take."""

import pytest

from flowctx import WorkflowError
from flowctx.core.workflow.names import check_name, listed


def test_a_name_that_both_engines_take_is_returned():
    """Letters, digits and underscores are fine."""
    assert check_name("daily_prices_2", "workflow") == "daily_prices_2"


@pytest.mark.parametrize(
    ("name", "words"), [("1st", "starting with a letter"), ("input", "Dagster reserves it"), (3, "cannot name")]
)
def test_a_name_that_an_engine_would_refuse_is_refused(name, words):
    """The message says what a name may be."""
    with pytest.raises(WorkflowError, match=words):
        check_name(name, "step")


def test_one_text_is_one_name():
    """Wherever names are listed, one of them may stand alone, and is never taken for its letters."""
    assert (listed("fund"), listed(["fund", "tier"]), listed(())) == (["fund"], ["fund", "tier"], [])
