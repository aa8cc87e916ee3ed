"""Two workflows of one name on one ledger are warned of."""

from dataclasses import replace

import pytest

from flowctx import Workflow
from flowctx.core.durability.run_plan import begin_run, plan_run
from flowctx.core.hashing import sha256
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context

CTX = make_context(workflow="nav")


@pytest.mark.parametrize(
    ("there", "here", "warned"),
    [
        ("team_a:nav", "team_b:nav", True),
        ("flows:nav", "flows:other", True),
        ("/srv/dags/flows.py:nav", "desk.flows:nav", False),
        ("C:\\jobs\\flows.py:nav", "flows:nav", False),
        ("/srv/dags/flows/__init__.py:nav", "flows:nav", False),
        (None, "flows:nav", False),
        ("flows:nav", None, False),
    ],
)
def test_two_workflows_of_one_name_are_warned_of(caplog, there, here, warned):
    """Once, when the first run of one begins after one of the other: one module may have several paths."""
    flow = Workflow(f"nav_{sha256(f'{there} {here}')[:8]}")
    flow.step(name="a")(lambda ctx: {})
    ledger = MemoryLedger()
    for run_id, path in (("run-1", there), ("run-2", here), ("run-3", here)):
        begin_run(ledger, plan_run(ledger, flow, replace(CTX, run_id=run_id, capture_id=run_id), import_path=path))
    found = [record.getMessage() for record in caplog.records]
    assert len(found) == warned
    assert all(f"is {here} here, and ran last as {there} (run run-1): if that is another" in text for text in found)
