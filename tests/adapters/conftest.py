"""Set-up of the adapters' tests."""

import adapters.airflow_support  # noqa: F401  # before any test module imports Airflow
