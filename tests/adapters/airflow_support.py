"""An Airflow of this test process's own; import this module before anything that imports Airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

if "AIRFLOW_HOME" not in os.environ:
    assert "airflow" not in sys.modules, "import adapters.airflow_support before Airflow"
    home = Path(tempfile.mkdtemp(prefix="flowctx-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__DAGS_FOLDER=str(home / "dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{home / 'airflow.db'}",
    )
