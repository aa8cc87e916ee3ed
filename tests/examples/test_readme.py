"""Every block of the README runs, as a newcomer would paste it."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

README = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
FLOWS, *OTHERS = BLOCKS


def run(folder, script):
    (folder / "flows.py").write_text(FLOWS)
    (folder / "script.py").write_text(script)
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "DAGSTER_HOME": "",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
    }
    command = [sys.executable, "script.py"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=240, check=False)


def test_the_capture_id_is_what_the_readme_says(tmp_path):
    """The comment beside it is its value."""
    block = next(block for block in OTHERS if "capture_id " in block)
    said = re.search(r"capture_id +# ('.*?')", block)[1]
    done = run(tmp_path, f"{block}\nassert result.context.capture_id == {said}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", OTHERS, ids=[block.strip().splitlines()[0][:40] for block in OTHERS])
def test_a_block_of_the_readme_runs(block, tmp_path):
    """It runs beside the README's flows.py, tests in it included."""
    tests = re.findall(r"^def (test_\w+)", block, re.MULTILINE)
    done = run(tmp_path, "\n".join(["from flows import nav", block, *(f"{name}()" for name in tests)]))
    assert done.returncode == 0, done.stderr


def test_the_dagster_column_runs(tmp_path):
    """What stands in the right column is code as well."""
    column = next(block for block in OTHERS if "workflow_definitions" in block)
    lines = [line.partition("# ")[2] for line in column.splitlines() if line.count("# ")]
    code = "\n".join(line.rpartition("# ")[2] for line in lines if "=" in line or "import" in line)
    assert "defs = workflow_definitions(nav)" in code
    done = run(tmp_path, code + "\nassert defs.resolve_all_asset_specs()")
    assert done.returncode == 0, done.stderr


def test_what_the_readme_says_of_values():
    """The figures in its comments are right."""
    import datetime

    from flowctx import PartitionKey

    space = {}
    exec(next(block for block in BLOCKS if "Weekly(" in block), space)
    scheme = space["scheme"]
    assert len(scheme) == 104
    start, end = scheme.window(scheme[0])
    assert (start.strftime("%A"), end.strftime("%A"), end - start) == ("Saturday", "Saturday", datetime.timedelta(7))
    assert scheme[0] == PartitionKey(week_ending="2012-01-06", tier="NMS_TIER_1")
