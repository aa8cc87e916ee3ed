"""The table [tool.flowctx] of a project."""

from __future__ import annotations

import sys

import pytest

from flowctx import WorkflowError
from flowctx.core.workflow.import_path import import_recorded, import_workflow
from flowctx.core.workflow.named_workflows import is_named_file, named_workflows

SOURCE = """
from flowctx import Workflow
prices = Workflow("prices")
prices.step(name="a")(lambda ctx: {})
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that names a workflow in a file, and a folder in it that is the working folder."""
    (tmp_path / "named_example.py").write_text(SOURCE)
    (tmp_path / "pyproject.toml").write_text('[tool.flowctx]\nprices = "named_example.py:prices"\nnav = "flows:nav"\n')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    yield tmp_path
    sys.modules.pop("named_example", None)


def test_files_are_from_the_tables_folder(project):
    """A file in the table is found from folders below as well; a module stays a module."""
    assert named_workflows() == {"prices": f"{project / 'named_example.py'}:prices", "nav": "flows:nav"}
    assert import_workflow(named_workflows()["prices"]).name == "prices"


def test_a_row_may_name_a_file_that_the_user_names(project):
    """What a ledger says is in a file is run if the user's own table names that file and workflow."""
    assert import_recorded(f"{project / 'named_example.py'}:prices").name == "prices"
    assert import_recorded(f"{project}/below/../named_example.py:prices").name == "prices"


@pytest.mark.parametrize("place", ["named_example.py:other", "evil.py:prices", "named_example.py"])
def test_a_row_may_name_no_other_file(project, place):
    """Another file, or another name in it, is not run on a row's word."""
    (project / "evil.py").write_text("raise SystemExit('it ran')")
    assert not is_named_file(str(project / "evil.py"), "prices")
    with pytest.raises(WorkflowError, match=r"not run on its word; pass it yourself .*\[tool.flowctx\]"):
        import_recorded(f"{project}/{place}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[tool.flowctx", "is no TOML"),
        ("[tool.flowctx]\nprices = 3\n", r"\[tool.flowctx\] of .* has .*write prices = \"flows:prices\""),
        ("[tool]\nflowctx = 'flows:prices'\n", r"\[tool.flowctx\] of .* has flows:prices; write"),
    ],
)
def test_a_wrong_table_says_what_to_write(project, text, why):
    """What is no table of names is an error that names the file."""
    (project / "pyproject.toml").write_text(text)
    with pytest.raises(WorkflowError, match=why):
        named_workflows()


def test_without_a_table_there_are_no_names(tmp_path, monkeypatch):
    """A pyproject.toml without the table names nothing."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(tmp_path)
    assert named_workflows() == {}
