"""The version of a step's code."""

from __future__ import annotations

import functools
import importlib
import os
import re
import subprocess
import sys
import zipfile
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


DEPLOYED = """
from flowctx import Workflow

flow = Workflow("flow")

@flow.step()
def plain(ctx):
    return {{"nav": {nav}}}

def late(ctx):
    return {{"nav": {nav}}}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module with a workflow, and the file that it was imported from."""
    path = tmp_path / "deployed_flows.py"
    path.write_text(DEPLOYED.format(nav=1))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("deployed_flows"), path
    del sys.modules["deployed_flows"]


def test_the_version_is_that_of_the_code_that_was_imported(module):
    """Whatever its file says by then, until it is imported again."""
    imported, path = module
    path.write_text(DEPLOYED.format(nav=100))
    assert imported.flow["plain"].code_version == "91740e258733"
    assert importlib.reload(imported).flow["plain"].code_version == "1c35d395b830"


@pytest.mark.parametrize("text", [DEPLOYED.format(nav=100), "# moved\n" + DEPLOYED.format(nav=1), "(", None])
def test_code_that_is_not_in_its_file_any_more_has_no_version(module, caplog, text):
    """A function that becomes a step after its file has changed: nobody knows what it was, and the log says so."""
    imported, path = module
    path.write_text(text) if text else path.unlink()
    assert imported.flow.step()(imported.late)
    assert imported.flow["late"].code_version is None
    assert "has changed since late was imported from it" in caplog.text
    assert imported.flow["plain"].code_version == "91740e258733"


CHANGED_BY_A_DECORATOR = r"""
from flowctx import Workflow

flow = Workflow("flow")

def renamed(function):
    function.__code__ = function.__code__.replace(co_name="other")
    return function

@flow.step()
@renamed
def tell(ctx):
    return {"text": "\d"}
"""


def test_what_a_decorator_has_changed_has_a_version(tmp_path):
    """It is in no file, and the file is what was imported; warnings of its text are shown as it is imported alone."""
    (tmp_path / "decorated_flows.py").write_text(CHANGED_BY_A_DECORATOR)
    code = "from decorated_flows import flow; print(flow['tell'].code_version)"
    how = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    env = {**os.environ, "PYTHONPYCACHEPREFIX": "kept", "PYTHONDONTWRITEBYTECODE": ""}
    first, again = (
        subprocess.run([sys.executable, *options, "-c", code], env=env, **how) for options in ([], ["-W", "error"])
    )
    assert re.fullmatch("[0-9a-f]{12}\n", first.stdout)
    assert (again.stdout, again.stderr) == (first.stdout, "")


def test_a_function_that_is_given_other_code_has_its_version(module):
    """As IPython's autoreload does: a function that is held somewhere does what the file says now."""
    imported, path = module
    held, step = imported.plain, imported.flow["plain"]
    before = step.code_version
    path.write_text(DEPLOYED.format(nav=100))
    held.__code__ = importlib.reload(imported).plain.__code__
    assert before != step.code_version == imported.flow["plain"].code_version


def test_code_of_an_archive_has_a_version(tmp_path, monkeypatch):
    """Its source is in there, too."""
    with zipfile.ZipFile(tmp_path / "flows.zip", "w") as archive:
        archive.writestr("archived_flows.py", DEPLOYED.format(nav=1))
    monkeypatch.syspath_prepend(tmp_path / "flows.zip")
    assert importlib.import_module("archived_flows").flow["plain"].code_version == "91740e258733"
    del sys.modules["archived_flows"]


def test_the_author_may_say_the_version():
    """A version= of the author's stands instead of the digest; it must be text."""
    flow = Workflow("flow")
    flow.step(name="a", version="2026.1")(plain)
    flow.step(name="b")(plain)
    assert flow["a"].code_version == "2026.1"
    assert flow["b"].code_version == code_version(plain)
    with pytest.raises(WorkflowError, match="version=2 of step 'c' must be text"):
        flow.step(name="c", version=2)(plain)
