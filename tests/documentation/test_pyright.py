"""The code in the documentation passes pyright, as editors check it, so that readers' code does who begin with it."""

import json
import subprocess
import sys
import tomllib

import pytest

from documentation.modules import write_modules
from documentation.pages import ROOT


@pytest.mark.types
def test_the_code_of_all_pages_passes_pyright(tmp_path):
    """Types are right by pyright too, with its own standard settings."""
    write_modules(tmp_path)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    settings = {
        "typeCheckingMode": "standard",
        "pythonVersion": known["python_version"],
        "extraPaths": [str(ROOT / known["mypy_path"])],
        "reportRedeclaration": False,  # a page defines the same name again, as a session does
        "reportUnusedExpression": False,  # what it shows
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    checked = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stdout.strip() == "0 errors, 0 warnings, 0 informations", checked.stdout + checked.stderr
