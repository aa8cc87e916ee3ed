"""RetryPolicy: how often, and how long after a failure, a step is tried again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from math import inf

from flowctx.core.errors import WorkflowError


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often, and how long after a failure, a step is tried again.

    Only failures whose category is retryable are (see :class:`~flowctx.ErrorCategory`).

    Example:
        >>> policy = RetryPolicy(retries=3, delay=timedelta(seconds=10))
        >>> [policy.wait(after_attempt=n).total_seconds() for n in (1, 2, 3)]
        [10.0, 20.0, 40.0]
    """

    #: How many times after the first.
    retries: int = 0
    #: Wait before the first retry.
    delay: timedelta = timedelta(0)
    #: Each further wait is this many times the one before.
    backoff: float = 2.0
    #: No wait is longer, whatever is added at random.
    max_delay: timedelta = timedelta(hours=1)
    #: Up to this share of the wait is added at random, so that many runs do not retry at once.
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise WorkflowError(f"retries={self.retries!r} must be an int from 0")
        for name in ("delay", "max_delay"):
            value = getattr(self, name)
            if not isinstance(value, timedelta) or value < timedelta(0):
                raise WorkflowError(f"{name}={value!r} must be a timedelta from 0, such as timedelta(seconds=30)")
        numbers = all(isinstance(value, int | float) for value in (self.backoff, self.jitter))
        if not numbers or not 1 <= self.backoff < inf or not 0 <= self.jitter <= 1:
            raise WorkflowError(
                f"backoff={self.backoff!r} must be a number from 1, and jitter={self.jitter!r} between 0 and 1"
            )

    def wait(self, after_attempt: int) -> timedelta:
        """Return how long to wait after the given attempt (from 1) has failed."""
        import random

        power = after_attempt - 1
        # Past 2**63 the wait is max_delay anyway, and the power would overflow.
        factor = self.backoff**power if power * math.log2(self.backoff) < 63 else 2.0**63
        seconds = self.delay.total_seconds() * factor * (1 + self.jitter * random.random())
        return timedelta(seconds=min(seconds, self.max_delay.total_seconds()))


#: The policy of a step that declares none; on Airflow, default arguments of the DAG may then say otherwise.
NO_RETRIES = RetryPolicy()
