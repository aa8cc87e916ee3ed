"""A slip in the name of a step is heard."""

import logging

import pytest

from flowctx.core.workflow.known_steps import steps_known, warn_of_no_step


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.WARNING, "flowctx")
    return caplog


@pytest.mark.parametrize(
    ("name", "hint"), [("lod", "did you mean 'load'?"), ("x", "it has load, use"), (5, "it has load, use")]
)
def test_a_slip_is_heard(log, name, hint):
    """The warning has the name that was asked for, and the one that was probably meant or all there are."""
    with steps_known(["load", "use"]):
        warn_of_no_step(name)
    assert f"get_output({name!r}): the workflow has no such step; {hint}" in log.text


def test_a_step_that_is_there_is_no_slip(log):
    """Nothing is said of a name that the workflow has, nor where it is not known which there are."""
    with steps_known(["load"]):
        warn_of_no_step("load")
    warn_of_no_step("lod")
    assert log.text == ""


def test_what_is_known_ends_with_the_block(log):
    """Inside another block the inner one's steps are known, and after it the outer one's."""
    with steps_known(["load"]):
        with steps_known(["lod"]):
            warn_of_no_step("lod")
        assert log.text == ""
        warn_of_no_step("lod")
    assert "did you mean 'load'?" in log.text
