"""The version of a step's code."""

from __future__ import annotations

import functools
import sys
from types import ModuleType

import pytest

from flowctx import Workflow, WorkflowError
from flowctx.core.workflow.code_version import code_version


def plain(ctx):
    return {"n": 1}


def commented(ctx):
    """Return one."""
    # And nothing else.
    return {
        "n": 1,
    }


def other(ctx):
    return {"n": 2}


def test_comments_layout_and_names_do_not_count():
    """Two functions that do the same, whatever they are called and however they look, have one version."""
    assert code_version(plain) == code_version(commented)


def test_what_the_function_does_counts():
    """A function that does something else has another version."""
    assert code_version(plain) != code_version(other)


def test_no_other_module_is_looked_at():
    """The source is found without a search in all modules, of which an engine has thousands."""

    class Watched(ModuleType):
        @property
        def __file__(self):
            raise AssertionError("looked at")

    def step(ctx):
        return {"n": 3}

    sys.modules["watched"] = Watched("watched")
    try:
        assert code_version(step) is not None
    finally:
        del sys.modules["watched"]


def test_wrappers_are_looked_through():
    """A wrapped function and a partial one have the version of the function itself."""

    @functools.wraps(plain)
    def wrapped(ctx):
        return plain(ctx)

    assert code_version(wrapped) == code_version(functools.partial(plain)) == code_version(plain)


def test_a_callable_object_has_the_version_of_its_call():
    """A callable object is versioned by its __call__."""

    class One:
        def __call__(self, ctx):
            return {"n": 1}

    class Two:
        def __call__(self, ctx):
            return {"n": 2}

    assert code_version(One()) != code_version(Two())
    assert code_version(One()) is not None


def test_code_without_source_has_no_version():
    """Where there is no source there is no version, and nothing to compare."""
    space = {}
    exec("def made(ctx): return {}", space)
    assert code_version(space["made"]) is None
    assert code_version(len) is None


def test_the_author_may_say_the_version():
    """A version= of the author's stands instead of the digest; it must be text."""
    flow = Workflow("flow")
    flow.step(name="a", version="2026.1")(plain)
    flow.step(name="b")(plain)
    assert flow["a"].code_version == "2026.1"
    assert flow["b"].code_version == code_version(plain)
    with pytest.raises(WorkflowError, match="version=2 of step 'c' must be text"):
        flow.step(name="c", version=2)(plain)
