"""The task of most DAGs here: it leaves its context, for the test to read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from airflow.sdk import task

from flowctx.airflow import workflow_context

HOME = Path(os.environ["AIRFLOW_HOME"])
ZONE = "America/New_York"


@task
def note(dag_run=None):
    """Write the context down."""
    path = HOME / "kinds" / dag_run.dag_id / f"{dag_run.run_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(workflow_context().to_dict()))
