"""Which Airflow is there, and what it can."""

from __future__ import annotations

from types import MappingProxyType

from flowctx.core.engine_versions import Ability, Engine

AIRFLOW = Engine(
    "Airflow",
    extra="airflow",
    packages=("apache-airflow-core", "apache-airflow"),
    lowest="3.0.6",
    abilities=MappingProxyType(
        {
            "time zones in the SDK": Ability("3.1.0", "they are imported from the scheduler's packages"),
            "one DAG for all tasks": Ability("3.1.0", "`run_dag` makes it once, not for each task"),
            "settings in the SDK": Ability("3.2.0", "they, and the exceptions, are imported from there too"),
            "partitioned runs": Ability("3.2.0", "each key has a run whose logical date tells the key"),
            "retry policies": Ability("3.3.0", "a step's retries wait by Airflow's own doubling and jitter"),
            "partitions in events": Ability("3.3.0", "an event has the partition of its run (3.2) or in `extra` only"),
            "partition dates for tasks": Ability("3.3.0", "a partition's date comes from a scheme or from `conf`"),
            "operator_triggered runs": Ability("3.3.0", "such runs are manual ones"),
            "one API server for all tasks": Ability("3.3.0", "`run_dag` keeps one"),
        }
    ),
)

AIRFLOW.check()
