"""Tell why a launch stands still, where the engine says so: what it has started would else wait for ever in silence."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from flowctx.core.errors import EngineError

logger = logging.getLogger("flowctx")

#: After so many seconds without news the engine is asked what it waits for, and then again as often.
_PATIENCE_SECONDS = 20.0


class Standstill:
    """Asks an engine why nothing ends, and logs each answer once.

    Args:
        batch_id: The batch that is launched.
        obstacle: Returns what keeps the engine from running what it has started, if anything does.
    """

    def __init__(self, batch_id: str, obstacle: Callable[[], str | None]) -> None:
        self._batch_id, self._obstacle = batch_id, obstacle
        self._since = time.monotonic()
        self._logged: str | None = None

    def over(self) -> None:
        """Something has begun or ended."""
        self._since = time.monotonic()

    def look(self) -> None:
        """Ask what the engine waits for, if there was no news for a while."""
        if time.monotonic() - self._since < _PATIENCE_SECONDS:
            return
        self.over()
        try:
            why = self._obstacle()
        except EngineError:
            return  # whoever may not ask this, may launch; an engine that is away is told of by what asks for runs
        if why is not None and why != self._logged:
            logger.warning("batch %s stands still: %s", self._batch_id, why)
        self._logged = why
