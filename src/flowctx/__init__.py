"""Write a data workflow once, as plain functions of a context; run it on Airflow, on Dagster, or right here."""
