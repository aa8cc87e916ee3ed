"""Two workflows of one name on one ledger: what one writes takes the place of what the other wrote."""

from __future__ import annotations

import logging
import re
from typing import Final

from flowctx.core.durability.ledger import RunLedger
from flowctx.core.durability.records import RunRecord

logger = logging.getLogger("flowctx")

#: Of what this process has asked already: the workflow's name, and where it is.
_ASKED: Final[set[tuple[str, str]]] = set()


def warn_of_namesake(ledger: RunLedger, run: RunRecord) -> None:
    """Warn once in a process if the latest run of a workflow's name was of a workflow elsewhere.

    A module may be found by another path on each engine; so its last name counts, with that of the workflow in it.

    Args:
        ledger: Where runs are recorded.
        run: The run that is about to begin.
    """
    here = run.import_path
    if here is None or (run.workflow, here) in _ASKED:
        return
    _ASKED.add((run.workflow, here))
    latest = ledger.list_runs(workflow=run.workflow, limit=1)
    there = latest[0].import_path if latest else None
    if there is not None and _place(there) != _place(here):
        logger.warning(
            "workflow %r is %s here, and ran last as %s (run %s): if that is another workflow, each takes the place of "
            "what the other has captured, so give one of them another name or a ledger of its own; if it has moved, "
            "all is well",
            run.workflow,
            here,
            there,
            latest[0].run_id,
        )


def _place(import_path: str) -> tuple[str, str]:
    module, _, name = import_path.rpartition(":")
    file = module.removesuffix("/__init__.py").removesuffix(".py")
    return re.split(r"[./\\]", file)[-1], name
