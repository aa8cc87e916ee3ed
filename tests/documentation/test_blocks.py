"""Every block of code in the documentation runs, as a reader would type it."""

import os
import sys
from pathlib import Path

import pytest

from documentation.pages import PAGES, ROOT, blocks
from documentation.readers import DATABASE, readers

WITH_CODE = [name for name in PAGES if blocks(name)]


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    """Run a page in a folder; the exit code and what it printed are returned."""
    with readers(tmp_path_factory.mktemp("readers")) as program:
        yield program.read


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_blocks_of_a_page_run(name, run_page, tmp_path):
    """In order, in one folder, with the outputs and values that the page shows."""
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("FLOWCTX_LEDGER")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
        "COLUMNS": "100",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / DATABASE}",
        "DAGSTER_HOME": "",
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    code, printed = run_page(name, tmp_path, env)
    assert code == 0, printed[-8000:]


def test_files_of_one_name_are_the_same_on_all_pages():
    """Whoever follows several pages in one folder overwrites nothing with something else."""
    found = {}
    for block in (block for name in PAGES for block in blocks(name) if block.title and block.language == "python"):
        first = found.setdefault(block.title, block)
        assert first.text == block.text, f"{first.where} and {block.where} are both {block.title}, and differ"
