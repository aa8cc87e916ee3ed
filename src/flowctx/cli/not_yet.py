"""What stands for a ledger that is not there yet."""

from __future__ import annotations

from flowctx.ledger.memory import MemoryLedger


class NotYetLedger(MemoryLedger):
    """Stands for the user's own ledger before a first run makes it: it remembers nothing."""

    #: Tells it from a ledger that is there.
    not_yet = True

    def __init__(self, url: str) -> None:
        super().__init__()
        #: Where it will be, for messages and for processes that are to use it then.
        self.url = self.address = url
