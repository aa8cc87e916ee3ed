"""The state of a run in which a step runs whatever happened: Airflow takes that of the last tasks alone."""

from __future__ import annotations

from typing import Any, Final

from airflow.sdk import BaseOperator, Context

from flowctx.airflow._compat import AirflowFailException

#: The id of the task that fails a run in which another task failed.
WATCHER: Final = "watcher"


class Watcher(BaseOperator):
    """Fails when a task before it failed, so that the run does; is skipped otherwise.

    It is Airflow's own pattern for runs that end with a clean-up.
    """

    ui_color = "#f4f4f4"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trigger_rule": "one_failed", "retries": 0, **kwargs})

    def execute(self, context: Context) -> None:
        """Fail.

        Raises:
            AirflowFailException: Always; it runs only when a task before it failed.
        """
        raise AirflowFailException("a step of this run failed; the clean-up after it does not make the run a success")
