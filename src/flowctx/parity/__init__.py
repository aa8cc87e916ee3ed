"""Parity: the same partitions on several engines, and the first step of each that differs from a run here.

* :mod:`.running`: one side: the partitions on one engine, recorded in a ledger of its own
* :mod:`.processes`, :mod:`.servers`: the sides as processes of their own, or on running servers
* :mod:`.scratch`: ledgers that are gone afterwards, with copies of what the partitions read
* :mod:`.comparing`, :mod:`.recorded`, :mod:`.causes`: what differs between two sides, and why it may
* :mod:`.shown`: that as lines and as data
"""

from __future__ import annotations

from flowctx.parity.comparing import Disagreement, Parity
from flowctx.parity.running import ENGINES
from flowctx.parity.verifying import assert_parity, verify

__all__ = ["ENGINES", "Disagreement", "Parity", "assert_parity", "verify"]
