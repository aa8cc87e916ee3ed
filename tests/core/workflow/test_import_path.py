"""Where workflows are in the code."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from durable_flow import flow
from flowctx import Workflow, WorkflowError
from flowctx.core.workflow.import_path import import_path_of, import_workflow

SOURCE = """
from flowctx import Workflow
prices = Workflow("prices")
prices.step(name="a")(lambda ctx: {})
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of one workflow; its name is this test's own."""
    (tmp_path / "targets_example.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "targets_example.py"
    sys.modules.pop("targets_example", None)


def test_a_workflow_is_found_where_it_says_it_is():
    """The place of a workflow leads back to it."""
    assert import_path_of(flow) == "durable_flow:flow"
    assert import_workflow("durable_flow:flow") is flow


def test_a_module_or_a_file_names_a_workflow(module):
    """A workflow is found by module or by file, and without its name if it is the only one."""
    found = import_workflow("targets_example:prices")
    assert found.name == "prices"
    assert import_workflow("targets_example") is found
    assert import_workflow(f"{module}:prices") is found


def test_a_file_is_imported_once(tmp_path):
    """A workflow named by its file is the same the second time."""
    file = tmp_path / "targets_by_file.py"
    file.write_text(SOURCE)
    assert import_workflow(f"{file}:prices") is import_workflow(str(file))
    del sys.modules["targets_by_file"]


def test_a_module_that_nobody_else_finds_is_a_file(module, monkeypatch):
    """Airflow makes up module names for its DAG files; another process finds the workflow by the file."""
    spec = importlib.util.spec_from_file_location("unusual_prefix_5f3d_targets_example", module)
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, loaded)
    source = module.read_text().replace("lambda ctx: {}", "load") + "\n"
    exec(compile(f"def load(ctx): return {{}}\n{source}", str(module), "exec"), vars(loaded))
    assert import_path_of(loaded.prices) == f"{module}:prices"


def test_a_workflow_of_no_module_has_no_place():
    """A workflow that no module holds cannot be found again."""
    nowhere = Workflow("nowhere")
    nowhere.step(name="a")(lambda ctx: {})
    assert import_path_of(nowhere) is None


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("no_such_module:x", "no module 'no_such_module'.*file.py:name"),
        ("durable_flow:nope", "no workflow 'nope'; it has flow"),
        ("flowctx.core.errors", "say which workflow.*it has none"),
        ("nowhere.py:x", "no file 'nowhere.py'"),
        ("a b:c", "write module:name or file.py:name"),
    ],
)
def test_a_wrong_place_is_explained(target, why):
    """A place that has no workflow is an error that says what it has, or how to write it."""
    with pytest.raises(WorkflowError, match=why):
        import_workflow(target)


def test_an_error_inside_the_module_is_its_own(tmp_path, monkeypatch):
    """A module that fails to import something else is one that cannot be imported, and says what it lacks."""
    (tmp_path / "targets_broken.py").write_text("import no_such_library_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        WorkflowError, match="cannot be imported: ModuleNotFoundError: .*no_such_library_at_all"
    ) as info:
        import_workflow("targets_broken:x")
    assert isinstance(info.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize("by_file", [False, True])
@pytest.mark.parametrize(
    ("line", "why"), [("raise SystemExit(0)", r"it called sys\.exit\(0\)"), ("raise GeneratorExit", "GeneratorExit")]
)
def test_a_module_that_ends_the_process_cannot_be_imported(tmp_path, monkeypatch, line, why, by_file):
    """A module that exits when it is imported is an error, and the process goes on."""
    file = tmp_path / "targets_exit.py"
    file.write_text(f"{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WorkflowError, match=f"cannot be imported: {why}"):
        import_workflow(str(file) if by_file else "targets_exit:x")
    assert "targets_exit" not in sys.modules


@pytest.mark.parametrize("by_file", [False, True])
def test_ctrl_c_in_an_import_interrupts(tmp_path, monkeypatch, by_file):
    """Ctrl-C while a module is imported stays an interruption, and nothing of the module stays."""
    file = tmp_path / "targets_ctrl_c.py"
    file.write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import_workflow(str(file) if by_file else "targets_ctrl_c:x")
    assert "targets_ctrl_c" not in sys.modules
