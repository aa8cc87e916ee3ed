"""An Airflow of this test process's own; import this module before anything that imports Airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

#: Each worker of pytest has one; it does not take the one that pytest itself has made.
PREFIX = f"flowctx-tests-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-"
_home = Path(os.environ.get("AIRFLOW_HOME", "flowctx-tests-")).name
if _home.startswith("flowctx-tests-") and not _home.startswith(PREFIX):
    assert "airflow" not in sys.modules, "import adapters.airflow_support before Airflow"
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__DAGS_FOLDER=str(home / "dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{home / 'airflow.db'}",
    )
