"""Many partitions under one batch id: plan, skip what is done, launch on any engine, follow."""

from __future__ import annotations

from flowctx.backfill.launching import Follower, Tally, adopt
from flowctx.backfill.local import LocalLauncher
from flowctx.backfill.page import page
from flowctx.backfill.plan import Backfill, Plan
from flowctx.backfill.status import BatchStatus

__all__ = ["Backfill", "BatchStatus", "Follower", "LocalLauncher", "Plan", "Tally", "adopt", "page"]
