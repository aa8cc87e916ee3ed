"""What the pages list is what there is: settings, reserved names, tables, files and public names."""

import json
import re

import pytest

import flowctx
import flowctx.airflow
import flowctx.dagster
import flowctx.testing
from documentation.pages import PAGES, ROOT
from flowctx.airflow._versions import AIRFLOW
from flowctx.core.engine_versions import numbers
from flowctx.core.execution.envelope import ENVELOPE_VERSION
from flowctx.core.workflow.context import FORMAT_VERSION
from flowctx.core.workflow.run_request import RESERVED_NAMES
from flowctx.dagster._versions import DAGSTER
from flowctx.ledger.tables import REVISION, metadata
from reach import results

SOURCE = ROOT / "src" / "flowctx"
CODE = {path: path.read_text() for path in SOURCE.rglob("*.py")}


def page(name):
    return PAGES[f"docs/{name}"].read_text()


def test_all_settings_are_listed():
    """``settings.md`` has every environment variable that the code reads, and no other of ours."""
    used = {name for text in CODE.values() for name in re.findall(r'"(FLOWCTX_[A-Z_]+)"', text)}
    listed = set(re.findall(r"FLOWCTX_[A-Z_]+", page("settings.md")))
    assert used == listed


def test_all_reserved_names_are_listed():
    """``tags-and-conf.md`` has every name by which a caller says who a run is, and no other."""
    listed = set(re.findall(r"^\| `([a-z_]+)` \|", page("tags-and-conf.md"), re.MULTILINE))
    assert listed == set(RESERVED_NAMES)


def test_the_versions_of_formats_are_those_of_the_code():
    """``wire-formats.md`` says which version each format has now."""
    text = page("wire-formats.md")
    assert f"`format_version`, now {FORMAT_VERSION} " in text
    assert f"`flowctx`, now {ENVELOPE_VERSION} " in text
    assert f"revision, now {REVISION} " in text


@pytest.mark.parametrize("engine", [AIRFLOW, DAGSTER], ids=lambda engine: engine.name)
def test_the_versions_of_engines_are_listed(engine):
    """``versions.md`` has the lowest version of each engine, and its whole table of abilities, in its order."""
    text = page("versions.md")
    assert f"| {engine.name} | {engine.lowest} |" in text
    table = text.partition(f"| {engine.name} | since | before |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| ([^|-]+) \| ([0-9.]+) \| ([^|]+) \|$", table, re.MULTILINE)
    assert listed == [(name, ability.since, ability.otherwise) for name, ability in engine.abilities.items()]


@pytest.mark.parametrize("engine", [AIRFLOW, DAGSTER, results.PYTHON, results.PYARROW], ids=lambda engine: engine.name)
def test_what_was_tried_of_an_engine_is_what_was_found(engine):
    """``versions.md`` has the results of test-reach, of each environment (to write them: ``tests/reach show``)."""
    known = json.loads(results.FILE.read_text())
    assert {file.stem for file in results.FILE.parent.glob(f"{engine.extra}-*.txt")} <= known.keys()
    assert results.table(engine, known) in page("versions.md")


@pytest.mark.parametrize("engine", [AIRFLOW, DAGSTER], ids=lambda engine: engine.name)
def test_abilities_are_tried_where_they_are(engine):
    """No test that needs an ability passed on an engine that the table of abilities denies it."""
    known = json.loads(results.FILE.read_text())
    tried = {name.partition("-")[2]: found for name, found in known.items() if name.startswith(f"{engine.extra}-")}
    for version, found in tried.items():
        able = {name for name, ability in engine.abilities.items() if numbers(version) >= numbers(ability.since)}
        assert found.get("tests", {"needs": {}})["needs"].keys() <= able, version


@pytest.mark.parametrize("name", sorted(metadata.tables))
def test_the_tables_of_the_ledger_are_listed(name):
    """``wire-formats.md`` has each table with its columns, in their order."""
    columns = ", ".join(f"`{column.name}`" for column in metadata.tables[name].columns)
    assert re.search(rf"^\| `{name}` \|[^|]+\| {re.escape(columns)} \|$", page("wire-formats.md"), re.MULTILINE)


@pytest.mark.parametrize("name", ["architecture.md", "write-an-adapter.md", "write-a-ledger.md"])
def test_files_that_are_named_are_there(name):
    """A walk through the code leads to files that exist."""
    files = set(re.findall(r"`((?:\w+/)+\w+\.py|\w+\.py)`", page(name)))
    assert files
    assert sorted(file for file in files if not (SOURCE / file).is_file()) == []


def test_the_tree_in_the_architecture_is_that_of_the_source():
    """Each folder and top file of the package, and each room of core, stands in the tree, and nothing else."""
    tree = page("architecture.md").split("```text\n")[1].split("```")[0]
    shown = set(re.findall(r"^[├└]── ([\w./]+)", tree, re.MULTILINE))
    there = {f"{path.name}/" if path.is_dir() else path.name for path in SOURCE.iterdir() if path.name != "py.typed"}
    assert shown == there - {"__pycache__/"}
    loose = re.search(r"^│   └── \*\.py +(.+(?:\n│ {6,}.+)*)$", tree, re.MULTILINE)
    assert loose is not None
    files = {path.stem for path in (SOURCE / "core").glob("*.py")} - {"__init__"}
    assert set(loose[1].replace("│", " ").split()) == files
    rooms = set(re.findall(r"^│   [├└]── (\w+)/", tree, re.MULTILINE))
    assert rooms == {path.name for path in (SOURCE / "core").iterdir() if path.is_dir()} - {"__pycache__"}


@pytest.mark.parametrize("module", [flowctx, flowctx.airflow, flowctx.dagster, flowctx.testing])
def test_every_public_name_is_in_the_reference(module):
    """What a module exports is described there, errors with their hierarchy."""
    reference = "\n".join(path.read_text() for name, path in PAGES.items() if "/reference/" in name)
    shown = set(re.findall(r"^::: ([\w.]+)$", reference, re.MULTILINE))
    missing = []
    for name in module.__all__:
        value = getattr(module, name)
        is_error = isinstance(value, type) and issubclass(value, Exception)
        path = f"{module.__name__}.{name}"
        if path not in shown and not is_error and f"flowctx.testing.{name}" not in shown:
            missing.append(path)
    assert missing == []
