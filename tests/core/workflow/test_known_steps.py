"""A slip in the name of a step is heard."""

import warnings

import pytest

from flowctx.core.workflow.known_steps import steps_known, warn_of_no_step


@pytest.mark.parametrize(
    ("name", "hint"), [("lod", "did you mean 'load'?"), ("x", "it has load, use"), (5, "it has load, use")]
)
def test_a_slip_is_heard(name, hint):
    """The warning has the name that was asked for, and the one that was probably meant or all there are."""
    with steps_known(["load", "use"]), pytest.warns(UserWarning, match="get_output") as heard:
        warn_of_no_step(name)
    assert f"get_output({name!r}): the workflow has no such step; {hint}" in str(heard[0].message)


def test_a_step_that_is_there_is_no_slip():
    """Nothing is said of a name that the workflow has, nor where it is not known which there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with steps_known(["load"]):
            warn_of_no_step("load")
        warn_of_no_step("lod")


def test_what_is_known_ends_with_the_block():
    """Inside another block the inner one's steps are known, and after it the outer one's."""
    with steps_known(["load"]):
        with warnings.catch_warnings(), steps_known(["lod"]):
            warnings.simplefilter("error")
            warn_of_no_step("lod")
        with pytest.warns(UserWarning, match="did you mean 'load'?"):
            warn_of_no_step("lod")


def test_a_step_of_no_workflow_knows_what_its_engine_does():
    """Inside a block of nobody's steps, those of the block around it are known."""
    with steps_known(["load"]), steps_known(()), pytest.warns(UserWarning, match="did you mean 'load'?"):
        warn_of_no_step("lod")
