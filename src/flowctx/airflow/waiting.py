"""A wait without a worker: for runs of a DAG that are still to make what a step reads.

The triggerer imports this module, and nothing else of the project's beside what it names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from flowctx.airflow.planned_runs import TO_COME, DagRuns
from flowctx.core.errors import error_text

logger = logging.getLogger("flowctx")

#: How often Airflow is asked.
POLL_SECONDS: Final = 5.0
#: When it is asked first. Airflow hears some five seconds late that a task has begun to wait; one whose trigger fires
#: before that is failed by the scheduler, up to 3.3 at least (apache/airflow#67287, #72716).
FIRST_SECONDS: Final = 10.0


class InputsTrigger(BaseTrigger):
    """Fires when none of some runs is queued or under way any more.

    Args:
        runs: The runs, as :meth:`DagRuns.to_dict <flowctx.airflow.planned_runs.DagRuns.to_dict>` has them.
        poll_seconds: How often Airflow is asked.
        first_seconds: When it is asked first.
    """

    def __init__(
        self,
        runs: Sequence[dict[str, Any]],
        poll_seconds: float = POLL_SECONDS,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.runs, self.poll_seconds, self.first_seconds = list(runs), poll_seconds, first_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return where the class is, and its arguments."""
        when = {"poll_seconds": self.poll_seconds, "first_seconds": self.first_seconds}
        return f"{__name__}.{type(self).__name__}", {"runs": self.runs, **when}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; what Airflow does not answer is asked again."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ask = RuntimeTaskInstance.get_dr_count
        left = [DagRuns.from_dict(runs) for runs in self.runs]
        await asyncio.sleep(self.first_seconds)
        while left:
            try:
                while left and not await sync_to_async(left[0].count)(ask, *TO_COME):
                    left.pop(0)
            except Exception as exc:  # noqa: BLE001  # an API server that restarts must not fail who waits
                logger.warning("Airflow does not say whether runs have ended: %s", error_text(exc))
            if left:
                await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent({"ended": True})  # type: ignore[no-untyped-call]
