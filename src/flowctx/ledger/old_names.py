"""The former names of a ledger's calls; they warn, and go with the next minor version."""

from __future__ import annotations

from flowctx.core.renames import old_method


class OldNames:
    """Gives a ledger its former names."""

    run = old_method("Ledger", "run", "get_run")
    runs = old_method("Ledger", "runs", "list_runs")
    extend = old_method("Ledger", "extend", "renew_capture")
    settle = old_method("Ledger", "settle", "close_capture")
