"""What tasks would import each for itself: Airflow reads this first, and forks its tasks later."""

import gc
from importlib import import_module

#: None of the names here is a setting of Airflow's.
__all__: list[str] = []

for _name in (
    "airflow.providers.common.io.xcom.backend",
    "airflow.providers.standard.operators.empty",
    "airflow.sdk.execution_time.task_runner",
    "flowctx.airflow.bulk",
    "flowctx.airflow.dag",
    "flowctx.artifacts.store",
    "flowctx.calendars",
    "flowctx.ledger.sql",
    "jinja2.ext",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
):
    import_module(_name)
gc.collect()
gc.freeze()  # else each fork would look through it all for garbage, and copy it
