"""The machine's time."""

import time
from datetime import UTC, datetime, timedelta

from flowctx.core.clock import SystemClock


def test_the_machine_s_time_is_in_utc():
    """Now is an aware time between just before and just after."""
    before = datetime.now(UTC)
    assert before <= SystemClock().now() <= datetime.now(UTC)
    assert SystemClock().now().tzinfo is UTC


def test_waiting_takes_time():
    """After a wait at least that much time has gone by."""
    begun = time.monotonic()
    SystemClock().sleep(timedelta(milliseconds=20))
    assert time.monotonic() - begun >= 0.02
