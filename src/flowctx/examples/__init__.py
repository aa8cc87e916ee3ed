"""The example workflow that the demo, ``example_dags`` and ``example_dagster`` share."""
